"""Whether one model is better than another, or only luckier.

Two kinds of luck are told apart. The users of the test are a sample: the values of two models, averaged
over their seeds, are compared user by user by Wilcoxon's signed-rank test, and the mean difference has a
paired bootstrap interval. That compares the models *as they were trained*: it says nothing of the same
models trained with other seeds. The seeds are another sample, of few: the mean difference is therefore
also held against users and seeds together (`retrained_p`).

Both tests are corrected by Holm's method for all pairs of models and all metrics of the report, because the
reference of a row, being the best of the others, is chosen by the very values that are compared. A
difference counts as significant if it passes both; equal models then get a sign in at most `alpha` of all
reports (`python -m benchmarks.significance`).

Dimensions: S seeds of a model, U users, R rows, P pairs of rows,
D users who differ, B resamples of a batch.
"""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

Floats = NDArray[np.float64]

RESAMPLES = 2000
_DECIMALS = 12
_BATCH_BYTES = 32 * 2**20
_FEW_USERS = 50

SIGNIFICANT = "significant"
THESE_RUNS = "these runs only"
NONE = "not significant"

_Compared = tuple[str, str, str]
"""Row, other row, metric; the rows in the order of the alphabet."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row of the table against another, by one metric.

    Attributes
    ----------
    difference, low, high : float
        The mean over users of row - against, and its bootstrap interval.
    p_users, p_users_holm : float
        Of Wilcoxon's signed-rank test over users: of this pair alone, and corrected.
    p_retrained, p_retrained_holm : float or None
        Of the test over users and seeds: of this pair alone, and corrected. None where one of the two
        models has a single seed.
    verdict : str
        "significant"; "these runs only" (the models as trained differ on these users, and other seeds
        may turn it) or "not significant".
    """

    row: str
    against: str
    metric: str
    difference: float
    low: float
    high: float
    p_users: float
    p_users_holm: float
    p_retrained: float | None
    p_retrained_holm: float | None
    verdict: str


def compare(
    values: Mapping[str, Mapping[str, Floats]],
    *,
    references: Mapping[tuple[str, str], str],
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
) -> dict[tuple[str, str], Comparison]:
    """Compare rows with their references.

    Parameters
    ----------
    values : row -> metric -> (S, U)
        The users are the same, and in the same order, in all rows.
    references : (row, metric) -> row
    alpha : float
        The level of significance, and 1 minus that of the intervals.

    Returns
    -------
    dict
        A comparison for every entry of `references` of whose rows the values are known.
    """
    by_metric: dict[str, dict[str, Floats]] = {}
    for row in sorted(values):
        for metric, values_SU in values[row].items():
            by_metric.setdefault(metric, {})[row] = values_SU
    over_users: dict[_Compared, float] = {}
    retrained: dict[_Compared, float] = {}
    means: dict[str, dict[str, Floats]] = {}
    for metric, by_row in by_metric.items():
        means[metric] = {row: values_SU.mean(axis=0) for row, values_SU in by_row.items()}
        stacked_RU = np.stack(list(means[metric].values()))
        for place, row in enumerate(by_row):
            others = list(by_row)[place + 1 :]
            p_P = users_p(stacked_RU[place] - stacked_RU[place + 1 :])
            over_users |= {(row, other, metric): p for other, p in zip(others, p_P, strict=True)}
        for pair, p in retrained_p(by_row).items():
            retrained[*pair, metric] = p
    over_users_holm, retrained_holm = _holm(over_users), _holm(retrained)
    made: dict[tuple[str, str], Comparison] = {}
    for (row, metric), against in references.items():
        key = (min(row, against), max(row, against), metric)
        if key not in over_users:
            continue
        difference_U = means[metric][row] - means[metric][against]
        low, high = interval(difference_U, alpha=alpha, resamples=resamples)
        as_trained = over_users_holm[key] < alpha and (low > 0 or high < 0)
        made[row, metric] = Comparison(
            row=row,
            against=against,
            metric=metric,
            difference=float(difference_U.mean()),
            low=low,
            high=high,
            p_users=over_users[key],
            p_users_holm=over_users_holm[key],
            p_retrained=retrained.get(key),
            p_retrained_holm=retrained_holm.get(key),
            verdict=NONE
            if not as_trained
            else SIGNIFICANT
            if retrained_holm.get(key, 1.0) < alpha
            else THESE_RUNS,
        )
    return made


def _holm(uncorrected: Mapping[_Compared, float]) -> dict[_Compared, float]:
    """Corrected by Holm's method (Holm, "A simple sequentially rejective multiple test procedure",
    Scandinavian Journal of Statistics 1979) for everything that is given."""
    if not uncorrected:
        return {}
    # statsmodels collects garbage with every correction. With thousands of runs in memory that would
    # take most of the time of a report, so what is there is hidden from the collector.
    gc.freeze()
    try:
        corrected = multipletests(list(uncorrected.values()), method="holm")[1]
    finally:
        gc.unfreeze()
    return dict(zip(uncorrected, map(float, corrected), strict=True))


