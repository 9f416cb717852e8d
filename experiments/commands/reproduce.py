"""Reproducing a run: trained again from what was logged, and compared with it.

On a CPU, with the same code and packages, every number must come out to its last bit. Other versions
sum in another order, and a GPU does so by itself: then the means may differ by `TOLERANCE`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from experiments.commands.logged import PHASES, Logged, read_logged
from experiments.commands.score import MODEL as EXTERNAL
from experiments.commands.train import run
from experiments.config.experiment import Experiment
from experiments.config.schema import Config, Format, Mode, TrackingConfig
from experiments.errors import PaddockError
from experiments.protocol.shared_data import shared_data
from experiments.protocol.slices import definition_hash
from experiments.runs import provenance
from experiments.runs.folder import RunFolder
from experiments.runs.identity import component_sources
from experiments.training.device import device_of
from experiments.visible import json_text

TOLERANCE = 0.01
"""How far a mean may be off where bits cannot agree: absolutely, or relatively if it exceeds 1."""

_MOST = 5
SAME, DIFFERS, UNKNOWN = "same", "differs", "unknown"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The comparison of one aspect: code, data, packages or numbers.

    Attributes
    ----------
    verdict : str
        "same", "differs", "unknown" or "within TOLERANCE".
    detail : str
        What differs, or what was compared.
    """

    verdict: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A run compared with its repetition.

    Attributes
    ----------
    run : str
        Model, data set, protocol and seed.
    place : str
        Where the logged run was read: the store's address, or the folder.
    code, data, packages, numbers : Finding
        Aspect by aspect.
    reproduced : bool
        Whether the numbers agree: to the bit, or within the tolerance where bits cannot.
    """

    run: str
    place: str
    code: Finding
    data: Finding
    packages: Finding
    numbers: Finding
    reproduced: bool


def reproduce(config: Config, *, console: Console) -> Reproduction:
    """Train the run that `config.run_id` names again, in a folder of its own, and compare.

    On other data nothing is trained: the numbers would answer another question.

    On other data nothing is trained, because the numbers would not be comparable.

    Parameters
    ----------
    config : Config
        `run_id`, `tracking`, `runs_dir`, `data_dir` and `progress` count.
    console : Console
        Where progress is printed.

    Raises
    ------
    PaddockError
        The run cannot be read, or its configuration is not one of this code.
    """
    logged = read_logged(config)
    if logged.run["model"] == EXTERNAL:
        raise PaddockError(
            f"run_id={config.run_id} scored lists of another system, and trained nothing: give its own "
            f"command with force=true: {logged.run['command']}"
        )
    if (several := logged.run.get("processes", 1)) > 1:
        raise PaddockError(
            f"run_id={config.run_id} was trained by {several} processes, and mode=reproduce trains in "
            f"one: give its own command to other folders (runs_dir=, data_dir=): {logged.run['command']}"
        )
    wanted = replace(
        logged.config(),
        mode=Mode.run,
        force=False,
        progress=config.progress,
        data_dir=config.data_dir,
        tracking=TrackingConfig(uri=None),
    )
    experiment = Experiment.of(wanted, logged.choices, logged.places)
    shared = shared_data(wanted)
    hashes = {**shared.hashes, "slices": definition_hash(wanted.protocol.slices)}
    code = _code(logged.run, provenance.git(), component_sources(experiment))
    then = logged.run.get("packages") or {}
    packages = _named(then, provenance.packages(), same=f"{len(then)} versions")
    same = f"hashes of {', '.join(sorted(logged.run['hashes']))}"
    data = _named(logged.run["hashes"], hashes, same=same, digits=10)
    if data.verdict == DIFFERS:
        numbers, reproduced = Finding(verdict=UNKNOWN, detail="not trained on other data"), False
    else:
        exact = (
            code.verdict == packages.verdict == SAME
            and device_of(wanted.device).type == "cpu"
            and _platform(logged.run.get("host") or {}) == _platform(provenance.host())
        )
        with TemporaryDirectory(prefix="paddock-") as scratch:
            folder = run(
                experiment.with_values(runs_dir=scratch),
                console=console,
                bars=config.progress,
                # Every stage is trained again, not taken from the runs that share it.
                elsewhere=Path(scratch),
            )
            numbers, reproduced = _numbers(logged, folder, exact=exact)
            if folder.run["config_hash"] != logged.run["config_hash"]:
                other = f"{code.detail}; its configuration has another identity here"
                code = Finding(verdict=DIFFERS, detail=other)
    seed = logged.run["seed"]
    return Reproduction(
        run=f"{logged.run['model_key']} on {logged.run['dataset']}/{logged.run['protocol']} seed {seed}",
        place=logged.place,
        code=code,
        data=data,
        packages=packages,
        numbers=numbers,
        reproduced=reproduced,
    )


def show(made: Reproduction, *, form: Format, console: Console) -> None:
    """Print the findings as a table, or as one JSON document.

    Parameters
    ----------
    made : Reproduction
        What `reproduce` returns.
    form : Format
        How to print.
    console : Console
        Where to print.
    """
    if form is Format.json:
        console.file.write(json_text(asdict(made)) + "\n")
        return
    table = Table(title=f"{made.run}, logged in {made.place}", title_justify="left")
    for column in ("", "verdict", "what"):
        table.add_column(column, overflow="fold")
    for name in ("code", "data", "packages", "numbers"):
        finding: Finding = getattr(made, name)
        table.add_row(name, finding.verdict, finding.detail)
    console.print(table)
    console.print("reproduced" if made.reproduced else "not reproduced", highlight=False)


def _code(
    run: Mapping[str, Any], present: Mapping[str, Any], sources: Mapping[str, str]
) -> Finding:
    """Compare commits, what was not committed, and the sources of the run's components."""
    changed_sources = [
        name
        for name in sorted({*run.get("sources", {}), *sources})
        if "sources" in run and run["sources"].get(name) != sources.get(name)
    ]
    if changed_sources:
        return Finding(verdict=DIFFERS, detail=f"other source of {', '.join(changed_sources)}")
    logged: Mapping[str, Any] = run.get("git") or {}
    then, here = logged.get("commit"), present.get("commit")
    if then is None or here is None:
        return Finding(verdict=UNKNOWN, detail="no commit is known")
    if then != here:
        return Finding(verdict=DIFFERS, detail=f"made by commit {then[:10]}, this is {here[:10]}")
    if logged.get("diff") != present.get("diff"):
        return Finding(verdict=DIFFERS, detail=f"other uncommitted changes of commit {then[:10]}")
    if logged.get("untracked", {}) != present.get("untracked"):
        return Finding(verdict=DIFFERS, detail=_untracked(logged, present))
    changed = ", with the same uncommitted changes" if logged.get("dirty") else ""
    return Finding(verdict=SAME, detail=f"commit {then[:10]}{changed}")


