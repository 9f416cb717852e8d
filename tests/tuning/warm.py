"""What every command of tune.py imports and looks up first, done once in the process they fork from."""

import experiments.runs.leaderboard
import experiments.tuning.tune  # noqa: F401
from experiments.tuning.cli import read

read(["model=bpr", "dataset=tiny"])
