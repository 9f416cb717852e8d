"""The numbers behind the figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.summarise import Summary

SLICES = {
    "items_cold": "cold items",
    "items_warm": "warm items",
    "items_unseen": "unseen items",
    "users_cold": "short histories",
    "users_warm": "long histories",
    "users_unseen": "unseen users",
}
"""Slice -> what a reader calls it."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One row by its cost and its quality; nothing cheaper is better than what is on the front."""

    label: str
    cost: float
    quality: float
    front: bool


@dataclass(frozen=True, kw_only=True)
class Versus:
    """The shares of users whom one row serves better, equally well, and worse than another."""

    row: str
    against: str
    wins: float
    ties: float
    losses: float


def cost_points(summary: Summary, cost: str, metric: str) -> list[Point]:
    """Every row by one of its costs and its mean of a metric, the cheapest first.

    Parameters
    ----------
    cost : str
        A field of `reports.costs.Cost`.
    """
    known = [
        (float(value), row.values[metric].mean, row.label)
        for row in summary.rows
        if (value := getattr(row.cost, cost)) and metric in row.values
    ]
    points, best = [], -np.inf
    # Of equally cheap ones the best comes first, and hides the others.
    for spent, quality, label in sorted(known, key=lambda point: (point[0], -point[1], point[2])):
        points.append(Point(label=label, cost=spent, quality=quality, front=quality > best))
        best = max(best, quality)
    return points


def slice_means(summary: Summary, metric: str) -> dict[str, dict[str, float]]:
    """The means of a metric by slice.

    Parameters
    ----------
    metric : str
        Without a phase, such as "full/ndcg_at_10".

    Returns
    -------
    dict
        Slice, as a reader calls it -> row -> mean over seeds; slices without targets are missing.
    """
    found: dict[str, dict[str, float]] = {}
    for name, title in SLICES.items():
        means = {
            row.label: row.configuration.mean(f"test/slice/{name}/{metric}") for row in summary.rows
        }
        known = {label: mean for label, mean in means.items() if not np.isnan(mean)}
        if known:
            found[title] = known
    return found


def slice_users(summary: Summary) -> dict[str, int]:
    """Slice, as a reader calls it -> how many users of the test are in it, as the runs report."""
    found: dict[str, int] = {}
    for name, title in SLICES.items():
        told = {
            int(run.metrics[key])
            for row in summary.rows
            for run in row.runs
            if (key := f"test/slice/{name}/users") in run.metrics
        }
        if told:
            found[title] = max(told)
    return found


def versus(summary: Summary, row: str, metric: str) -> list[Versus]:
    """A row against every other, user by user; a user's value is the mean over the seeds.

    Parameters
    ----------
    row : str
        Its label.
    metric : str
        Without a phase, such as "full/ndcg_at_10".
    """
    means = {
        label: np.round(by_metric[metric].mean(axis=0), 12)
        for label, by_metric in summary.users.items()
        if metric in by_metric
    }
    if row not in means:
        return []
    return [
        Versus(
            row=row,
            against=other,
            wins=float((means[row] > mean).mean()),
            ties=float((means[row] == mean).mean()),
            losses=float((means[row] < mean).mean()),
        )
        for other, mean in means.items()
        if other != row
    ]


def importances(summary: Summary) -> dict[str, Mapping[str, float]]:
    """Model -> hyper-parameter -> importance, of the latest study of each model in the table."""
    shown = {row.configuration.model for row in summary.rows}
    return {
        study.model: dict(sorted(study.importances.items(), key=lambda item: -item[1]))
        for study in summary.studies
        if study.model in shown and study.importances
    }


def curves(summary: Summary) -> dict[str, Sequence[Sequence[tuple[int, float]]]]:
    """Row -> one curve a seed, of the rows that train for more than one epoch."""
    return {
        label: curves
        for label, seeds in summary.curves.items()
        if (curves := [curve for curve in seeds if len(curve) > 1])
    }
