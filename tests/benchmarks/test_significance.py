"""The simulation of reports: its made-up values are what it says, and it tells the shares of signs."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import significance
from benchmarks.significance import HIT, LEAD, SCENARIOS, Scenario, made_up, shares


def test_made_up_values_are_as_described() -> None:
    """Users' values correlate between models, seeds shift as they should, and the first is better."""
    scenario = Scenario(name="x", seed_sd=(0.006, 0.0, 0.0), better=0.01, users=20_000)
    rng = np.random.default_rng(0)
    made = made_up(scenario, seeds=40, rng=rng)
    assert {name: set(by_metric) for name, by_metric in made.items()} == {
        f"model {number}": {HIT, LEAD} for number in range(3)
    }
    means_S = {name: by_metric[LEAD].mean(axis=1) for name, by_metric in made.items()}
    # What seeds do to single users adds .0006; of 40 seeds a deviation is known to an eighth.
    assert means_S["model 0"].std(ddof=1) == pytest.approx(0.006, rel=0.4)
    assert means_S["model 1"].std(ddof=1) < 0.0015
    better = means_S["model 0"].mean() - means_S["model 1"].mean()
    assert better == pytest.approx(0.01, abs=0.005)
    one, other = (made[name][LEAD].mean(axis=0) for name in ("model 1", "model 2"))
    assert 0.3 < np.corrcoef(one, other)[0, 1] < 0.8


def test_a_difference_that_is_plain_is_always_found() -> None:
    plain = Scenario(name="plain", seed_sd=3 * (0.0,), better=0.2, users=500)
    found = shares(plain, seeds=2, reports=2)
    assert found == {"scenario": "plain", "seeds": 2, "reports": 2, "full": 1.0, "weak": 1.0}
    assert shares(plain, seeds=1, reports=2)["full"] == 0


def test_the_command_writes_every_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(significance, "OUT", tmp_path / "significance.json")
    significance.main(["--reports", "2", "--seeds", "1,2"])
    told = json.loads((tmp_path / "significance.json").read_text(encoding="utf-8"))
    assert [(each["scenario"], each["seeds"]) for each in told["shares"]] == [
        (scenario.name, seeds) for scenario in SCENARIOS for seeds in (1, 2)
    ]
    assert all(each["full"] <= each["weak"] for each in told["shares"])
    assert all(each["full"] == 0 for each in told["shares"] if each["seeds"] == 1)
    assert "unequal seeds" in capsys.readouterr().out
