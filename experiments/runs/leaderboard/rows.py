"""The rows of the leaderboard: one per configuration, sorted, marked and told apart."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder
from experiments.runs.leaderboard.entries import (
    Entry,
    by_configuration,
    difference,
    mean,
    read_entries,
    selector,
    shared_question,
)

LOWER = ("rmse", "mae")
"""Metrics of which the lower value is the better one."""
NEITHER = ("gini", "popularity")
"""Metrics that tell what the lists are like, of which no value is better."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration over its seeds.

    Attributes
    ----------
    label : str
        The model's name, with the first 6 characters of the config_hash where the model has
        several configurations.
    means, stds : dict
        By metric, in the order of the columns. A single seed has no standard deviation, and a
        metric that not every seed reports is NaN and has none either.
    marks : dict
        By metric: "best" or "second".
    flags : tuple of str
        What a reader should know before trusting the row.
    left_out : str
        Why the row does not compare, or "".
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
    left_out: str = ""


def leaderboard(
    folders: Sequence[RunFolder],
    *,
    metrics: Sequence[str] | None = None,
    where_known: Sequence[str] = (),
) -> list[Row]:
    """Group finished runs by configuration, the best first, then the rows that are left out.

    Parameters
    ----------
    folders : sequence of RunFolder
    metrics : sequence of str, optional
        Full names, such as "test/full/ndcg_at_10". By default, every test metric at the cut-off
        that the protocol selects by, and hit_at_1 among candidates.
    where_known : sequence of str
        More of them, each shown if a run that compares reports it.

    Returns
    -------
    list of Row
        Sorted by the test counterpart of the protocol's `valid_metric`, higher first.

    Raises
    ------
    PaddockError
        A metric that no run reports.
    """
    entries, unread = read_entries(folders)
    left_out = [_named([entry], left_out=reason) for entry, reason in unread]
    shown = shared_question(entries)
    comparable = [entry for entry in entries if entry.question == shown]
    reported = {name for entry in comparable for name in entry.metrics}
    names = _columns(comparable, metrics) + [name for name in where_known if name in reported]
    selecting = selector(comparable)
    ranked: list[tuple[float, Row]] = []
    for group in by_configuration(entries):
        if reason := difference(group[0].question, shown):
            left_out.append(_named(group, left_out=reason))
        else:
            score = mean(group, selecting)
            ranked.append((-np.inf if np.isnan(score) else score, _row(group, names)))
    rows = [row for _, row in sorted(ranked, key=lambda pair: (-pair[0], pair[1].label))]
    return _told_apart(_marked(rows, names) + left_out)


def _columns(entries: Sequence[Entry], metrics: Sequence[str] | None) -> list[str]:
    reported = {name: None for entry in entries for name in entry.metrics}
    if metrics is not None:
        for name in metrics:
            if entries and name not in reported:
                raise PaddockError(
                    f"no run reports the metric {name!r}; there are: {', '.join(sorted(reported))}"
                )
        return list(metrics)
    cutoff = selector(entries).rpartition("_at_")[2]
    return [
        name
        for name in reported
        if name.startswith("test/")
        and (
            name.endswith(f"_at_{cutoff}")
            or (name.endswith("/hit_at_1") and not name.startswith("test/full/"))
        )
    ]


def _named(group: Sequence[Entry], *, left_out: str = "") -> Row:
    run = group[0].run
    return Row(
        label=run["model_key"],
        model_key=run["model_key"],
        config_hash=run["config_hash"],
        seeds=tuple(sorted(entry.run["seed"] for entry in group)),
        left_out=left_out,
    )


def _row(group: Sequence[Entry], names: Sequence[str]) -> Row:
    # A missing value keeps its column, so that every row has the same ones.
    means = {name: mean(group, name) for name in names}
    stds = {
        name: float(np.std([entry.metrics[name] for entry in group], ddof=1))
        for name in names
        if len(group) > 1 and not np.isnan(means[name])
    }
    seconds = [entry.result.get("phases", {}).get("train", {}).get("seconds") for entry in group]
    known = [each for each in seconds if each is not None]
    return replace(
        _named(group),
        means=means,
        stds=stds,
        train_seconds=float(np.mean(known)) if known else None,
        flags=_flags(group),
    )


def _flags(group: Sequence[Entry]) -> tuple[str, ...]:
    sources = [entry.run.get("git") or {} for entry in group]
    flags = []
    if any(git.get("dirty") for git in sources):
        flags.append("uncommitted")
    commits = {git.get("commit") for git in sources}
    if len(commits) > 1:
        flags.append(f"{len(commits)} commits")
    tags = group[0].run.get("tags", {})
    if tags.get("paddock.mechanics_only") == "true":
        flags.append("tiny LLM: mechanics only")
    if "paddock.full_ranking" in tags:
        flags.append(f"full: {tags['paddock.full_ranking']}")
    return tuple(flags)


def _marked(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Mark the best and the second value of every metric; equal values share a mark."""
    if len(rows) < 2:
        return list(rows)
    marks: list[dict[str, str]] = [{} for _ in rows]
    for name in names:
        measure = name.rpartition("/")[2].partition("_at_")[0]
        if measure in NEITHER:
            continue
        # Rounded as printed: no reader can see why one of two equal numbers should be bold.
        values = [round(row.means[name], 4) for row in rows]
        ladder = sorted({value for value in values if not np.isnan(value)})
        if measure not in LOWER:
            ladder.reverse()
        for mark, value in zip(("best", "second"), ladder, strict=False):
            for own, shown in zip(marks, values, strict=True):
                if shown == value:
                    own[name] = mark
    return [replace(row, marks=own) for row, own in zip(rows, marks, strict=True)]


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    hashes: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        hashes[row.model_key].add(row.config_hash)
    return [
        replace(row, label=f"{row.model_key} {row.config_hash[:6]}")
        if len(hashes[row.model_key]) > 1
        else row
        for row in rows
    ]
