"""The names of metrics: which ranking, which measure, at which cut-off."""

import re
from collections.abc import Iterable, Sequence

from reports.errors import ReportError
from reports.options import metric_name, nearest

_METRIC = re.compile(r"test/([^/]+)/([a-z]+)_at_(\d+)")
_ACCURACY = ("hit", "ndcg", "recall", "precision", "mrr", "map")


def accuracy(names: Iterable[str]) -> dict[str, list[str]]:
    """By ranking, the full one first, the metrics that rise with the rank of a target.

    Returns
    -------
    dict
        {"full": ["full/hit_at_1", ...], "c20": [...]}
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        parts = _METRIC.fullmatch(name)
        if parts and parts[2] in _ACCURACY:
            found.setdefault(parts[1], []).append(name.removeprefix("test/"))
    return dict(sorted(found.items(), key=lambda item: (item[0] != "full", item[0])))


def columns(names: Iterable[str], wanted: Sequence[str]) -> dict[str, list[str]]:
    """By ranking, the metrics of the tables: those wanted, or Hit and NDCG of every ranking.

    Raises
    ------
    ReportError
        A wanted metric that no run reports.
    """
    known = accuracy(names)
    if not wanted:
        return {ranking: _usual(ranking, metrics) for ranking, metrics in known.items()}
    every = [metric for metrics in known.values() for metric in metrics]
    asked = [metric_name(each) for each in wanted]
    for metric in asked:
        if metric.startswith("ratings/"):
            raise ReportError(
                f"metrics: {metric} is no metric of a ranking, which a report compares; "
                "python run.py mode=leaderboard shows errors of ratings"
            )
        if metric not in every:
            raise ReportError(f"metrics: no run reports {metric}; {nearest(metric, every)}")
    chosen = {
        ranking: [metric for metric in asked if metric in metrics]
        for ranking, metrics in known.items()
    }
    return {ranking: metrics for ranking, metrics in chosen.items() if metrics}


def leading(metrics: Sequence[str], selecting: str) -> str:
    """The metric that a table is sorted by: the one that chose the epochs, else NDCG, else the last."""
    if selecting in metrics:
        return selecting
    named = [metric for metric in metrics if "/ndcg_at_" in metric]
    return (named or list(metrics))[-1]


def short(metric: str) -> str:
    """The field's own spelling, which only MLflow refuses: NDCG@10 for full/ndcg_at_10."""
    measure, _, cutoff = metric.rpartition("/")[2].partition("_at_")
    name = measure.upper() if measure in ("ndcg", "mrr", "map") else measure.capitalize()
    return f"{name}@{cutoff}" if cutoff else name


def long(metric: str) -> str:
    """The same with its ranking: "full NDCG@10"."""
    return f"{metric.partition('/')[0]} {short(metric)}"


def _usual(ranking: str, metrics: Sequence[str]) -> list[str]:
    """Hit at the smallest cut-off, Hit and NDCG at 10 or the largest."""
    cutoffs = sorted({int(metric.rpartition("_at_")[2]) for metric in metrics})
    cutoff = 10 if 10 in cutoffs else cutoffs[-1]
    wanted = [f"hit_at_{cutoffs[0]}", f"hit_at_{cutoff}", f"ndcg_at_{cutoff}"]
    named = [f"{ranking}/{each}" for each in dict.fromkeys(wanted)]
    return [metric for metric in named if metric in metrics] or list(metrics[:3])
