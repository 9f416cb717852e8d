"""The MLflow experiment of one data set under one protocol."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.errors import PaddockError
from experiments.tracking.store import Store


def experiment_of(store: Store, run: Mapping[str, Any]) -> str:
    """The id of the experiment that a run belongs to, which is created where it is missing.

    Raises
    ------
    PaddockError
        It is in MLflow's bin.
    """
    from mlflow.exceptions import MlflowException

    name = f"{run['dataset']}/{run['protocol']}"
    experiment = store.client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return store.client.create_experiment(
                name,
                artifact_location=_artifact_location(store.artifacts, name),
                # The dashboard then opens the page for training runs without asking.
                tags={"mlflow.experimentKind": "custom_model_development"},
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = store.client.get_experiment_by_name(name)
    if experiment.lifecycle_stage != "active":
        raise PaddockError(
            f"the MLflow experiment {name} is deleted; bring it back with: MLFLOW_TRACKING_URI="
            f"{store.uri} mlflow experiments restore -x {experiment.experiment_id}"
        )
    return experiment.experiment_id


def _artifact_location(root: str | None, name: str) -> str | None:
    if root is None:
        return None
    if "://" in root:
        return f"{root.rstrip('/')}/{name}"
    return (Path(root).absolute() / name).as_uri()
