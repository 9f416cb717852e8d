"""Tests of experiments/serving."""
