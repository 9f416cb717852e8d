"""System metrics: processor, memory and GPU of the machine while a run trained.

They are samples of the whole machine, taken at epochs, and show whether a slow run had it for itself.
`system.jsonl` in the run folder keeps them, one line a sample, so that they can be sent again.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

from experiments.runs.folder import RunFolder
from experiments.tracking.points import Point, now

PREFIX = "system/"
_FILE = "system.jsonl"
_SECONDS = 5.0


class SystemMetrics:
    """Samples the machine into a run folder, at most every so many seconds.

    Parameters
    ----------
    folder : RunFolder
        Of a run that begins or goes on; where it has no epochs yet, earlier samples are removed.
    seconds : float
        The shortest time between two samples.
    """

    def __init__(self, folder: RunFolder, *, seconds: float = _SECONDS) -> None:
        self.path = folder.path / _FILE
        self.seconds = seconds
        self._sampled_at = -float("inf")
        if not folder.curve:
            self.path.unlink(missing_ok=True)

    def sample(self, step: int) -> list[Point]:
        """Take one sample, unless the last one is too recent.

        Parameters
        ----------
        step : int
            The epoch, counted over all stages.

        Returns
        -------
        list of Point
            Empty where no sample was taken.
        """
        if time.monotonic() - self._sampled_at < self.seconds:
            return []
        self._sampled_at = time.monotonic()
        taken = {"step": step, "timestamp": now(), "metrics": _measured()}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(taken) + "\n")
        return list(_points(taken))


def system_points(folder: RunFolder) -> list[Point]:
    """All samples of a run folder; of two at one step, which a resumed run leaves, the later."""
    path = folder.path / _FILE
    if not path.exists():
        return []
    points: dict[tuple[str, int], Point] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            taken = json.loads(line)
        except ValueError:  # a kill cut the line short
            continue
        points |= {point.key: point for point in _points(taken)}
    return list(points.values())


def _points(taken: dict[str, Any]) -> Iterator[Point]:
    for name, value in taken["metrics"].items():
        yield Point(PREFIX + name, float(value), int(taken["timestamp"]), int(taken["step"]))


def _measured() -> dict[str, float]:
    """MLflow's names and units, which its dashboard puts on the page "System metrics"."""
    import psutil

    memory, process = psutil.virtual_memory(), psutil.Process()
    found = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / 1e6,
        "system_memory_usage_percentage": memory.percent,
        "process_memory_usage_megabytes": process.memory_info().rss / 1e6,
    }
    return found | _gpus()


def _gpus() -> dict[str, float]:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no such package, or no driver
        return {}
    found: dict[str, float] = {}
    for number in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(number)
        memory, rates = (
            pynvml.nvmlDeviceGetMemoryInfo(handle),
            pynvml.nvmlDeviceGetUtilizationRates(handle),
        )
        found[f"gpu_{number}_memory_usage_megabytes"] = memory.used / 1e6
        found[f"gpu_{number}_utilization_percentage"] = rates.gpu
    return found
