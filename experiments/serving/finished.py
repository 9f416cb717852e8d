"""Finding a finished run: by folder, by MLflow's id, or the best of many by the valid metric."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.config.schema import Config, TrackingConfig
from experiments.config.stored import stored_config
from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder, find_runs, read_runs

_URI = re.compile(r"runs:/(?P<run>[^/]+)(?:/.*)?")


ADDRESS = "models:/"
"""Begins the address of a model in MLflow's registry."""


def find_run(
    source: str | Path, *, runs_dir: str | Path, tracking: TrackingConfig | None = None
) -> RunFolder:
    """A finished run, with its files verified.

    Parameters
    ----------
    source : str or Path
        A run folder, the MLflow id of a run in `runs_dir`, "runs:/ID/..." of it, or "models:/NAME@ALIAS" of the
        registry.
    runs_dir : str or Path
        The root of all runs.
    tracking : TrackingConfig, optional
        Where the registry is; by default mlflow.db.

    Raises
    ------
    PaddockError
        If there is no such run, it has not finished, or a file of it is damaged.
    """
    if str(source).startswith(ADDRESS):
        source = _registered(str(source), tracking or TrackingConfig())
    folder = RunFolder(source)
    if not folder.exists:
        uri = _URI.fullmatch(str(source))
        wanted = uri["run"] if uri else str(source)
        of_id = {
            each.tracking.get("run_id", ""): each for each in find_runs(runs_dir, finished=True)
        }
        if wanted not in of_id:
            raise PaddockError(
                f"run_id={source} is neither a run folder nor the MLflow id of a finished run in {runs_dir}"
            )
        folder = of_id[wanted]
    if not folder.finished:
        raise PaddockError(f"run_id={source} has not finished: run its command again")
    folder.verify()
    folder.clean()
    return folder


def _registered(address: str, tracking: TrackingConfig) -> str:
    from experiments.tracking.registry import registered_run
    from experiments.tracking.store import reach

    if tracking.uri is None:
        raise PaddockError("tracking.uri is null: a registry is part of a tracking store; name one")
    return registered_run(reach(tracking), address)


def asked_run(config: Config, *, dataset: str, model: str | None) -> RunFolder:
    """The run that a configuration names, else the best on the valid part.

    Parameters
    ----------
    config : Config
        Its `run_id`, `runs_dir` and protocol count.
    dataset : str
        Without `run_id`, only runs on this data set.
    model : str or None
        Without `run_id`, only runs of this model; None: of all.

    Raises
    ------
    PaddockError
        As `find_run` and `best_run`.
    """
    if config.run_id is not None:
        return find_run(config.run_id, runs_dir=config.runs_dir)
    return best_run(config.runs_dir, dataset=dataset, protocol=config.protocol.name, model=model)


def best_run(
    runs_dir: str | Path,
    *,
    dataset: str | None = None,
    protocol: str | None = None,
    model: str | None = None,
) -> RunFolder:
    """The finished run with the greatest valid metric, the newest of equal ones.

    Runs with control texts do not compete.

    Parameters
    ----------
    runs_dir : str or Path
        The root of all runs.
    dataset, protocol, model : str, optional
        Only runs of these.

    Raises
    ------
    PaddockError
        If there is none.
    """
    found = read_runs(runs_dir, dataset, protocol, model, finished=True)
    runs = {
        folder: run
        for folder, run in found.items()
        if run["config"].get("text_control", "none") == "none"
    }
    values = {folder: _valid(folder, run) for folder, run in runs.items()}
    scored = [(value, folder) for folder, value in values.items() if value is not None]
    if not scored:
        if runs:
            names = ", ".join(sorted({run["model_key"] for run in runs.values()}))
            raise PaddockError(
                f"no finished run has a valid metric: {names} cannot score what protocol="
                f"{next(iter(runs.values()))['protocol']} asks for"
            )
        asked = {"model": model, "dataset": dataset, "protocol": protocol}
        words = " ".join(f"{name}={value}" for name, value in asked.items() if value)
        raise PaddockError(
            f"no finished run of {words or 'any model'} in {runs_dir}: "
            f"train one with python run.py {words or 'model=sasrec dataset=ml-100k'}"
        )
    best = max(scored, key=lambda each: each[0])[1]  # the first of equal ones, the newest
    best.verify()
    best.clean()
    return best


def _valid(folder: RunFolder, run: Mapping[str, Any]) -> float | None:
    metric = run["config"]["protocol"]["valid_metric"]
    value = folder.result["metrics"].get(f"valid/{metric}")
    return None if value is None or value != value else float(value)


def config_of(folder: RunFolder) -> Config:
    """The configuration of a run, with every value.

    Parameters
    ----------
    folder : RunFolder

    Raises
    ------
    PaddockError
        If it has a key that this code does not know.
    """
    return stored_config(folder.run, place=str(folder.path))
