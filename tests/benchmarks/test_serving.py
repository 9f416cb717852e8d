"""The benchmark of serving, on sizes that take no time."""

from pathlib import Path

import pytest

from benchmarks.served import percentiles
from benchmarks.serving import batch


def test_percentiles_in_milliseconds() -> None:
    found = percentiles([number / 1000 for number in range(101)])
    assert found == {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0}


@pytest.mark.parametrize("budget", [100.0, 0.0])
def test_what_was_not_measured_is_scaled_up(tmp_path: Path, budget: float) -> None:
    users = 5000  # more than one block
    found = batch(tmp_path, n_users=users, n_items=50, budget=budget)
    assert found["scaled_up"] == (budget == 0)
    assert (found["measured_users"] == users) == (budget > 0)
    assert (tmp_path / "lists.parquet").exists() == (budget > 0)
