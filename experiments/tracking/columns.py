"""Which of some three hundred metrics a reviewer sees first, and how they are spelled."""

import re
from collections.abc import Iterable, Mapping

_METRIC = re.compile(r"test/([^/]+)/([a-z]+)_at_(\d+)")
_SHOWN = ("ndcg", "hit")

COSTS = {
    "time/train_seconds": "train s",
    "memory/train_peak_mb": "peak memory MB",
    "scoring_ms_per_user": "scoring ms per user",
    "params_trained": "parameters trained",
}


def shown_metrics(names: Iterable[str]) -> dict[str, list[str]]:
    """By ranking, the full one first: NDCG and Hit at 10, or at the largest cut-off, and Hit at the
    smallest. A ranking that has neither shows what it has.

    Returns
    -------
    dict
        {"full": ["test/full/ndcg_at_10", "test/full/hit_at_10", "test/full/hit_at_1"], ...}
    """
    cutoffs: dict[str, dict[str, set[int]]] = {}
    for name in names:
        if parts := _METRIC.fullmatch(name):
            cutoffs.setdefault(parts[1], {}).setdefault(parts[2], set()).add(int(parts[3]))
    shown: dict[str, list[str]] = {}
    for ranking in sorted(cutoffs, key=lambda each: (each != "full", each)):
        by_measure = cutoffs[ranking]
        usual = [measure for measure in _SHOWN if measure in by_measure]
        wanted = [(measure, _usual(by_measure[measure])) for measure in usual or sorted(by_measure)]
        if "hit" in by_measure:
            wanted.append(("hit", min(by_measure["hit"])))
        found = [f"test/{ranking}/{measure}_at_{k}" for measure, k in wanted]
        shown[ranking] = list(dict.fromkeys(found))
    return shown


def leading_metric(names: Iterable[str]) -> str | None:
    """What the leaderboard is sorted by: the first ranking's first metric."""
    return next((metrics[0] for metrics in shown_metrics(names).values()), None)


def spelled(metric: str) -> str:
    """The field's spelling, which MLflow's names cannot have: "full NDCG@10"."""
    parts = _METRIC.fullmatch(metric)
    if parts is None:
        return metric
    measure = parts[2].upper() if parts[2] == "ndcg" else parts[2].capitalize()
    return f"{parts[1]} {measure}@{parts[3]}"


def told(metrics: Mapping[str, float], name: str) -> str:
    """A mean with its standard deviation: "0.1071 ± 0.0075"; a dash where there is none."""
    if name not in metrics:
        return "–"
    deviation = metrics.get(f"{name}_std")
    return f"{metrics[name]:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _usual(cutoffs: set[int]) -> int:
    return 10 if 10 in cutoffs else max(cutoffs)
