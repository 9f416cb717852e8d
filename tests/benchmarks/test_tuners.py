"""Tuners at equal CPU seconds: the clock, the end of a budget, and what is told of a study."""

import subprocess
import sys
import time

import pytest

from benchmarks.tuners import Clock, best_at, paddock, table, watched


def test_clock_of_a_process() -> None:
    clock = Clock(wall=[100.0, 110.0, 120.0], cpu=[1.0, 6.0, 7.0])
    assert [clock.at(moment) for moment in (90.0, 105.0, 120.0)] == [1.0, 3.5, 7.0]


def test_best_of_the_trials_that_have_ended() -> None:
    trials = [(2.0, 0.3), (4.0, 0.1), (5.0, 0.4)]
    assert best_at(trials, [1.0, 2.0, 4.5, 9.0]) == [None, 0.3, 0.3, 0.4]


def test_a_budget_is_of_the_processor() -> None:
    """Who sleeps uses none of it; who computes is ended with it."""
    work = "import time; time.sleep(1.0); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        begin = time.time()
        clock = watched(process.pid, seconds=0.5, began=lambda: begin)
        assert process.wait() == -9
    assert clock.at(time.time()) - clock.at(begin) >= 0.5


def test_a_tuner_that_ends_by_itself_is_no_result() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    with pytest.raises(RuntimeError, match="ended before its budget"):
        watched(process.pid, seconds=60.0, began=lambda: None)
    process.wait()


def test_table_of_results() -> None:
    def study(seed: int, best: list[float | None]) -> dict[str, object]:
        return {
            "model": "BPR",
            "tuner": "median",
            "seed": seed,
            "complete": 4 + seed,
            "pruned": 2,
            "best": best,
        }

    studies = [
        study(1, [None, 0.1, 0.2, 0.2]),
        study(2, [None, None, 0.1, 0.4]),
        study(3, [None, 0.3, 0.3, 0.3]),
    ]
    head, _, row = table({"seconds": 60.0, "studies": studies})
    assert head.endswith("| after 15 s | after 30 s | after 45 s | after 60 s |")
    told = "| – | 2 of 3: 0.3000 | 0.2000 (0.1000 - 0.3000) | 0.3000 (0.2000 - 0.4000) |"
    assert row == f"| BPR | median | 6, 2 {told}"


@pytest.mark.slow
def test_a_study_of_some_seconds() -> None:
    found = paddock("BPR", "none", seed=1, seconds=20.0)
    assert found["complete"] == len(found["trials"]) >= 1
    assert found["best"][-1] == max(value for _, value in found["trials"])
    assert all(0.0 < end <= 21.0 for end, _ in found["trials"])
