"""Talking with a recommender: understand a message, retrieve, rank, explain, say."""
