"""What a run is described by in MLflow: its tags, its parameters, and the model that it trained."""

import json
import re
import socket
from collections.abc import Mapping
from typing import Any

from experiments.config.schema import Refit
from experiments.runs.folder import RunFolder

# MLflow's own limits, per value and per call.
_PARAM_LENGTH, _TAG_LENGTH, _KEY_LENGTH = 6000, 8000, 250
_PARAMS_PER_CALL = 100

COLLAPSED = "paddock.collapsed"
"""The tag of a parent that names its collapsed seeds; empty where such a seed was trained again."""

FOLDER_ID = "paddock.folder_id"
"""The tag by which a run is known that was uploaded from a folder before it was moved."""

REFITTED = "paddock.refitted"

NOT_LOGGED = ("tracking", "grid_seeds")
"""Keys of a configuration that say nothing about the run itself."""


def child_tags(folder: RunFolder, run: Mapping[str, Any], parent_id: str) -> dict[str, str]:
    """The tags of one seed's run, cut to MLflow's length of a tag.

    Parameters
    ----------
    folder : RunFolder
    run : mapping
        The content of its run.json.
    parent_id : str
        The MLflow run of the configuration.
    """
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
        FOLDER_ID: run.get("folder_id"),
        **_hash_tags(run),
        **_refit_tag(run),
        "paddock.processes": run.get("processes"),
    }
    return {key: str(value)[:_TAG_LENGTH] for key, value in tags.items() if value is not None}


def parent_tags(run: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a configuration's run, from the run.json of any of its seeds."""
    return {
        "paddock.kind": "parent",
        "paddock.config_hash": run["config_hash"],
        "paddock.model": run["model"],
        "mlflow.source.name": "run.py",
        **_hash_tags(run),
        **_refit_tag(run),
    }


def child_params(run: Mapping[str, Any]) -> dict[str, str]:
    """The configuration of one seed's run, as MLflow's flat parameters."""
    return _flat({key: value for key, value in run["config"].items() if key not in NOT_LOGGED})


def parent_params(run: Mapping[str, Any]) -> dict[str, str]:
    """The part of the configuration that all seeds share.

    Keys at the top level say how a run is executed (seed, device, threads) and vary with it.
    """
    nested = {key: value for key, value in run["config"].items() if isinstance(value, dict)}
    return _flat({key: value for key, value in nested.items() if key not in NOT_LOGGED})


def send_params(client: Any, run_id: str, params: Mapping[str, str]) -> None:
    """Log parameters, as many at once as MLflow takes.

    Raises
    ------
    MlflowException
        One was logged before with another value.
    """
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


def replaces(run: Mapping[str, Any], child: Any) -> bool:
    """Whether a run says that it replaces an MLflow run, and that one came from its folder.

    A folder from elsewhere may name any MLflow run: only what was uploaded from the same folder, for
    the same model, data, protocol and seed, is its own to replace.

    Parameters
    ----------
    run : mapping
        The content of run.json.
    child : mlflow.entities.Run
        One of the store's, of the same data set and protocol.
    """
    own = {
        FOLDER_ID: run.get("folder_id") or None,
        "paddock.config_hash": run["config_hash"],
        "paddock.model": run["model"],
        "paddock.model_key": run["model_key"],
        "paddock.seed": str(run["seed"]),
        **_hash_tags(run),
    }
    return (
        child.info.run_id in run.get("supersedes", [])
        and own[FOLDER_ID] is not None
        and own.items() <= child.data.tags.items()
    )


def link_model(client: Any, child: Any, run: Mapping[str, Any]) -> None:
    """Enter the model of a finished child run as its output, unless it is there.

    The files stay where they are, among the artifacts of the run: MLflow's entity of a model names
    the place.

    Parameters
    ----------
    client : mlflow.MlflowClient
    child : mlflow.entities.Run
        As the store holds it.
    run : mapping
        The content of its run.json.
    """
    from mlflow.entities import LoggedModelOutput

    if child.outputs is not None and child.outputs.model_outputs:
        return
    if "files" in run and not any(name.startswith("model/") for name in run["files"]):
        return
    run_id = child.info.run_id
    model = client.create_logged_model(
        child.info.experiment_id,
        name=re.sub(r"[^\w-]", "-", f"{run['model_key']}-seed-{run['seed']}"),
        source_run_id=run_id,
        model_type=run["model"],
        tags={
            "paddock.config_hash": run["config_hash"],
            "paddock.seed": str(run["seed"]),
            "paddock.files": f"runs:/{run_id}/model",
        },
    )
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])


def delete_models(client: Any, run: Any) -> None:
    """Delete the models of a run that is about to be deleted."""
    if run.outputs is not None:
        for output in run.outputs.model_outputs:
            client.delete_logged_model(output.model_id)


def _hash_tags(run: Mapping[str, Any]) -> dict[str, str]:
    """`paddock.dataset_hash`, `paddock.split_hash`, `paddock.candidates_c20_hash` and so on."""
    return {f"paddock.{name}_hash": value for name, value in run["hashes"].items()}


def _refit_tag(run: Mapping[str, Any]) -> dict[str, str]:
    """A tag of models that were trained on the valid part too, which no view mixes with others."""
    refit = run["config"].get("protocol", {}).get("refit")
    return {REFITTED: "true"} if refit == Refit.valid.value else {}


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
