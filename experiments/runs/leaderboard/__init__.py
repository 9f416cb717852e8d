"""Models side by side, from the run folders alone: mean ± standard deviation over seeds.

`experiments.runs.compare` says which runs compare. All others are listed below, with the reason.
"""

from experiments.runs.leaderboard.rows import Row, leaderboard
from experiments.runs.leaderboard.table import render

__all__ = ["Row", "leaderboard", "render"]
