"""A run on disk: its folder, its identity, where its numbers came from, and the leaderboard of many."""
