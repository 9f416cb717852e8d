"""The names of metrics: their parts, how they are shown, which value is better, default columns."""

import pytest

from experiments import metric_names
from experiments.config.registry import functions
from experiments.metric_names import (
    MetricName,
    by_ranking,
    default_columns,
    leading,
    long_title,
    names_of,
    parse,
    short,
    stored,
    title,
)
from paddock import ListMeasure, Metric


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("test/full/ndcg_at_10", ("test", "", "full", "ndcg", 10)),
        ("full/hit_at_1", ("", "", "full", "hit", 1)),
        (
            "test/slice/items_cold/c20/mrr_at_5",
            ("test", "items_cold", "c20", "mrr", 5),
        ),
        ("test/slice/users_warm/targets", ("test", "users_warm", "", "targets", None)),
        ("test/ratings/rmse", ("test", "", "ratings", "rmse", None)),
        (
            "test/generation_free/c20/exact_hit_at_1",
            ("test", "", "generation_free/c20", "exact_hit", 1),
        ),
        ("train/loss", ("train", "", "", "loss", None)),
    ],
)
def test_a_name_is_its_parts_and_back(name: str, parts: tuple[object, ...]) -> None:
    made = parse(name)
    assert (made.phase, made.slice, made.ranking, made.metric, made.cutoff) == parts
    assert str(made) == name


def test_a_name_as_it_is_shown() -> None:
    assert short("test/full/ndcg_at_10") == "ndcg@10"
    assert short("test/ratings/rmse") == "rmse"
    assert [title(f"full/{m}_at_10") for m in ("ndcg", "mrr", "hit")] == [
        "NDCG@10",
        "MRR@10",
        "Hit@10",
    ]
    assert long_title("test/c20/recall_at_5") == "c20 Recall@5"
    assert stored("test/full/ndcg@10") == stored("full/ndcg_at_10") == "full/ndcg_at_10"


def test_which_value_is_better() -> None:
    better = {name: MetricName(metric=name).better for name in ("ndcg", "rmse", "mae", "gini")}
    assert better == {"ndcg": "higher", "rmse": "lower", "mae": "lower", "gini": "neither"}


def test_paddocks_own_metrics_are_read_as_they_are_declared() -> None:
    """A report reads a store without importing what measures."""
    for kind in (Metric, ListMeasure):
        for name, component in functions(kind).items():
            made = parse(f"test/full/{name}_at_10")
            assert made.better == component.declaration.better, name
            assert made.is_accuracy == (kind is Metric), name


def test_a_metric_of_a_plug_in_is_read_as_it_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_names, "_better", {})
    monkeypatch.setattr(metric_names, "_of_lists", set())
    assert parse("full/first_rank_at_10").better == "higher"
    assert parse("full/age_at_10").is_accuracy
    metric_names.declare("first_rank", better="lower")
    metric_names.declare("age", better="neither", of_lists=True)
    assert parse("full/first_rank_at_10").better == "lower"
    assert parse("full/first_rank_at_10").is_accuracy
    assert not parse("full/age_at_10").is_accuracy


def test_default_columns() -> None:
    names = [
        f"test/{name}"
        for name in names_of(
            {"c20": (1, 5), "full": (1, 10, 20)}, ("hit", "ndcg", "mrr", "coverage")
        )
    ]
    others = ["valid/full/hit_at_10", "test/slice/items_cold/full/hit_at_10", "test/ratings/rmse"]
    others += ["test/generation_constrained/c20/hit_at_1", "test/full/ndcg_at_10_std"]
    columns = default_columns([*names, *others])
    assert list(columns) == ["full", "c20"]
    assert columns == {
        "full": ["test/full/hit_at_1", "test/full/hit_at_10", "test/full/ndcg_at_10"],
        "c20": ["test/c20/hit_at_1", "test/c20/hit_at_5", "test/c20/ndcg_at_5"],
    }
    # Without Hit and NDCG a ranking shows what it has, and one cut-off is shown once.
    assert default_columns(["full/recall_at_5", "full/recall_at_10", "full/map_at_5"]) == {
        "full": ["full/map_at_5", "full/recall_at_10"]
    }
    assert default_columns(["full/hit_at_10"]) == {"full": ["full/hit_at_10"]}


def test_a_table_is_sorted_by_what_selects_or_by_ndcg() -> None:
    names = ["full/hit_at_1", "full/ndcg_at_10", "full/mrr_at_10"]
    assert leading(names, "full/hit_at_1") == "full/hit_at_1"
    assert leading(names, "c20/hit_at_1") == "full/ndcg_at_10"
    assert leading(["full/hit_at_1", "full/map_at_5"], "") == "full/map_at_5"


def test_the_full_ranking_comes_first() -> None:
    groups = by_ranking(["test/c20/hit_at_1", "test/ratings/rmse", "test/full/hit_at_1"])
    assert list(groups) == ["full", "c20", "ratings"]
