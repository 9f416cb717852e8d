"""The rows of the leaderboard: one per configuration, sorted, marked and labelled."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from experiments.config.metric_names import default_columns
from experiments.errors import PaddockError
from experiments.runs.compare import LeftOut, by_metric, cautions, comparable, marks
from experiments.runs.configuration import Configuration
from experiments.runs.folder import RunFolder
from experiments.runs.leaderboard.entries import FolderRun, entries


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration over its seeds.

    Attributes
    ----------
    label : str
        The model's name, and what sets the configuration apart where the model has several.
    means, stds : dict
        By metric, in the order of the columns. A single seed has no standard deviation, and a
        metric that not every seed reports is NaN and has none either.
    marks : dict
        By metric: "best" or "second".
    train_seconds : float or None
        The mean over the seeds that measured it.
    flags : tuple of str
        What a reader should know before trusting the row.
    refitted : bool
        Whether the model was trained on the valid part too: such rows are marked among themselves.
    left_out : str
        Why the row does not compare, or "".
    sorted_by : str
        The metric by which the rows that compare are in order.
    asked_for : bool
        Whether it is the row of the run that the table was asked for.
    not_applicable : bool
        Whether the model cannot score what the protocol asks for.
    """

    label: str
    model_key: str
    config_hash: str
    seeds: tuple[int, ...]
    means: dict[str, float] = field(default_factory=dict)
    stds: dict[str, float] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    train_seconds: float | None = None
    flags: tuple[str, ...] = ()
    refitted: bool = False
    left_out: str = ""
    sorted_by: str = ""
    asked_for: bool = False
    not_applicable: bool = False


def leaderboard(
    folders: Iterable[RunFolder] | Mapping[RunFolder, Mapping[str, Any]],
    *,
    metrics: Sequence[str] | None = None,
    where_known: Sequence[str] = (),
    of: RunFolder | None = None,
) -> list[Row]:
    """Group finished runs by configuration, the best first, then the rows that are left out.

    Rows of models that were trained on the valid part too stand between them, marked among themselves.

    Parameters
    ----------
    folders : iterable of RunFolder
        Run folders; `experiments.runs.folder.read_runs` gives them with what run.json says.
    metrics : sequence of str, optional
        Full names, such as "test/full/ndcg_at_10". By default those of `default_columns`.
    where_known : sequence of str
        More metrics, each shown if a compared run reports it.
    of : RunFolder, optional
        One of the folders: the table is of what compares with it, its row is marked, and nothing is
        said of the others.

    Returns
    -------
    list of Row
        Sorted by the test counterpart of the protocol's `valid_metric`, the best first.

    Raises
    ------
    PaddockError
        A metric that no run reports.
    """
    runs = entries(folders)
    own = next((run for run in runs if of is not None and run.run_id == str(of.path)), None)
    found = comparable(runs, like=own)
    groups = (found.configurations, found.apart)
    reported = list(
        {
            name: None
            for group in groups
            for each in group
            for run in each.runs
            for name in run.metrics
        }
    )
    names = _columns(reported, metrics) + [name for name in where_known if name in reported]
    rows = [row for group in groups for row in _rows(group, names)]
    if own is None:
        return rows + _left_out(found.left_out, runs)
    return [
        replace(row, asked_for=row.config_hash == own.config_hash)
        for row in rows
        if row.refitted is own.refitted
    ]


def _rows(group: Sequence[Configuration[FolderRun]], names: Sequence[str]) -> list[Row]:
    """The rows of configurations that compare, the best first."""
    if not group:
        return []
    by_label = {
        name: marks({each.label: each.mean(name) for each in group}, name) for name in names
    }
    lead = f"test/{group[0].runs[0].selecting}"
    made = [
        _row(each, names, {name: by_label[name].get(each.label, "") for name in names})
        for each in by_metric(group, lead)
    ]
    return [replace(row, sorted_by=lead) for row in made]


def _columns(reported: Sequence[str], metrics: Sequence[str] | None) -> list[str]:
    if metrics is None:
        return [name for names in default_columns(reported).values() for name in names]
    for name in metrics:
        if reported and name not in reported:
            raise PaddockError(
                f"no run reports the metric {name!r}; there are: {', '.join(sorted(reported))}"
            )
    return list(metrics)


def _row(each: Configuration[FolderRun], names: Sequence[str], own: dict[str, str]) -> Row:
    stds = {name: each.std(name) for name in names}
    known = [run.train_seconds for run in each.runs if run.train_seconds is not None]
    return Row(
        label=each.label,
        model_key=each.model,
        config_hash=each.config_hash,
        seeds=each.seeds,
        # A missing value keeps its column, so that every row has the same ones.
        means={name: each.mean(name) for name in names},
        stds={name: std for name, std in stds.items() if std is not None},
        marks={name: mark for name, mark in own.items() if mark},
        train_seconds=float(np.mean(known)) if known else None,
        flags=_flags(each),
        refitted=each.refitted,
        not_applicable=each.not_applicable,
    )


def _flags(each: Configuration[FolderRun]) -> tuple[str, ...]:
    ranking = each.runs[0].full_ranking
    return (*cautions(each), *([f"full: {ranking}"] if ranking else []))


def _left_out(left_out: Sequence[LeftOut], runs: Sequence[FolderRun]) -> list[Row]:
    """A row for the seeds of one configuration that are left out for one reason."""
    hashes = {run.run_id: run.config_hash for run in runs}
    of_model: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        of_model[run.model].add(run.config_hash)
    grouped: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for each in left_out:
        grouped[each.model, hashes[each.run_id], each.reason].append(each.seed)
    return [
        Row(
            label=f"{model} {config_hash[:6]}" if len(of_model[model]) > 1 else model,
            model_key=model,
            config_hash=config_hash,
            seeds=tuple(sorted(seeds)),
            left_out=reason,
        )
        for (model, config_hash, reason), seeds in grouped.items()
    ]
