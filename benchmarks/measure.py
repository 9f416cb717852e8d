"""Measurements of two peers, and their ratio.

CPU seconds are those of the process. On a machine with other work they tell what a side costs, where
wall seconds tell how long it waited; with one thread on an idle machine the two are equal.
"""

import math
import re
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.runs.provenance import host


@dataclass(kw_only=True)
class Seconds:
    """Wall and CPU seconds: of a piece of work, or a moment on both clocks."""

    wall: float = 0.0
    cpu: float = 0.0


def now() -> Seconds:
    """This moment on the clock of the wall and on that of the process."""
    return Seconds(wall=time.perf_counter(), cpu=time.process_time())


def since(begin: Seconds, end: Seconds | None = None) -> Seconds:
    """What passed from one moment to another, or until now."""
    end = end or now()
    return Seconds(wall=end.wall - begin.wall, cpu=end.cpu - begin.cpu)


@contextmanager
def timed(into: Seconds | None = None) -> Iterator[Seconds]:
    """Add the seconds of the block to `into`, or to a fresh count."""
    seconds = into or Seconds()
    begin = now()
    try:
        yield seconds
    finally:
        taken = since(begin)
        seconds.wall += taken.wall
        seconds.cpu += taken.cpu


def peak_megabytes() -> float:
    """The most memory that this process ever held.

    Linux's status is that of the program; `getrusage` tells the parent's peak too where this one began
    as a part of it.
    """
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> dict[str, Any]:
    """The host with its processor's name, where the system tells it."""
    found = host()
    info = Path("/proc/cpuinfo")
    if info.is_file() and (name := re.search(r"model name\s*: (.+)", info.read_text())):
        found["processor"] = name[1]
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """The smallest, the median and the largest."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


@dataclass(kw_only=True)
class Measured:
    """Seconds of RecBole and of Paddock, taken in turns.

    Attributes
    ----------
    theirs, ours
        Wall seconds of each turn.
    theirs_cpu, ours_cpu
        CPU seconds of each turn, where they were taken.
    facts
        What else was found: memory, shares, settings.
    """

    name: str
    theirs: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    theirs_cpu: list[float] = field(default_factory=list)
    ours_cpu: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, theirs: Seconds, ours: Seconds) -> None:
        """One more turn."""
        self.theirs.append(theirs.wall)
        self.ours.append(ours.wall)
        self.theirs_cpu.append(theirs.cpu)
        self.ours_cpu.append(ours.cpu)

    @property
    def file_name(self) -> str:
        """The name as a file's: what stands before the first comma, in lower case."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.partition(",")[0].lower()).strip("-")

    @property
    def ratios(self) -> list[float]:
        """RecBole's wall seconds over ours, of each turn."""
        return _ratios(self.theirs, self.ours)

    @property
    def cpu_ratios(self) -> list[float]:
        return _ratios(self.theirs_cpu, self.ours_cpu)

    def summary(self) -> dict[str, Any]:
        """All of it as JSON; seconds without end, of what was never reached, are null."""
        found = {
            "name": self.name,
            "recbole_seconds": _finite(self.theirs),
            "paddock_seconds": _finite(self.ours),
            "ratio": spread(self.ratios),
        }
        if self.theirs_cpu:
            found["recbole_cpu_seconds"] = _finite(self.theirs_cpu)
            found["paddock_cpu_seconds"] = _finite(self.ours_cpu)
            found["cpu_ratio"] = spread(self.cpu_ratios)
        return found | self.facts


def _ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    return [their / our for their, our in zip(theirs, ours, strict=True)]


def _finite(seconds: Sequence[float]) -> list[float | None]:
    return [each if math.isfinite(each) else None for each in seconds]
