"""Sentence embeddings of item texts, computed once and kept."""
