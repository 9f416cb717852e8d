"""MLflow's registry of models: which run's model is called the champion of a data set and protocol."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.errors import PaddockError
from experiments.tracking.store import Store

QUESTION = ("paddock.dataset_hash", "paddock.split_hash")
"""Tags that two runs share whose valid metrics compare."""


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What a promotion did.

    Attributes
    ----------
    name, alias : str
        The registered model, "<dataset>-<protocol>", and its alias.
    version : str
        The model's version that the alias names.
    metric : str
        What was compared: "valid/full/ndcg_at_10".
    value : float
        Of the promoted run.
    before : float or None
        Of the run that the alias named before; None where there was none, or it was this one.
    changed : bool
        False where the alias named this run already.
    """

    name: str
    alias: str
    version: str
    metric: str
    value: float
    before: float | None
    changed: bool

    @property
    def address(self) -> str:
        """By which MLflow's tools load it."""
        return f"models:/{self.name}@{self.alias}"


def promote(
    store: Store, run_id: str, *, alias: str, force: bool, name: str | None = None
) -> Promotion:
    """Register the model of a run, and let the alias name it.

    Parameters
    ----------
    store : Store
    run_id : str
        MLflow's id of a finished run.
    alias : str
        Such as "champion".
    force : bool
        Whether a run is taken that is not better on valid, or was asked other questions.
    name : str, optional
        Of the registered model; by default "<dataset>-<protocol>".

    Raises
    ------
    PaddockError
        There is no such run, it has no model, or the present one is as good.
    """
    from mlflow.exceptions import MlflowException

    run = _run(store, run_id)
    metric, value = _valid(run)
    dataset, _, protocol = store.client.get_experiment(run.info.experiment_id).name.partition("/")
    name = name or f"{dataset}-{protocol}"
    try:
        present = store.client.get_model_version_by_alias(name, alias)
    except MlflowException:
        present = None
    if present is not None and present.run_id == run_id:
        return Promotion(
            name=name,
            alias=alias,
            version=str(present.version),
            metric=metric,
            value=value,
            before=None,
            changed=False,
        )
    before = None if present is None else _compared(store, run, present, metric, value, force=force)
    try:
        version = _registered(store, run, name, f"{metric} {value:.4f}")
        store.client.set_registered_model_alias(name, alias, version)
    except MlflowException as error:
        line = str(error).splitlines()[0]
        raise PaddockError(f"{store.uri} registers no model {name}@{alias}: {line}") from error
    return Promotion(
        name=name,
        alias=alias,
        version=version,
        metric=metric,
        value=value,
        before=before,
        changed=True,
    )


_ADDRESS = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")


def registered_run(store: Store, address: str) -> str:
    """MLflow's id of the run whose model an address of the registry names.

    Parameters
    ----------
    store : Store
    address : str
        "models:/NAME@ALIAS" or "models:/NAME/VERSION".

    Raises
    ------
    PaddockError
        The address is malformed, or names nothing.
    """
    from mlflow.exceptions import MlflowException

    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise PaddockError(f"{address}: write models:/NAME@ALIAS or models:/NAME/VERSION")
    try:
        if found["alias"]:
            version = store.client.get_model_version_by_alias(found["name"], found["alias"])
        else:
            version = store.client.get_model_version(found["name"], found["version"])
    except MlflowException as error:
        names = ", ".join(each.name for each in store.client.search_registered_models())
        raise PaddockError(
            f"{address} names no model of {store.uri}; registered are: {names or 'none'}. "
            "mode=promote run_id=... registers one"
        ) from error
    return str(version.run_id)


def _run(store: Store, run_id: str) -> Any:
    """A finished run of the store with a model of MLflow's kind."""
    from mlflow.exceptions import MlflowException

    try:
        run = store.client.get_run(run_id)
    except MlflowException as error:
        raise PaddockError(
            f"run_id={run_id} is no run of {store.uri}: upload it with mode=upload"
        ) from error
    kind = run.data.tags.get("paddock.kind")
    if kind != "run" or run.info.status != "FINISHED":
        raise PaddockError(
            f"run_id={run_id} is no finished run: it is a {kind}, {run.info.status.lower()}"
        )
    files = {each.path for each in store.client.list_artifacts(run_id, "model")}
    if "model/MLmodel" not in files:
        raise PaddockError(
            f"run_id={run_id} has no model that MLflow can load: it was tracked with "
            "tracking.model=false, by an earlier version, or where its data was missing; delete "
            "published.json in its folder and call mode=upload where the data is"
        )
    return run


def _valid(run: Any) -> tuple[str, float]:
    """The metric that selects, and its value."""
    metric = f"valid/{run.data.params.get('protocol.valid_metric')}"
    value = run.data.metrics.get(metric)
    if value is None or value != value:
        raise PaddockError(f"run_id={run.info.run_id} has no {metric}: it cannot be compared")
    return metric, float(value)


def _compared(
    store: Store, run: Any, present: Any, metric: str, value: float, *, force: bool
) -> float | None:
    """The present run's value, if the other one may take its place."""
    from mlflow.exceptions import MlflowException

    called = f"version {present.version} of {present.name}"
    try:
        other = store.client.get_run(present.run_id)
    except MlflowException:
        other = None
    if force:
        return None if other is None else other.data.metrics.get(metric)
    if other is None:
        raise PaddockError(f"{called} is of no run of this store: force=true takes its place")
    if _question(run.data.tags) != _question(other.data.tags):
        raise PaddockError(
            f"{called} (run {present.run_id}) was selected on other data: its {metric} does not compare; "
            "force=true takes its place"
        )
    before = other.data.metrics.get(metric)
    if before is not None and not value > before:
        raise PaddockError(
            f"run_id={run.info.run_id} has {metric} {value:.4f}, which is not better than the {before:.4f} "
            f"of {called} (run {present.run_id}); force=true takes its place"
        )
    return None if before is None else float(before)


def _question(tags: Mapping[str, str]) -> list[str | None]:
    return [tags.get(name) for name in QUESTION]


def _registered(store: Store, run: Any, name: str, measured: str) -> str:
    """The version of the registered model that is the run's; made where there is none."""
    from mlflow.exceptions import MlflowException

    dataset, _, protocol = store.client.get_experiment(run.info.experiment_id).name.partition("/")
    try:
        store.client.create_registered_model(
            name, description=f"Recommenders of {dataset} under the protocol {protocol} (Paddock)."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = store.client.search_model_versions(f"name = '{name}'")
    for each in known:
        if each.run_id == run.info.run_id:
            return str(each.version)
    tags = run.data.tags
    made = store.client.create_model_version(
        name,
        source=f"{run.info.artifact_uri}/model",
        run_id=run.info.run_id,
        description=f"{tags.get('paddock.model_key')} seed {tags.get('paddock.seed')}: {measured}. "
        f"`{tags.get('paddock.command')}`",
        tags={
            key: tags[key]
            for key in ("paddock.config_hash", "paddock.seed", *QUESTION)
            if key in tags
        },
    )
    return str(made.version)