def _untracked(logged: Mapping[str, Any], present: Mapping[str, Any]) -> str:
    """Which sources that git does not know differ."""
    then, here = logged.get("untracked") or {}, present.get("untracked") or {}
    other = [name for name in sorted({*then, *here}) if then.get(name) != here.get(name)]
    return f"other sources that git does not track: {', '.join(other)}"


def _named(
    logged: Mapping[str, str], present: Mapping[str, str], *, same: str, digits: int | None = None
) -> Finding:
    """Compare values by name; `digits` is how many characters of each the message shows."""
    other = [
        f"{name} {logged.get(name, 'none')[:digits]} then, {present.get(name, 'none')[:digits]} here"
        for name in sorted(logged.keys() | present.keys())
        if logged.get(name) != present.get(name)
    ]
    if other:
        return Finding(verdict=DIFFERS, detail="; ".join(other))
    return Finding(verdict=SAME, detail=same)


def _numbers(logged: Logged, folder: RunFolder, *, exact: bool) -> tuple[Finding, bool]:
    """Compare the final metrics and the values of every user."""
    found = {
        name: value for name, value in folder.result["metrics"].items() if name.startswith(PHASES)
    }
    names = sorted(logged.metrics.keys() | found.keys())
    off = {
        name: (logged.metrics.get(name, math.nan), found.get(name, math.nan))
        for name in names
        if not _equal(logged.metrics.get(name), found.get(name))
    }
    users = _users_off(logged.per_user, pl.read_parquet(folder.path / "per_user.parquet"))
    if not off and not users:
        detail = f"{len(names)} metrics and the values of {len(logged.per_user)} users to the bit"
        return Finding(verdict=SAME, detail=detail), True
    lines = [f"{name} {then:.6g} then, {here:.6g} here" for name, (then, here) in off.items()]
    if len(lines) > _MOST:
        lines = [*lines[:_MOST], f"and {len(lines) - _MOST} metrics more"]
    if users:
        lines.append(users)
    if exact:
        return Finding(verdict=DIFFERS, detail="; ".join(lines)), False
    near = all(
        math.isclose(then, here, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for then, here in off.values()
    )
    bound = f"{'within' if near else 'beyond'} the tolerance of {TOLERANCE}: "
    verdict = f"within {TOLERANCE}" if near else DIFFERS
    return Finding(verdict=verdict, detail=bound + "; ".join(lines)), near


def _users_off(then: pl.DataFrame, here: pl.DataFrame) -> str:
    """How many users have another value in some column; "" where all are equal."""
    # An earlier version may have logged fewer columns.
    if not {*then.columns} <= {*here.columns} or not then["user"].equals(here["user"]):
        return "the tables of users hold other users or columns"
    differs_U = np.zeros(len(then), dtype=bool)
    for name in then.columns:
        left_U, right_U = then[name].to_numpy(), here[name].to_numpy()
        differs_U |= ~((left_U == right_U) | ((left_U != left_U) & (right_U != right_U)))
    return f"other values for {differs_U.sum()} of {len(then)} users" if differs_U.any() else ""


def _equal(then: float | None, here: float | None) -> bool:
    if then is None or here is None:
        return then is here
    return then == here or (math.isnan(then) and math.isnan(here))


def _platform(host: Mapping[str, Any]) -> tuple[Any, ...]:
    return host.get("machine"), host.get("system")
