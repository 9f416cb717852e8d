"""How often a report's signs are wrong, and how often they find a difference that is there.

    python -m benchmarks.significance [--reports N] [--seeds 1,2,3,5,10]

Reports are made up: nine models, 1,000 users, Hit@10 and NDCG@10. A user's target has a place in a
model's list that depends on the user (every model shares that), on the model and the user, on the
seed and the user, and on the seed; all drawn by the normal distribution, the places being `exp` of
their sum. Every row is compared with the best of the others by `reports.significance.compare`, as in a
report.

- *equal*: nine models of the same quality, whose seeds shift mean NDCG@10 by a standard deviation of
  .006; beside the error of 1,000 users that is what .002 is beside that of 9,000.
- *unequal seeds*: equal too, but the seeds of four models shift it by .0015 and of others by up to .012.
- *better*: the first model is better by .0088 over 5,500 users, and the seeds shift by .002. That is to the
  error of the users what .0044 and .001 are over the 22,000 users of Amazon Beauty.

Told is, of equal models, the share of reports with a full sign anywhere and with any sign, and, of
*better*, the share in which the first model has the sign of the better one by NDCG@10. Written to benchmarks/out/significance.json.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from benchmarks.measure import machine
from experiments.files import write_json
from experiments.runs.provenance import packages
from reports.significance import SIGNIFICANT, THESE_RUNS, Comparison, compare

Floats = NDArray[np.float64]

OUT = Path(__file__).resolve().parent / "out" / "significance.json"
SEEDS = (1, 2, 3, 5, 10)
REPORTS = 500
METRICS = (HIT, LEAD) = ("hit_at_10", "ndcg_at_10")

_OWN, _OF_MODEL, _OF_SEED = np.sqrt((0.5, 0.3, 0.2))
"""Standard deviations of what a user's place depends on; their squares add up to 1."""

_MEDIAN_PLACE, _STEEPNESS = 150.0, 2.0
_RESAMPLES = 100
"""Of the interval; Holm's corrected tests decide nearly every sign, so that more would change few."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What the models of made-up reports are like.

    Attributes
    ----------
    seed_sd : sequence of float
        A model's standard deviation over seeds, beside that of its users' values, in NDCG@10.
    better : float
        By how much the first model is better than the others, in NDCG@10.
    share : float
        Of the reports that are asked for, how many are made.
    """

    name: str
    seed_sd: Sequence[float]
    better: float = 0.0
    users: int = 1000
    share: float = 1.0


SCENARIOS = (
    Scenario(name="equal", seed_sd=9 * (0.006,)),
    Scenario(name="unequal seeds", seed_sd=(*4 * (0.0015,), 0.003, 0.003, 0.006, 0.009, 0.012)),
    Scenario(name="better", seed_sd=9 * (0.002,), better=0.0088, users=5500, share=0.5),
)


def made_up(
    scenario: Scenario, *, seeds: int, rng: np.random.Generator
) -> dict[str, dict[str, Floats]]:
    """The values of every user: model -> metric -> (S, U)."""
    own_U = rng.normal(scale=_OWN, size=scenario.users)
    made = {}
    for number, seed_sd in enumerate(scenario.seed_sd):
        better = scenario.better if number == 0 else 0.0
        shift_S1 = (better + rng.normal(scale=seed_sd, size=(seeds, 1))) / _ndcg_of_a_shift()
        liking_SU = own_U + rng.normal(scale=_OF_MODEL, size=scenario.users) + shift_S1
        liking_SU = liking_SU + rng.normal(scale=_OF_SEED, size=liking_SU.shape)
        made[f"model {number}"] = _metrics(liking_SU)
    return made


def _metrics(liking_SU: Floats) -> dict[str, Floats]:
    place_SU = 1 + np.floor(_MEDIAN_PLACE * np.exp(-_STEEPNESS * liking_SU))
    hit_SU = place_SU <= 10
    return {HIT: hit_SU.astype(float), LEAD: hit_SU / np.log2(place_SU + 1)}


@cache
def _ndcg_of_a_shift() -> float:
    """How much mean NDCG@10 grows with a shift of what every user likes, by quantiles."""
    liking_U = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    low, high = (_metrics(liking_U + shift)[LEAD].mean() for shift in (-0.05, 0.05))
    return float(high - low) / 0.1


def signs(values: Mapping[str, Mapping[str, Floats]]) -> list[Comparison]:
    """Every row against the best of the others, by every metric."""
    references = {}
    for metric in METRICS:
        means = {row: by_metric[metric].mean() for row, by_metric in values.items()}
        first, second = sorted(means, key=lambda row: -means[row])[:2]
        references |= {(row, metric): second if row == first else first for row in means}
    return list(compare(values, references=references, resamples=_RESAMPLES).values())


def shares(scenario: Scenario, *, seeds: int, reports: int) -> dict[str, Any]:
    """Of so many reports, the shares with a sign anywhere and with the sign that tells the truth."""
    anywhere = {"full": 0, "weak": 0}
    found = {"full": 0, "weak": 0}
    for number in range(reports):
        made = signs(made_up(scenario, seeds=seeds, rng=np.random.default_rng([seeds, number])))
        (first,) = (each for each in made if (each.row, each.metric) == ("model 0", LEAD))
        for kind, verdicts in (("full", {SIGNIFICANT}), ("weak", {SIGNIFICANT, THESE_RUNS})):
            anywhere[kind] += any(each.verdict in verdicts for each in made)
            found[kind] += first.verdict in verdicts and first.difference > 0
    made_of = {"scenario": scenario.name, "seeds": seeds, "reports": reports}
    counted = found if scenario.better else anywhere
    return {**made_of, **{kind: count / reports for kind, count in counted.items()}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print, and write benchmarks/out/significance.json."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.significance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--reports", type=int, default=REPORTS, help="how many are made up")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="seeds of every model")
    given = parser.parse_args(arguments)
    seeds = [int(word) for word in given.seeds.split(",")]
    table = Table(title="Share of reports with a sign, ± standard error")
    for column in ("models", "seeds", "reports", "full sign", "full or weak sign"):
        table.add_column(column)
    found = []
    for scenario in SCENARIOS:
        for n in seeds:
            reports = max(1, round(scenario.share * given.reports))
            made = shares(scenario, seeds=n, reports=reports)
            found.append(made)
            told = (_percent(made[kind], reports) for kind in ("full", "weak"))
            table.add_row(scenario.name, str(n), str(reports), *told)
    write_json(OUT, {"shares": found, "packages": packages(), "host": machine()})
    Console(width=100).print(table)


def _percent(share: float, reports: int) -> str:
    return f"{100 * share:.1f} ± {100 * np.sqrt(share * (1 - share) / reports):.1f} %"


if __name__ == "__main__":
    main()
