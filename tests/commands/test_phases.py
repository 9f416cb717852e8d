"""Seconds and peak memory of phases: of a process that allocates, frees and waits."""

import mmap
import time

import psutil
import pytest

from experiments.commands.phases import Phases

ALLOCATED = 200_000_000
PATIENCE = 30.0
"""Seconds until a sampler that was starved of its processor must have looked."""


def resident_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


def hold(phases: Phases, name: str, until_mb: float) -> None:
    """Hold memory until the phase has seen it, then give it back to the system.

    An anonymous mapping is no matter of the C library, which may keep what is freed.
    """
    block = mmap.mmap(-1, ALLOCATED)
    for start in range(0, ALLOCATED, mmap.PAGESIZE):
        block[start] = 1
    given_up = time.monotonic() + PATIENCE
    while phases.measured[name]["peak_memory_mb"] < until_mb and time.monotonic() < given_up:
        time.sleep(0.01)
    block.close()


def test_the_peak_is_the_most_that_was_held() -> None:
    phases, before = Phases(), resident_mb()
    with phases("work"):
        hold(phases, "work", until_mb=before + 150)
        time.sleep(0.3)  # a few samples after the peak
    after, peak = resident_mb(), phases.measured["work"]["peak_memory_mb"]
    assert after < before + 50, "the memory was given back"
    assert after + 150 <= peak <= before + ALLOCATED / 1e6 + 100


def test_a_phase_does_not_inherit_the_peak_of_another() -> None:
    phases, before = Phases(), resident_mb()
    with phases("large"):
        hold(phases, "large", until_mb=before + 150)
    with phases("small"):
        pass
    assert phases.measured["small"]["peak_memory_mb"] < before + 100


def test_a_phase_that_is_entered_again_keeps_its_larger_peak_and_adds_its_seconds() -> None:
    phases, before = Phases(), resident_mb()
    started = time.perf_counter()
    with phases("work"):
        hold(phases, "work", until_mb=before + 150)
        time.sleep(0.1)
    peak, first = phases.measured["work"]["peak_memory_mb"], phases.measured["work"]["seconds"]
    with phases("work"):
        time.sleep(0.1)
    assert phases.measured["work"]["peak_memory_mb"] == peak
    around = time.perf_counter() - started
    assert 0.2 <= first + 0.1 <= phases.measured["work"]["seconds"] <= around


def test_a_phase_that_fails_is_measured_to_its_end() -> None:
    def fail_after_a_while() -> None:
        with phases("work"):
            time.sleep(0.1)
            raise KeyError

    phases = Phases()
    with pytest.raises(KeyError):
        fail_after_a_while()
    assert phases.measured["work"]["seconds"] >= 0.1
    assert phases.measured["work"]["peak_memory_mb"] > 0
