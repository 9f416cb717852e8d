"""A model that predicts ratings through the command line, beside one that does not."""

from pathlib import Path

import numpy as np
import pytest

from .command_line import CommandLine


def planted(folder: Path) -> float:
    """Ratings of 80 users and 90 items of two factors and biases, without noise; their deviation."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 90))
    ratings = 3 + factors + rng.normal(size=(80, 1)) + rng.normal(size=90)
    lines = ["user,item,rating,time"]
    for user, item in zip(*np.nonzero(rng.random(ratings.shape) < 0.6), strict=True):
        lines.append(f"u{user},i{item},{ratings[user, item]:.4f},{rng.integers(1000)}")
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    return float(ratings.std())


def test_planted_ratings_are_found_again(paddock: CommandLine, tmp_path: Path) -> None:
    deviation = planted(tmp_path)
    data = ["dataset=csv", f"dataset.source={tmp_path / 'ratings.csv'}", "protocol=random"]
    columns = [f"dataset.columns.{each}={each}" for each in ("user", "item", "rating", "time")]
    words = ["model.reg_weight=0.001", "model.learning_rate=0.02", "model.train_batch_size=128"]
    answer = paddock("model=biasedmf", *data, *columns, *words, "model.epochs=40")
    assert answer.code == 0, answer.err
    (run,) = paddock.runs
    assert run.result["metrics"]["test/ratings/rmse"] < 0.2 * deviation
    assert run.result["metrics"]["valid/ratings/rmse"] < 0.2 * deviation
    assert [row["metrics"]["valid/ratings/rmse"] for row in run.curve][-1] == pytest.approx(
        run.result["metrics"]["valid/ratings/rmse"]
    )
    assert "rmse" in answer.out
    # Beside it a model without ratings has none, and the board says so.
    other = paddock("model=pop", *data, *columns)
    assert other.code == 0, other.err
    board = paddock("mode=leaderboard", *data, *columns)
    assert "rmse" in board.out
    (pop,) = [line for line in board.out.splitlines() if line.split()[:1] == ["pop"]]
    assert "–" in pop


def test_data_without_ratings_is_refused(paddock: CommandLine, tmp_path: Path) -> None:
    answer = paddock("model=biasedmf", "dataset=tiny", "dataset.columns.rating=null")
    assert answer.code == 2
    assert "dataset.columns.rating is null: BiasedMF learns from ratings" in answer.err
    assert paddock.runs == []
    refused = paddock("model=biasedmf", "dataset=tiny", "model.strategy=pairs")
    assert refused.code == 2
    assert "model.strategy" in refused.err
    refused = paddock("model=bpr", "dataset=tiny", "model.strategy=ratings")
    assert refused.code == 2
    assert "a model that predicts ratings; BPR does not" in refused.err
