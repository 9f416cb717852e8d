"""Processes that a benchmark measures, and goals of another machine."""

import pytest

from benchmarks.process import python_output
from benchmarks.startup import Command, measure, scaled


def test_measured_processes_keep_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert python_output("-c", "import sys; print(sys.dont_write_bytecode)") == "False\n"


def test_each_command_runs_once_before_it_is_measured() -> None:
    told: list[str] = []
    command = Command(
        name="nothing", arguments=["-c", ""], goal=2.0, before=lambda: told.append("before")
    )
    one = scaled(measure(command, repeats=1), 3.5)
    assert told == ["before", "before"]
    assert (one["goal_cpu_seconds"], one["goal_times_ratio"]) == (2.0, 7.0)
    assert one["cpu_seconds"]["median"] > 0
