"""Which runs compare, and which of a model's configurations is shown."""

from dataclasses import replace
from typing import Any

from reports.compare import best_of_each_model, comparable
from reports.read import Run

QUESTION = {"dataset": "d" * 64, "split": "5" * 64, "candidates_c20_test": "c" * 64}


def _run(number: int, **given: Any) -> Run:
    usual = Run(
        run_id=f"{number:032x}",
        model="bpr",
        seed=number,
        config_hash="a" * 64,
        status="FINISHED",
        started=1000 * number,
        question=QUESTION,
        metrics={"valid/full/ndcg_at_10": 0.1, "test/full/ndcg_at_10": 0.1},
        params={"protocol.valid_metric": "full/ndcg_at_10"},
        tags={},
    )
    return replace(usual, **given)


def test_every_reason_is_told() -> None:
    odd = {
        11: ({"status": "RUNNING"}, "still running"),
        12: ({"status": "FAILED"}, "failed"),
        13: ({"status": "KILLED"}, "was killed"),
        14: ({"tags": {"paddock.dirty": "true"}}, "uncommitted code"),
        15: ({"question": QUESTION | {"dataset": "x" * 64}}, "dataset hash xxxxxx instead of dddd"),
        16: ({"question": QUESTION | {"split": "x" * 64}}, "split hash xxxxxx"),
        17: (
            {"question": QUESTION | {"candidates_c20_test": "x" * 64}},
            "candidates c20 test hash",
        ),
        18: ({"question": {**QUESTION, "slices": "x" * 64}}, "slices hash xxxxxx instead of none"),
        19: ({"config_hash": ""}, "config_hash"),
        20: ({"seed": 1}, "repeats run 00000000"),
    }
    runs = [_run(number) for number in (1, 2, 3)]
    found = comparable([*runs, *(_run(number, **given) for number, (given, _) in odd.items())])
    (configuration,) = found.configurations
    assert configuration.seeds == (1, 2, 3)
    assert [each.seed for each in found.left_out] == [11, 12, 13, 14, 15, 16, 17, 18, 19, 1]
    for each, (_, told) in zip(found.left_out, odd.values(), strict=True):
        assert told in each.reason


def test_uncommitted_code_counts_where_it_is_asked_for() -> None:
    runs = [_run(1), _run(2, tags={"paddock.dirty": "true"})]
    (configuration,) = comparable(runs, dirty=True).configurations
    assert configuration.seeds == (1, 2)


def test_the_question_is_that_of_most_runs_and_then_the_latest() -> None:
    other = QUESTION | {"split": "6" * 64}
    two_of_three = [_run(1), _run(2), _run(3, question=other)]
    assert comparable(two_of_three).question == QUESTION
    assert comparable([_run(1), _run(3, question=other)]).question == other
    # Runs that do not count have no say in it.
    killed = [_run(number, question=other, status="KILLED") for number in (4, 5, 6)]
    assert comparable([_run(1), *killed]).question == QUESTION


def test_a_metric_that_a_seed_lacks_has_no_mean() -> None:
    found = comparable([_run(1), _run(2, metrics={})])
    (configuration,) = found.configurations
    assert configuration.values("test/full/ndcg_at_10") == []


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

    tiny = {"paddock.mechanics_only": "true"}
    runs = [
        run(1, valid=0.3, test=0.1),
        run(2, valid=0.2, test=0.9),
        run(3, valid=0.1, test=0.1, model="pop"),
        run(4, valid=0.1, test=0.1, tags=tiny),
    ]
    chosen, others = best_of_each_model(comparable(runs).configurations)
    assert sorted(each.config_hash[0] for each in chosen) == ["1", "3", "4"]
    assert [each.config_hash[0] for each in others] == ["2"]
