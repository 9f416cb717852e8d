"""Paddock from Python: train, compare, recommend; the calls change nothing global and no working folder.

    from paddock import api

    run = api.run("model=sasrec", "dataset=tiny", root="work")
    board = api.leaderboard("tiny", root="work")
    run.recommender().recommend(api.Request(history=("i3", "The Elven Crown")))

What a call writes lies below `root`, under the names that commands use. Importing this imports neither torch
nor RecBole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from experiments.config.schema import Config
    from experiments.serving.recommender import Recommender
    from experiments.serving.requests import Answer, Request

__all__ = ["Answer", "Recommender", "Request", "Run", "leaderboard", "open_run", "run"]

_LATER = {
    "Answer": "experiments.serving.requests",
    "Recommender": "experiments.serving.recommender",
    "Request": "experiments.serving.requests",
}
"""Name -> the module that has it, imported when it is asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    folder : Path
        The run folder.
    """

    folder: Path

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """What run.json says: data set, protocol, model, seed, configuration, hashes."""
        from experiments.runs.folder import RunFolder

        return RunFolder(self.folder).run

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """The final metrics, as "test/full/ndcg_at_10" -> value."""
        from experiments.runs.folder import RunFolder

        metrics: dict[str, float] = RunFolder(self.folder).result["metrics"]
        return metrics

    def per_user(self) -> "pl.DataFrame":
        """The metrics of every test user, a row a user."""
        import polars as pl

        return pl.read_parquet(self.folder / "per_user.parquet")

    def recommender(self, *, data_dir: str | Path | None = None) -> "Recommender":
        """What answers requests by the trained model.

        Parameters
        ----------
        data_dir : str or Path, optional
            Of prepared data sets; by default where the run was trained.

        Raises
        ------
        PaddockError
            If the data set is no longer what the run was trained on, or the run holds no model.
        """
        from experiments.serving.recommender import Recommender

        return Recommender.load(self.folder, data_dir=data_dir)


def run(*overrides: str, root: str | Path = ".", progress: bool = False) -> Run:
    """Train, evaluate and track one configuration with one seed; what is finished is not trained again.

    Parameters
    ----------
    *overrides : str
        As on a command line, as in "model=sasrec", "seed=3", "model.learning_rate=1e-3".
    root : str or Path
        The folder that runs, prepared data, downloads and the tracking store lie in; relative values of
        `runs_dir`, `data_dir` and an SQLite store in the overrides are of it, too.
    progress : bool
        Whether to print on stderr how far it is.

    Raises
    ------
    PaddockError
        If the configuration is wrong, the data is at fault, or the model cannot be trained on it.
    """
    import io

    from rich.console import Console

    from experiments.commands.train import run as train
    from experiments.config.compose import choices_of, compose, typed
    from experiments.config.experiment import Experiment
    from experiments.config.schema import Mode
    from experiments.errors import PaddockError
    from experiments.terminal import make_console

    given = list(overrides)
    config = _rooted(typed(compose(given)), Path(root).absolute())
    if config.mode is not Mode.run:
        raise PaddockError(f"mode={config.mode.value} trains nothing: leave it out")
    config.progress = progress
    console = make_console(stderr=True) if progress else Console(file=io.StringIO())
    folder = train(Experiment.of(config, choices_of(given)), console=console, bars=progress)
    return Run(folder.path)


def open_run(source: str | Path, *, root: str | Path = ".") -> Run:
    """A finished run, its files compared with what was written.

    Parameters
    ----------
    source : str or Path
        A run folder, MLflow's id of a run, or "runs:/ID/...".
    root : str or Path
        Its folder `runs` is searched for an id.

    Raises
    ------
    PaddockError
        If there is no such run, it has not finished, or a file of it is damaged.
    """
    from experiments.serving.finished import find_run

    return Run(find_run(source, runs_dir=Path(root).absolute() / "runs").path)


def leaderboard(dataset: str, protocol: str = "loo", *, root: str | Path = ".") -> "pl.DataFrame":
    """Configurations side by side over their seeds, the best first, those that do not compare at the end.

    Parameters
    ----------
    dataset, protocol : str
        Of the runs.
    root : str or Path
        Its folder `runs` holds them.

    Returns
    -------
    DataFrame
        A row a configuration: "model", "seeds", each metric's mean under its full name and its standard
        deviation over the seeds under that name and "_std" (null of a single seed), "train_seconds", "notes", and
        "left_out": why it does not compare, else null.
    """
    import polars as pl

    from experiments.runs.folder import read_runs
    from experiments.runs.leaderboard import leaderboard as rows_of

    runs = Path(root).absolute() / "runs"
    rows = rows_of(read_runs(runs, dataset=dataset, protocol=protocol, finished=True))
    names = list(dict.fromkeys(name for row in rows for name in row.means))
    metrics = {
        column: [values(row).get(name) for row in rows]
        for name in names
        for column, values in ((name, _means), (f"{name}_std", _deviations))
    }
    return pl.DataFrame(
        {
            "model": [row.label for row in rows],
            "seeds": [list(row.seeds) for row in rows],
            **metrics,
            "train_seconds": [row.train_seconds for row in rows],
            "notes": ["; ".join(row.flags) for row in rows],
            "left_out": [row.left_out or None for row in rows],
        },
        schema_overrides={
            "model": pl.String,
            "seeds": pl.List(pl.Int64),
            **dict.fromkeys((*metrics, "train_seconds"), pl.Float64),
            "notes": pl.String,
            "left_out": pl.String,
        },
    )


def _means(row: Any) -> dict[str, float]:
    means: dict[str, float] = row.means
    return means


def _deviations(row: Any) -> dict[str, float]:
    deviations: dict[str, float] = row.stds
    return deviations


def _rooted(config: "Config", root: Path) -> "Config":
    """The configuration with its relative places below a folder."""
    from experiments.address import sqlite_file

    for key in ("runs_dir", "data_dir"):
        setattr(config, key, str(root / getattr(config, key)))
    uri = config.tracking.uri
    file = sqlite_file(uri) if uri is not None else None
    if file is not None and not file.is_absolute():
        config.tracking.uri = f"sqlite:///{root / file}"
    return config
