"""Models against their controls: which rows stand against each other, and the numbers."""

import re
from typing import Any

import numpy as np
import pytest

from benchmarks.synthetic_store import Fake, make_store, values_of
from tests.reports.conftest import Report

CONTROL = "model.text_encoder.control"
METRIC = "full/ndcg_at_10"


def texts(control: str, quality: float, config: str = "a", **params: str) -> list[Fake]:
    given = {CONTROL: control, "model.text_weight": "0.2", **params}
    return [
        Fake(
            model="linear_text",
            seed=seed,
            config=f"{config} {control}",
            quality=quality,
            params=given,
        )
        for seed in (1, 2)
    ]


def fused(model: str, quality: float, **params: str) -> Fake:
    given = {"model.members.a.name": "SASRec", **params}
    return Fake(model=model, quality=quality, params=given)


@pytest.fixture(scope="module")
def fakes() -> list[Fake]:
    return [
        *texts("none", 0.5),
        *texts("shuffled", 0.3),
        *texts("random", 0.6),  # luck on valid must not make it the model's row
        *texts("shuffled", 0.55, config="other", **{"model.text_weight": "0.9"}),
        Fake(model="slist", quality=0.3, params={"model.reg_weight": "10"}),
        fused("fusion", 0.8, **{"model.seed_offsets": "None"}),
        fused("fusion-seeds", 0.5, **{"model.seed_offsets.b": "1000"}),
    ]


@pytest.fixture(scope="module")
def controlled(
    fast_sqlite: None, fakes: list[Fake], tmp_path_factory: pytest.TempPathFactory
) -> str:
    return make_store(tmp_path_factory.mktemp("store"), fakes)


def test_each_model_stands_against_its_own_controls(
    report: Report, controlled: str, fakes: list[Fake]
) -> None:
    made = report(controlled, "configurations=all", f"metrics=[{METRIC}]")
    assert made.code == 0, made.err
    found: dict[tuple[str, str], Any] = {
        (gain["label"].split()[0], gain["kind"]): gain for gain in made.summary["controls"]
    }
    assert set(found) == {
        ("linear_text", "texts dealt to other items"),
        ("linear_text", "random vectors for texts"),
        ("fusion", "two seeds of one model"),
    }
    own = np.mean([values_of(fake)[METRIC] for fake in fakes[:2]], axis=0)
    shuffled = np.mean([values_of(fake)[METRIC] for fake in fakes[2:4]], axis=0)
    gain = found["linear_text", "texts dealt to other items"]
    assert gain["mean"] == pytest.approx(own.mean())
    assert gain["control_mean"] == pytest.approx(shuffled.mean())
    assert gain["difference"] == pytest.approx((own - shuffled).mean())
    # A bootstrap of users by itself.
    rng = np.random.default_rng(5)
    drawn = rng.integers(len(own), size=(4000, len(own)))
    low, high = np.quantile((own - shuffled)[drawn].mean(axis=1), (0.025, 0.975))
    assert gain["low"] == pytest.approx(low, abs=0.01)
    assert gain["high"] == pytest.approx(high, abs=0.01)


def test_a_control_is_no_opponent_and_no_row_of_its_model(report: Report, controlled: str) -> None:
    made = report(controlled, f"metrics=[{METRIC}]")
    rows = made.summary["rows"]
    labels = sorted(row["label"] for row in rows if row["label"].startswith("linear_text"))
    assert len(labels) == 3
    (random,) = [label for label in labels if "random" in label]
    best = next(row for row in rows if row["metrics"][METRIC]["mark"] == "best")
    assert best["label"] == "fusion"
    assert best["metrics"][METRIC]["comparison"]["against"] in {"fusion-seeds", labels[0]} - {
        random
    }
    page = (made.folder / "index.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="controls"') :].partition("</section>")[0]
    assert "texts dealt to other items" in section
    assert re.search(r"[+-]\d\.\d{4} \[[+-]\d\.\d{4}, [+-]\d\.\d{4}\]", section)


def test_without_a_control_the_page_says_how_to_make_one(report: Report, store: str) -> None:
    made = report(store)
    page = (made.folder / "index.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="controls"') :].partition("</section>")[0]
    assert "text_control=shuffled" in section
    assert made.summary["controls"] == []
