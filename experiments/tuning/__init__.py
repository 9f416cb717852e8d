"""Tuning: Optuna studies whose trials are pruned, survive their workers, and are counted exactly.

A study is one model on one data set under one protocol with one search space. Its storage is the
truth; any number of workers take trials from it (`trial_queue`), and MLflow shows what it holds.
"""
