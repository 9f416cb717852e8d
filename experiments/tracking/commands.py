"""The command lines that a message names: the dashboard's, and the one that uploads later."""

import re
import shlex
from pathlib import Path

from experiments.config.schema import Config, TrackingConfig
from experiments.runs.folder import RunFolder
from experiments.tracking.address import is_remote, without_password


def ui_command(tracking: TrackingConfig) -> str:
    """The line that opens the dashboard: a command, or a server's address."""
    if tracking.uri is None:
        return "python run.py mode=leaderboard"
    if is_remote(tracking.uri):
        return without_password(tracking.uri)
    return f"mlflow ui --backend-store-uri {shlex.quote(without_password(tracking.uri))}"


def upload_command(folder: RunFolder, tracking: TrackingConfig) -> str:
    """The line that uploads `folder`, and what waits beside it, to the store of `tracking`."""
    default = TrackingConfig()
    words = ["python", "run.py", "mode=upload"]
    runs_dir = folder.path.parents[3] if len(folder.path.parents) > 3 else Path(Config.runs_dir)
    if str(runs_dir) != Config.runs_dir:
        words.append(_override("runs_dir", str(runs_dir)))
    if tracking.uri != default.uri:
        words.append(_override("tracking.uri", without_password(str(tracking.uri))))
    if tracking.artifacts != default.artifacts:
        words.append(_override("tracking.artifacts", str(tracking.artifacts)))
    return " ".join(words)


def _override(key: str, value: str) -> str:
    """A Hydra override, quoted for Hydra and for the shell where either needs it."""
    if re.fullmatch(r"[\w:/.%@+-]+", value):
        return f"{key}={value}"
    return shlex.quote(f"{key}='{value}'")
