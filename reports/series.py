"""The numbers behind the figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.summarise import Summary

_ONLY_STAGE = "train"
"""How the training of a model without stages calls its own."""

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


@dataclass(frozen=True, kw_only=True)
class Curves:
    """The learning curves of one stage of a row, which no line joins with another stage's.

    Attributes
    ----------
    stage : str
        Its name; "" where there is but one.
    place : int
        Which of the row's stages it is, counted from 0.
    seeds : sequence
        One curve a seed, of (step, value).
    """

    row: str
    stage: str
    place: int
    seeds: Sequence[Sequence[tuple[int, float]]]

    @property
    def label(self) -> str:
        """The row, and the stage where there are several."""
        return f"{self.row}, stage {self.stage}" if self.stage else self.row


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


def curves(summary: Summary) -> list[Curves]:
    """The curves of every row and stage, where more than one epoch was validated."""
    found = []
    for label, seeds in summary.curves.items():
        stages = list(dict.fromkeys(stage for seed in seeds for stage in seed))
        # What a model of a single stage calls it says nothing to a reader.
        named = set(stages) - {"", _ONLY_STAGE}
        for place, stage in enumerate(stages):
            lines = [seed[stage] for seed in seeds if len(seed.get(stage, ())) > 1]
            if lines:
                shown = stage if named else ""
                found.append(Curves(row=label, stage=shown, place=place, seeds=lines))
    return found