def users_p(difference_PU: Floats) -> list[float]:
    """Wilcoxon's signed-rank test of paired differences (Wilcoxon, "Individual comparisons by ranking
    methods", Biometrics Bulletin 1945); users without a difference are left out.

    Parameters
    ----------
    difference_PU : float64, (P, U)
        Of every pair; P may be 0.

    Returns
    -------
    list of float
        The two-sided p-value of every pair; 1 where no user differs.
    """
    # Thirds that are summed in another order differ in their last bit, which is no difference.
    rounded_PU = np.round(difference_PU, _DECIMALS)
    p_P = np.ones(len(rounded_PU))
    differs_P = rounded_PU.any(axis=1)
    # Of few users scipy chooses the way, exact or approximate, for all that it is given at once.
    few = rounded_PU.shape[1] <= _FEW_USERS
    for chosen in np.flatnonzero(differs_P)[:, None] if few else [differs_P]:
        if len(rounded_PU[chosen]):
            tested = stats.wilcoxon(rounded_PU[chosen], zero_method="wilcox", axis=1)
            p_P[chosen] = tested.pvalue
    return [float(p) for p in p_P]


def interval(
    difference_U: Floats, *, alpha: float = 0.05, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean difference (Efron and Tibshirani, "An introduction
    to the bootstrap", 1993): users are drawn, with both their values.

    Parameters
    ----------
    difference_U : float64, (U,)
    alpha : float
        1 minus the level of the interval.
    resamples : int
    seed : int
        Of the drawing.

    Returns
    -------
    (float, float)
        Its ends.
    """
    # Most users differ by 0, so that how many of the others are drawn comes first, and then which.
    n_users = len(difference_U)
    rounded_U = np.sort(np.round(difference_U, _DECIMALS))  # the order of users tells nothing
    differs_D = rounded_U[rounded_U != 0]
    rng = np.random.default_rng(seed)
    batch = max(1, _BATCH_BYTES // (8 * n_users))
    means: list[Floats] = []
    for done in range(0, resamples, batch):
        size = min(batch, resamples - done)
        ends_B = rng.binomial(n_users, len(differs_D) / n_users, size=size).cumsum()
        drawn = (
            differs_D[rng.integers(len(differs_D), size=ends_B[-1])] if ends_B[-1] else np.zeros(0)
        )
        sums = np.concatenate([[0.0], drawn.cumsum()])[ends_B]
        means.append(np.diff(sums, prepend=0.0) / n_users)
    low, high = np.quantile(np.concatenate(means), (alpha / 2, 1 - alpha / 2))
    return float(low), float(high)


def retrained_p(values: Mapping[str, Floats]) -> dict[tuple[str, str], float]:
    """Test of mean differences over users and seeds, both of them random: would models that are trained
    again, with other seeds, differ for other users too?

    The variance of a mean difference is that of the users' differences over U, plus for either model that
    of its seeds' means over S. Student's t with the degrees of freedom of Satterthwaite, "An approximate
    distribution of estimates of variance components" (Biometrics Bulletin 1946).

    Two or three seeds alone often happen to lie close together. The variance of a model's seeds is
    therefore its own, but not below the average of the models of the report, which has the degrees of
    freedom of all of them. Left out of the average, and without a variance of seeds, are models
    that give every user the same value with every seed. What one seed does to one user counts in both
    the variances, which makes the test a little more careful than it has to be.

    Parameters
    ----------
    values : row -> (S, U)
        Of one metric; S may differ, and rows of a single seed or user are in no pair.

    Returns
    -------
    dict
        The two-sided p-value of every pair of rows, in the order of the rows.
    """
    seeds = {
        row: _Seeds.of(values_SU) for row, values_SU in values.items() if min(values_SU.shape) > 1
    }
    means = {row: values[row].mean(axis=0) for row in seeds}
    freedom = sum(each.freedom for each in seeds.values() if each.variance is not None)
    spread = sum(each.freedom * (each.variance or 0.0) for each in seeds.values())
    average = spread / freedom if freedom else 0.0
    made = {}
    for row, other in combinations(seeds, 2):
        difference_U = means[row] - means[other]
        parts = [(float(difference_U.var(ddof=1)) / len(difference_U), len(difference_U) - 1)]
        averaged = 0.0
        for side in (seeds[row], seeds[other]):
            if side.variance is not None and side.variance > average:
                parts.append((side.variance / side.n, side.freedom))
            elif side.variance is not None:
                averaged += average / side.n
        parts.append((averaged, freedom))
        made[row, other] = _student(float(difference_U.mean()), parts)
    return made


class _Seeds(NamedTuple):
    """The variance of a model's means over its seeds; None where no user's value depends on the seed."""

    n: int
    variance: float | None

    @classmethod
    def of(cls, values_SU: Floats) -> Self:
        depends = np.ptp(values_SU, axis=0).max() > 10.0**-_DECIMALS
        variance = float(values_SU.mean(axis=1).var(ddof=1)) if depends else None
        return cls(n=len(values_SU), variance=variance)

    @property
    def freedom(self) -> int:
        return self.n - 1


def _student(difference: float, parts: Sequence[tuple[float, int]]) -> float:
    """The two-sided p-value of a difference whose variance is a sum of parts with degrees of freedom."""
    variance = sum(part for part, _ in parts)
    if variance < 10.0 ** (-2 * _DECIMALS):
        return float(abs(difference) < 10.0**-_DECIMALS)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts if part > 0)
    return float(2 * stats.t.sf(abs(difference) / np.sqrt(variance), freedom))
