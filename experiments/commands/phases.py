"""Seconds and peak memory of each phase of a run."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

SAMPLE_SECONDS = 0.05


class Phases:
    """Measures named phases; a phase entered twice adds up its seconds and keeps its larger peak.

    The peak is the resident memory of this process, sampled while the phase runs: the system's own
    high-water mark never falls, so that in a grid every run would inherit the largest before it.
    """

    def __init__(self) -> None:
        self.measured: dict[str, dict[str, float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        phase = self.measured.setdefault(name, {"seconds": 0.0, "peak_memory_mb": 0.0})
        process, done = psutil.Process(), threading.Event()

        def sample() -> None:
            phase["peak_memory_mb"] = max(phase["peak_memory_mb"], process.memory_info().rss / 1e6)

        def watch() -> None:
            while not done.wait(SAMPLE_SECONDS):
                sample()

        sample()
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        started = time.perf_counter()
        try:
            yield
        finally:
            phase["seconds"] += time.perf_counter() - started
            done.set()
            watcher.join()
            sample()
