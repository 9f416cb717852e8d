"""Which runs compare, and which of a model's configurations is shown."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from experiments.runs.compare import (
    best_of_each_model,
    by_metric,
    cautions,
    collapsed,
    comparable,
    marks,
)
from experiments.runs.configuration import Configuration, Run

NDCG, RMSE, GINI = "test/full/ndcg_at_10", "test/ratings/rmse", "test/full/gini_at_10"
QUESTION = {"dataset": "d" * 64, "split": "5" * 64, "candidates_c20_test": "c" * 64}


def _run(number: int, **given: Any) -> Run:
    usual = Run(
        run_id=f"{number:032x}",
        model="bpr",
        seed=number,
        config_hash="a" * 64,
        started=1000 * number,
        experiment="ml-100k/loo",
        question=QUESTION,
        metrics={"valid/full/ndcg_at_10": 0.1, "test/full/ndcg_at_10": 0.1},
        selecting="full/ndcg_at_10",
    )
    return replace(usual, **given)


def test_every_reason_is_told() -> None:
    odd = {
        11: ({"unfit": "still running"}, "still running"),
        14: ({"dirty": True}, "uncommitted code"),
        15: ({"question": QUESTION | {"dataset": "x" * 64}}, "dataset hash xxxxxx instead of dddd"),
        16: ({"question": QUESTION | {"split": "x" * 64}}, "split hash xxxxxx"),
        17: (
            {"question": QUESTION | {"candidates_c20_test": "x" * 64}},
            "candidates c20 test hash",
        ),
        18: ({"question": {**QUESTION, "slices": "x" * 64}}, "slices hash xxxxxx instead of none"),
        21: ({"experiment": "tiny/loo"}, "tiny/loo instead of ml-100k/loo"),
        19: ({"config_hash": ""}, "config_hash"),
        20: ({"seed": 1}, "repeats run 00000000"),
    }
    runs = [_run(number) for number in (1, 2, 3)]
    made = [*runs, *(_run(number, **given) for number, (given, _) in odd.items())]
    found = comparable(made[::-1], uncommitted=False)
    (configuration,) = found.configurations
    assert configuration.seeds == (1, 2, 3)
    assert [each.seed for each in found.left_out] == [11, 14, 15, 16, 17, 18, 19, 1, 21]
    for each, number in zip(found.left_out, sorted(odd), strict=True):
        assert odd[number][1] in each.reason


def test_uncommitted_code_counts_where_it_is_asked_for() -> None:
    runs = [_run(1), _run(2, dirty=True)]
    (configuration,) = comparable(runs).configurations
    assert configuration.seeds == (1, 2)
    assert configuration.dirty


def test_the_question_is_that_of_most_runs_and_then_the_latest() -> None:
    other = QUESTION | {"split": "6" * 64}
    two_of_three = [_run(1), _run(2), _run(3, question=other)]
    assert comparable(two_of_three).question == QUESTION
    assert comparable([_run(1), _run(3, question=other)]).question == other
    # Runs that do not count have no say in it.
    killed = [_run(number, question=other, unfit="was killed") for number in (4, 5, 6)]
    assert comparable([_run(1), *killed]).question == QUESTION


def test_a_metric_that_a_seed_lacks_has_no_mean() -> None:
    found = comparable([_run(1), _run(2, metrics={})])
    (configuration,) = found.configurations
    assert configuration.values(NDCG) == []
    assert np.isnan(configuration.mean(NDCG))
    assert configuration.std(NDCG) is None


def test_configurations_are_told_apart_by_what_differs() -> None:
    made = [
        _run(number, config_hash=str(number) * 64, params={"model.lr": lr, "model.name": "BPR"})
        for number, lr in ((1, "0.1"), (2, "0.01"))
    ]
    assert [each.label for each in comparable(made).configurations] == ["bpr lr=0.1", "bpr lr=0.01"]
    same = [_run(number, config_hash=str(number) * 64) for number in (1, 2)]
    labels = [each.label for each in comparable(same).configurations]
    assert labels == ["bpr 111111", "bpr 222222"]


def test_the_valid_metric_chooses_the_configuration_not_the_test() -> None:
    def run(number: int, *, valid: float, test: float, **given: Any) -> Run:
        metrics = {"valid/full/ndcg_at_10": valid, "test/full/ndcg_at_10": test}
        return _run(number, config_hash=str(number) * 64, metrics=metrics, **given)

    runs = [
        run(1, valid=0.3, test=0.1),
        run(2, valid=0.2, test=0.9),
        run(3, valid=0.1, test=0.1, model="pop"),
        run(4, valid=0.1, test=0.1, mechanics_only=True),
    ]
    chosen, others = best_of_each_model(comparable(runs).configurations)
    assert sorted(each.config_hash[0] for each in chosen) == ["1", "3", "4"]
    assert [each.config_hash[0] for each in others] == ["2"]


def test_the_order_is_that_of_the_metric_and_its_direction() -> None:
    values = {"bpr": (0.2, 0.9), "pop": (0.1, 0.7), "sasrec": (0.3, 0.8), "ease": (None, None)}
    runs = [
        _run(
            number,
            model=model,
            config_hash=model,
            metrics={} if ndcg is None else {NDCG: ndcg, RMSE: rmse},
        )
        for number, (model, (ndcg, rmse)) in enumerate(values.items(), start=1)
    ]
    made = comparable(runs).configurations
    assert [each.label for each in by_metric(made, NDCG)] == ["sasrec", "bpr", "pop", "ease"]
    assert [each.label for each in by_metric(made, RMSE)] == ["pop", "sasrec", "bpr", "ease"]


@pytest.mark.parametrize(
    ("metric", "means", "expected"),
    [
        (NDCG, (0.3, 0.2, 0.1), {"a": "best", "b": "second"}),
        (RMSE, (0.3, 0.2, 0.1), {"c": "best", "b": "second"}),
        (GINI, (0.3, 0.2, 0.1), {}),
        # Equal as they are shown.
        (NDCG, (0.30001, 0.29999, 0.1), {"a": "best", "b": "best", "c": "second"}),
        (NDCG, (0.3, np.nan, 0.1), {"a": "best", "c": "second"}),
        (NDCG, (0.3, np.nan, np.nan), {}),
    ],
)
def test_marks(metric: str, means: tuple[float, ...], expected: dict[str, str]) -> None:
    assert marks(dict(zip("abc", means, strict=True)), metric) == expected


def test_means_and_deviations_are_over_seeds() -> None:
    values = (0.2, 0.5, 0.9)
    runs = [_run(seed, metrics={NDCG: value}) for seed, value in enumerate(values, start=1)]
    (configuration,) = comparable(runs).configurations
    assert configuration.mean(NDCG) == pytest.approx(sum(values) / 3)
    squares = sum((value - sum(values) / 3) ** 2 for value in values)
    assert configuration.std(NDCG) == pytest.approx((squares / 2) ** 0.5)
    (alone,) = comparable(runs[:1]).configurations
    assert alone.std(NDCG) is None


def test_comparing_needs_nothing_heavy() -> None:
    code = (
        "import sys, experiments.runs.compare\n"
        "print(*{'polars', 'rich', 'torch', 'mlflow', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def _seeds(values: Any, metric: str = "full/ndcg_at_10") -> Configuration[Run]:
    runs = [
        _run(number, metrics={f"test/{metric}": float(value)}, selecting=metric)
        for number, value in enumerate(values, 1)
    ]
    return Configuration(label="bpr", runs=runs)


@pytest.mark.parametrize(
    ("values", "seeds"),
    [
        ([0.305, 0.031, 0.330], [2]),
        ([0.030, 0.305, 0.031, 0.330, 0.310], [1, 3]),
        ([0.305, 0.031], []),  # nobody can say which of two
        ([0.305, 0.160, 0.330], []),
        ([0.04, 0.01, 0.03], []),  # scatters widely
        ([0.0, 0.0, 0.0], []),
        ([0.3, 0.3, 0.3], []),
        ([0.3, np.nan, 0.3], []),
    ],
)
def test_a_seed_that_collapsed_is_found(values: list[float], seeds: list[int]) -> None:
    assert [seed for seed, _ in collapsed(_seeds(values))] == seeds


def test_a_seed_that_collapsed_is_named_with_its_value() -> None:
    assert cautions(_seeds([0.305, 0.031, 0.330])) == ["seed 2 collapsed: 0.0310"]
    assert collapsed(_seeds([0.9, 2.4, 0.92], "ratings/rmse")) == [(2, 2.4)]
    assert collapsed(_seeds([0.9, 0.2, 0.92], "ratings/rmse")) == []


def test_ordinary_noise_collapses_nobody() -> None:
    rng = np.random.default_rng(1)
    for seeds in (3, 5, 10):
        for values in rng.normal(0.1, 0.01, size=(500, seeds)):
            assert collapsed(_seeds(values)) == []
