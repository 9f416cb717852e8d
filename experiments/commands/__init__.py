"""What a person asks for: train a run, run a grid, recommend, reproduce, inspect, the leaderboard."""
