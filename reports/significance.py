"""Whether one model is better than another, or only luckier.

Two kinds of luck are told apart. The users of the test are a sample: their values, averaged over the
seeds of a model, are compared user by user by Wilcoxon's signed-rank test, corrected by Holm's
method for all pairs of models and all metrics of the report, and the mean difference has a paired
bootstrap interval. The seeds of a model are another sample: their means are compared by Welch's
t-test, corrected by Holm's method for the metrics of the report. A difference counts as significant
if it passes all three.

Dimensions: S seeds of a model, U users, M metrics.
"""

import gc
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

Floats = NDArray[np.float64]

RESAMPLES = 2000
_DECIMALS = 12
_BATCH_BYTES = 32 * 2**20

SIGNIFICANT = "significant"
USERS_ONLY = "users only"
NONE = "not significant"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row of the table against another, by one metric.

    Attributes
    ----------
    difference, low, high : float
        The mean over users of row - against, and its bootstrap interval.
    p_users : float
        Of Wilcoxon's signed-rank test over users, uncorrected.
    p_holm : float
        The same, corrected by Holm's method.
    p_seeds : float or None
        Of Welch's t-test over seeds, corrected; None where a model has a single seed.
    verdict : str
        "significant", "users only" (the users tell the two apart, the seeds do not, or there are
        too few of them) or "not significant".
    """

    row: str
    against: str
    metric: str
    difference: float
    low: float
    high: float
    p_users: float
    p_holm: float
    p_seeds: float | None
    verdict: str


def compare(
    values: Mapping[str, Mapping[str, Floats]],
    *,
    references: Mapping[tuple[str, str], str],
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
) -> dict[tuple[str, str], Comparison]:
    """Compare rows with their references.

    The reference of a row, being the best of the others, is chosen by the very values that are
    compared: Holm's family is therefore every pair that could have been chosen.

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
    means = {
        row: {metric: values_SU.mean(axis=0) for metric, values_SU in by_metric.items()}
        for row, by_metric in values.items()
    }
    pairs = [
        (row, other, metric)
        for row, other in combinations(sorted(values), 2)
        for metric in values[row]
        if metric in values[other]
    ]
    tested = [users_p(means[row][metric] - means[other][metric]) for row, other, metric in pairs]
    with _without_garbage_collection():
        corrected = multipletests(tested, alpha=alpha, method="holm")[1] if tested else []
        p_seeds = _seeds_corrected(values, {(row, other) for row, other, _ in pairs}, alpha=alpha)
    p_users = dict(zip(pairs, zip(tested, corrected, strict=True), strict=True))
    made: dict[tuple[str, str], Comparison] = {}
    for (row, metric), against in references.items():
        pair = (min(row, against), max(row, against), metric)
        if pair not in p_users:
            continue
        difference_U = means[row][metric] - means[against][metric]
        low, high = interval(difference_U, alpha=alpha, resamples=resamples)
        p_raw, p_holm = map(float, p_users[pair])
        differs = p_holm < alpha and (low > 0 or high < 0)
        by_seeds = p_seeds.get(pair)
        beyond_seeds = by_seeds is not None and by_seeds < alpha
        made[row, metric] = Comparison(
            row=row,
            against=against,
            metric=metric,
            difference=float(difference_U.mean()),
            low=low,
            high=high,
            p_users=p_raw,
            p_holm=p_holm,
            p_seeds=by_seeds,
            verdict=NONE if not differs else SIGNIFICANT if beyond_seeds else USERS_ONLY,
        )
    return made


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Hide what is in memory from the collector, which statsmodels runs on every correction.

    With thousands of runs in memory, that takes most of the time of a report.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _seeds_corrected(
    values: Mapping[str, Mapping[str, Floats]], pairs: set[tuple[str, str]], *, alpha: float
) -> dict[tuple[str, str, str], float]:
    """Welch's p by (row, row, metric), corrected for the metrics of each pair of rows.

    Correcting for all pairs as well would ask for dozens of seeds before any two models differ.
    """
    corrected: dict[tuple[str, str, str], float] = {}
    for row, other in pairs:
        raw = {
            metric: seeds_p(values[row][metric].mean(axis=1), values[other][metric].mean(axis=1))
            for metric in values[row]
            if metric in values[other]
        }
        known = {metric: p for metric, p in raw.items() if p is not None}
        if known:
            holm = multipletests(list(known.values()), alpha=alpha, method="holm")[1]
            corrected |= {
                (row, other, metric): float(p) for metric, p in zip(known, holm, strict=True)
            }
    return corrected


def users_p(difference_U: Floats) -> float:
    """Wilcoxon's signed-rank test of paired differences (Wilcoxon, "Individual comparisons by ranking
    methods", Biometrics Bulletin 1945); users without a difference are left out.

    Parameters
    ----------
    difference_U : float64, (U,)

    Returns
    -------
    float
        The two-sided p-value; 1 where no user differs.
    """
    # Thirds that are summed in another order differ in their last bit, which is no difference.
    rounded_U = np.round(difference_U, _DECIMALS)
    if not rounded_U.any():
        return 1.0
    return float(stats.wilcoxon(rounded_U, zero_method="wilcox").pvalue)


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
    if np.ptp(difference_U) == 0:
        return float(difference_U[0]), float(difference_U[0])
    batch = max(1, _BATCH_BYTES // (8 * len(difference_U)))
    made = stats.bootstrap(
        (difference_U,),
        np.mean,
        n_resamples=resamples,
        batch=min(batch, resamples),
        confidence_level=1 - alpha,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(made.confidence_interval.low), float(made.confidence_interval.high)


def seeds_p(row_S: Sequence[float] | Floats, other_S: Sequence[float] | Floats) -> float | None:
    """Welch's t-test of the seeds' means (Welch, "The generalization of Student's problem when several
    different population variances are involved", Biometrika 1947).

    Two models that give every seed the same number differ by more than their seeds, if at all.

    Parameters
    ----------
    row_S, other_S : float64, (S,)
        The number of seeds may differ.

    Returns
    -------
    float or None
        The two-sided p-value; None where a model has a single seed.
    """
    if len(row_S) < 2 or len(other_S) < 2:
        return None
    if np.ptp(row_S) < 10.0**-_DECIMALS and np.ptp(other_S) < 10.0**-_DECIMALS:
        return float(np.isclose(np.mean(row_S), np.mean(other_S), rtol=0, atol=10.0**-_DECIMALS))
    with warnings.catch_warnings():
        # scipy warns of a side without any spread, such as a model that counts.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.ttest_ind(row_S, other_S, equal_var=False).pvalue)
