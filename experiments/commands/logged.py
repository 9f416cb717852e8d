"""A run as it was logged: in a run folder, or in the tracking store."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from experiments.config.compose import given_places
from experiments.config.schema import Config, TrackingConfig
from experiments.config.stored import stored_config
from experiments.errors import PaddockError
from experiments.files import read_json
from experiments.runs.identity import GROUPS
from experiments.serving.finished import find_run

PHASES = ("valid/", "test/")


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What is known of a finished run.

    Attributes
    ----------
    place : str
        Where it was read: the store's address, or the folder.
    run : mapping of str to object
        The content of run.json.
    metrics : mapping of str to float
        The final metrics of valid and test, by name.
    per_user : DataFrame
        A row for every test user.
    """

    place: str
    run: Mapping[str, Any]
    metrics: Mapping[str, float]
    per_user: pl.DataFrame

    @property
    def choices(self) -> dict[str, str]:
        """Group -> YAML file, as its command names them."""
        overrides = (each.partition("=") for each in shlex.split(self.run["command"]))
        named = {key: value for key, _, value in overrides if key in GROUPS}
        usual = {
            "dataset": self.run["dataset"],
            "protocol": self.run["protocol"],
            "model": self.run["model_key"],
        }
        return usual | named

    @property
    def places(self) -> tuple[str, ...]:
        """The overrides of its command that say where else YAML files are."""
        return given_places(shlex.split(self.run["command"]))

    def config(self) -> Config:
        """The configuration that was logged, with every value.

        Raises
        ------
        PaddockError
            It has a key that this code does not know.
        """
        return stored_config(self.run, place=self.place)


def read_logged(config: Config) -> Logged:
    """The run that `run_id` names: a run folder, or an MLflow id in the store or in `runs_dir`.

    Parameters
    ----------
    config : Config
        Its `run_id`, `tracking` and `runs_dir` count.

    Raises
    ------
    PaddockError
        There is no such run, it has not finished, or the store lacks a file of it.
    """
    if config.run_id is None:
        raise PaddockError("mode=reproduce needs run_id=..., an MLflow run id or a run folder")
    if config.tracking.uri is not None and not Path(config.run_id).exists():
        found = _from_store(config.run_id, config.tracking)
        if found is not None:
            return found
    folder = find_run(config.run_id, runs_dir=config.runs_dir)
    return Logged(
        place=str(folder.path),
        run=folder.run,
        metrics=_final(folder.result["metrics"]),
        per_user=pl.read_parquet(folder.path / "per_user.parquet"),
    )


def _from_store(run_id: str, tracking: TrackingConfig) -> Logged | None:
    """The run as the store holds it; None where the store has none of this id."""
    from mlflow.exceptions import MlflowException

    from experiments.tracking.store import reach

    store = reach(tracking)
    try:
        found = store.client.get_run(run_id)
    except MlflowException:
        return None
    kind, status = found.data.tags.get("paddock.kind"), found.info.status
    if kind == "parent":
        raise PaddockError(f"run_id={run_id} is the mean of several seeds: name one of its runs")
    if kind != "run" or status != "FINISHED":
        raise PaddockError(f"run_id={run_id} is no finished run: it is a {kind}, {status.lower()}")
    with TemporaryDirectory() as folder:
        try:
            run = read_json(
                Path(store.client.download_artifacts(run_id, "run.json", folder)),
            )
            table = store.client.download_artifacts(run_id, "per_user.parquet", folder)
            per_user = pl.read_parquet(table, memory_map=False)
        except (MlflowException, OSError) as error:
            raise PaddockError(
                f"run_id={run_id}: {store.uri} lacks its run.json or per_user.parquet; "
                "name its run folder instead"
            ) from error
    return Logged(place=store.uri, run=run, metrics=_final(found.data.metrics), per_user=per_user)


def _final(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith(PHASES)}
