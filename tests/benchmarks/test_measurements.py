"""What the benchmarks compute from what they time."""

import json
import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import side
from benchmarks.curves import CURVES, best
from benchmarks.data import available, overrides
from benchmarks.evaluation_large import generated_split, measure
from benchmarks.measure import Measured, Seconds
from benchmarks.passes import mean_windows
from benchmarks.quality import first_at
from experiments.protocol.split import TEST, TRAIN, VALID

BATCHES, BEFORE, A_BATCH = 10, 100.0, 3.0


class SlowStart:
    """A strategy that takes 100 seconds before its first batch, and 3 for each, on its own clock."""

    optimizers: dict[str, Any] = {}
    generators: dict[str, Any] = {}

    def __init__(self) -> None:
        self.clock = 0.0
        self.done = 0

    def now(self) -> Seconds:
        return Seconds(wall=2 * self.clock, cpu=self.clock)

    def train_epoch(self, epoch: int, tick: Callable[[int, int], None]) -> float:
        self.clock += BEFORE
        for done in range(1, BATCHES + 1):
            self.clock += A_BATCH
            self.done = done
            tick(done, BATCHES)
        return 0.0


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowStart:
    strategy = SlowStart()
    monkeypatch.setattr(side, "now", strategy.now)
    return strategy


class TestTurn:
    def test_a_whole_pass_counts_everything(self, slow: SlowStart) -> None:
        found = side.turn(slow, None)
        assert (found["cpu"], found["wall"]) == (130.0, 260.0)
        assert (found["share"], found["batches"]) == (1.0, BATCHES)

    def test_a_part_is_scaled_up_without_what_comes_before_it(self, slow: SlowStart) -> None:
        found = side.turn(slow, 2 * A_BATCH)
        assert slow.done == 3
        assert found["share"] == pytest.approx(0.2)
        assert (found["cpu"], found["wall"]) == (pytest.approx(30.0), pytest.approx(60.0))

    def test_a_pass_within_its_seconds_is_a_whole_one(self, slow: SlowStart) -> None:
        found = side.turn(slow, 1e9)
        assert (found["cpu"], found["share"]) == (130.0, 1.0)


class TestMeasured:
    def test_ratios_are_of_turns(self) -> None:
        measured = Measured(name="SASRec pass ml-100k, seconds")
        for theirs, ours in ((8.0, 2.0), (9.0, 1.0), (6.0, 3.0)):
            measured.add(Seconds(wall=theirs, cpu=theirs / 2), Seconds(wall=ours, cpu=ours))
        summary = measured.summary()
        assert summary["ratio"] == {"min": 2.0, "median": 4.0, "max": 9.0}
        assert summary["cpu_ratio"] == {"min": 1.0, "median": 2.0, "max": 4.5}
        assert measured.file_name == "sasrec-pass-ml-100k"

    def test_what_is_never_reached_has_the_ratio_0_and_is_null(self) -> None:
        measured = Measured(name="x")
        measured.add(Seconds(wall=5, cpu=5), Seconds(wall=math.inf, cpu=math.inf))
        found = json.loads(json.dumps(measured.summary(), allow_nan=False))
        assert found["paddock_cpu_seconds"] == [None]
        assert found["cpu_ratio"]["max"] == 0


@pytest.mark.parametrize("longest", [1, 4, 50])
def test_windows_that_hold_so_many_targets(longest: int) -> None:
    """Against counting the windows of every possible first window."""
    lengths_U = np.random.default_rng(0).integers(0, 200, 300)
    targets_U = np.maximum(lengths_U - 1, 0)
    windows = 0.0
    for t in targets_U:
        if t > longest:
            firsts = np.arange(1, longest + 1)
            windows += float(np.mean(1 + np.ceil((t - firsts) / longest)))
        else:
            windows += float(t > 0)
    expected = round(100_000 * windows / targets_U.sum())
    assert mean_windows(100_000, lengths_U, longest) == expected


def test_first_epoch_at_a_value_and_the_first_best() -> None:
    curve = [{"epoch": n, "valid": v} for n, v in enumerate((0.1, 0.3, 0.2, 0.3), start=1)]
    assert best(curve)["epoch"] == 2
    reached = first_at(curve, 0.15)
    assert reached is not None
    assert reached["epoch"] == 2
    assert first_at(curve, 0.31) is None


@pytest.mark.parametrize("path", sorted(CURVES.glob("*.json")), ids=lambda path: path.stem)
def test_a_kept_curve_is_what_its_command_makes(path: Path) -> None:
    curve = json.loads(path.read_text(encoding="utf-8"))
    words = shlex.split(curve["command"])
    assert words[:3] == ["python", "-m", "benchmarks.curves"]
    model, dataset = words[3], words[words.index("--dataset") + 1]
    assert path.stem == f"{dataset}-{model.lower()}"
    assert curve["model"].startswith("recbole.model.")
    assert curve["model"].endswith(f".{model}")
    assert curve["hyperparameters"]["strategy"] == "recbole"
    epochs = curve["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, len(epochs) + 1))
    seconds = [epoch["cpu_seconds"] for epoch in epochs]
    assert all(np.diff(seconds) > 0)
    assert all(before < curve["budget_cpu_seconds"] for before in seconds[:-1])
    spent = seconds[-1] >= curve["budget_cpu_seconds"]
    assert spent or len(epochs) == curve["hyperparameters"]["epochs"]
    assert 0 < best(epochs)["valid"] < 1


class TestLargeEvaluation:
    def test_split_is_leave_one_out_of_the_scored_users(self) -> None:
        split = generated_split(n_users=200, n_items=50, scored=0.5)
        assert split.users("test").tolist() == list(range(1, 101))
        for user in (1, 100):
            parts = split.part[split.row_users == user]
            assert parts[-2:].tolist() == [VALID, TEST]
            assert (parts[:-2] == TRAIN).all()
        assert (split.part[split.row_users > 100] == TRAIN).all()
        assert len(np.unique(split.row_users)) == 200

    def test_a_scorer_that_knows_nothing_hits_by_chance(self) -> None:
        found = measure(n_users=4000, n_items=400, beyond=True, share=1.0)
        assert found["users_scored"] == 4000
        # 10 of some 385 items left; the deviation over 4,000 users is .0025.
        assert found["hit_at_10"] == pytest.approx(10 / 385, abs=0.01)


class TestData:
    def test_only_ml_100k_without_a_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PADDOCK_BENCH_DATA", raising=False)
        assert list(available()) == ["ml-100k"]
        with pytest.raises(SystemExit, match="PADDOCK_BENCH_DATA"):
            overrides("ml-1m")

    def test_what_the_folder_holds(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "ml-1m").mkdir()
        (tmp_path / "ml-1m" / "ml-1m.inter").touch()
        (tmp_path / "amazon-beauty").mkdir()
        monkeypatch.setenv("PADDOCK_BENCH_DATA", str(tmp_path))
        assert list(available()) == ["ml-100k", "ml-1m"]
        assert overrides("ml-1m") == ["dataset=atomic", f"dataset.source={tmp_path / 'ml-1m'}"]
