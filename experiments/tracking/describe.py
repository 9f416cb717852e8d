"""What a run is described by in MLflow: its tags and its parameters."""

import json
import re
import socket
from collections.abc import Mapping
from typing import Any

from experiments.runs.folder import RunFolder

# MLflow's own limits, per value and per call.
_PARAM_LENGTH, _TAG_LENGTH, _KEY_LENGTH = 6000, 8000, 250
_PARAMS_PER_CALL = 100

UNTOLD = ("tracking", "grid_seeds")
"""What of a configuration says nothing about the run itself."""


def child_tags(folder: RunFolder, run: Mapping[str, Any], parent_id: str) -> dict[str, str]:
    git = run.get("git") or {}
    tags = {
        **run.get("tags", {}),
        "mlflow.parentRunId": parent_id,
        "mlflow.source.name": "run.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git.get("commit"),
        "paddock.kind": "run",
        "paddock.config_hash": run["config_hash"],
        "paddock.seed": run["seed"],
        "paddock.command": run["command"],
        "paddock.model": run["model"],
        "paddock.model_key": run["model_key"],
        "paddock.dirty": str(bool(git.get("dirty"))).lower(),
        "paddock.folder": origin(folder),
        **_hash_tags(run),
    }
    return {key: str(value)[:_TAG_LENGTH] for key, value in tags.items() if value is not None}


def parent_tags(run: Mapping[str, Any]) -> dict[str, str]:
    return {
        "paddock.kind": "parent",
        "paddock.config_hash": run["config_hash"],
        "paddock.model": run["model"],
        "mlflow.source.name": "run.py",
        **_hash_tags(run),
    }


def child_params(run: Mapping[str, Any]) -> dict[str, str]:
    return _flat({key: value for key, value in run["config"].items() if key not in UNTOLD})


def parent_params(run: Mapping[str, Any]) -> dict[str, str]:
    """What all seeds share.

    What is not nested says how a run is executed (seed, device, threads) and varies with it.
    """
    nested = {key: value for key, value in run["config"].items() if isinstance(value, dict)}
    return _flat({key: value for key, value in nested.items() if key not in UNTOLD})


def send_params(client: Any, run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    entities = [Param(name, value) for name, value in params.items()]
    for start in range(0, len(entities), _PARAMS_PER_CALL):
        client.log_batch(run_id, params=entities[start : start + _PARAMS_PER_CALL])


def origin(folder: RunFolder) -> str:
    """The machine and the folder that a run comes from."""
    return f"{socket.gethostname()}:{folder.path.absolute()}"


def made_by(child: Any, folder: RunFolder, run: Mapping[str, Any]) -> bool:
    """Whether an MLflow run comes from this folder, on this machine."""
    tags = child.data.tags
    return tags.get("paddock.folder") == origin(folder) and tags.get("paddock.seed") == str(
        run["seed"]
    )


def _hash_tags(run: Mapping[str, Any]) -> dict[str, str]:
    """`paddock.dataset_hash`, `paddock.split_hash`, `paddock.candidates_c20_hash` and so on."""
    return {f"paddock.{name}_hash": value for name, value in run["hashes"].items()}


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"model": {"lr": 0.1}} to {"model.lr": "0.1"}; lists and null in JSON."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = re.sub(r"[^\w./: -]", "_", f"{prefix}{key}")[:_KEY_LENGTH]
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            flat[name] = text[:_PARAM_LENGTH]
    return flat
