"""Models side by side, from the run folders alone: mean ± standard deviation over seeds.

Only runs that answer the same question stand side by side: one data set, one protocol, and equal
hashes of the data, the split and the candidates. All others are listed below, with the reason.
"""

from experiments.runs.leaderboard.rows import Row, leaderboard
from experiments.runs.leaderboard.table import render, to_markdown

__all__ = ["Row", "leaderboard", "render", "to_markdown"]
