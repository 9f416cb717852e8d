"""Readers of data files: one module a format, each gives tables of interactions, items and users."""
