"""MLflow as a projection of the run folders.

A run folder is the truth. What is sent to MLflow can be sent again from the folder at any time, so
training depends on no store being reachable: `Tracker` shows a run while it trains and gives up
quietly, `publish` makes the store agree with a finished folder, `upload_pending` does so for all
folders that no store has seen.

One MLflow experiment holds one data set under one protocol. In it, a parent run stands for one
config_hash and carries mean and standard deviation over the seeds, which are its child runs.

Importing this package does not import MLflow: that takes seconds, which a command that tracks
nothing must not pay.
"""

from experiments.tracking.publishing import Uploads, is_published, publish, upload_pending
from experiments.tracking.store import ui_command
from experiments.tracking.tracker import Tracker

__all__ = [
    "Tracker",
    "Uploads",
    "is_published",
    "publish",
    "ui_command",
    "upload_pending",
]
