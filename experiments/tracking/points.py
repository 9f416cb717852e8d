"""Metric points: what a run folder holds, what MLflow holds, and sending the difference."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from experiments.runs.folder import RunFolder

_METRICS_PER_CALL = 1000
_TRACKING = "time/track_seconds"


class Point(NamedTuple):
    """One value of one metric; `timestamp` is in milliseconds."""

    name: str
    value: float
    timestamp: int
    step: int

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.step


def points_of(folder: RunFolder) -> list[Point]:
    """All numbers that MLflow shall hold for one finished run.

    The curve goes first. The final metrics follow one step after its last: MLflow shows the value
    at the highest step as a run's own, which for `valid/...` is the selected epoch's and not the
    last epoch's.

    Parameters
    ----------
    folder : RunFolder
        Finished. Seconds and megabytes are sent as it holds them.
    """
    run, result, curve = folder.run, folder.result, folder.curve
    begun, ended = milliseconds(run["started"]), milliseconds(run["finished"])
    points: list[Point] = []
    elapsed = 0.0
    for record in curve:
        elapsed += record.get("seconds") or 0.0
        points += points_at(record, min(begun + round(1000 * elapsed), ended))
    final: dict[str, Any] = dict(result["metrics"])
    for phase, cost in result.get("phases", {}).items():
        final[f"time/{phase}_seconds"] = cost.get("seconds")
        final[f"memory/{phase}_peak_mb"] = cost.get("peak_memory_mb")
    final["best_epoch"] = result.get("best_epoch")
    final["scoring_ms_per_user"] = result.get("scoring_ms_per_user")
    final["params_trained"] = run.get("params_trained")
    last = max((record["step"] for record in curve), default=-1)
    return points + points_at({"metrics": final, "step": last + 1}, ended)


def points_at(record: Mapping[str, Any], timestamp: int) -> list[Point]:
    """The points of one record, such as a line of curve.jsonl.

    Parameters
    ----------
    record : mapping
        `metrics` by name, of which those that are None are left out, and their `step`.
    timestamp : int
        Milliseconds since 1970.
    """
    return [
        Point(name, float(value), timestamp, int(record["step"]))
        for name, value in record["metrics"].items()
        if value is not None
    ]


def missing(
    points: Sequence[Point], logged: Mapping[tuple[str, int], Sequence[float]]
) -> list[Point] | None:
    """The points that the store lacks.

    Parameters
    ----------
    points : sequence of Point
        What it shall hold.
    logged : mapping
        (metric, step) -> the values that it holds.

    Returns
    -------
    list of Point or None
        None where it holds something else: a killed run was resumed from an earlier epoch and took
        another course. Neither samples of the machine nor the seconds of the upload itself, which its
        folder holds when it is over, are such a contradiction.
    """
    expected = {point.key: point.value for point in points}
    for key, values in logged.items():
        if key[0].startswith("system/") or key[0] == _TRACKING:
            continue
        if key not in expected or len(values) > 1 or not same(values[0], expected[key]):
            return None
    return [point for point in points if point.key not in logged]


def same(left: float, right: float) -> bool:
    """Whether a value that came back from a store is the one that was sent."""
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return math.isclose(_storable(left), _storable(right), rel_tol=1e-9)


def send_points(client: Any, run_id: str, points: Sequence[Point]) -> None:
    """Log points, as many at once as MLflow takes."""
    from mlflow.entities import Metric

    for start in range(0, len(points), _METRICS_PER_CALL):
        chunk = points[start : start + _METRICS_PER_CALL]
        client.log_batch(run_id, metrics=[Metric(*point) for point in chunk])


def milliseconds(moment: str) -> int:
    """Milliseconds since 1970 of a moment that run.json writes in ISO 8601."""
    return round(1000 * datetime.fromisoformat(moment).timestamp())


def now() -> int:
    """Milliseconds since 1970, MLflow's unit of time."""
    return time.time_ns() // 1_000_000


def _storable(value: float) -> float:
    """SQL stores keep an infinity as the largest float."""
    return max(-sys.float_info.max, min(sys.float_info.max, value))
