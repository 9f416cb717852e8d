"""The smoke run: every baseline trains on the tiny data set and reaches its golden values."""

from collections.abc import Callable
from functools import cache

import pytest

from .command_line import CommandLine
from .golden import RUNS, TOLERANCE, measure, read

pytestmark = pytest.mark.smoke

MARGIN = 0.15
"""By how much NDCG@10 of BPR and of SASRec exceeds Pop's at least; measured: 0.25 and 0.29."""

Measure = Callable[[str], dict[str, float]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measure:
    """The golden metrics of a smoke run, trained when a test first asks for it."""
    return cache(lambda name: measure(name, CommandLine(tmp_path_factory.mktemp(name))))


def test_every_smoke_run_has_golden_values() -> None:
    assert set(read()) == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_golden_values(name: str, measured: Measure) -> None:
    found, golden = measured(name), read()[name]
    for metric, tolerance in TOLERANCE.items():
        # Pop counts: integers are summed in no other order anywhere.
        allowed = 1e-12 if name == "pop" else tolerance
        assert found[metric] == pytest.approx(golden[metric], abs=allowed, rel=0), metric


@pytest.mark.parametrize("name", ["bpr", "sasrec"])
def test_personal_models_beat_popularity(name: str, measured: Measure) -> None:
    metric = "test/full/ndcg_at_10"
    assert measured(name)[metric] > measured("pop")[metric] + MARGIN
