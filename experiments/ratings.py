"""Errors of predicted ratings.

The models here learn from interactions and their scores are no ratings, hence no protocol asks for
these. A model that predicts ratings is measured with them on the ratings of its test rows,
`Prepared.ratings` where `Split.part` is TEST.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from experiments.errors import PaddockError


def rmse(predicted: ArrayLike, given: ArrayLike) -> float:
    """Root of the mean squared error (Herlocker et al., TOIS 2004).

    Parameters
    ----------
    predicted, given : (R,)
        Ratings of the same R interactions, on the same scale.

    Raises
    ------
    PaddockError
        If their numbers differ, there is none, or one is not finite.
    """
    return float(np.sqrt(np.mean(np.square(_errors(predicted, given)))))


def mae(predicted: ArrayLike, given: ArrayLike) -> float:
    """Mean absolute error; parameters and errors as for `rmse`."""
    return float(np.mean(np.abs(_errors(predicted, given))))


def _errors(predicted: ArrayLike, given: ArrayLike) -> NDArray[np.float64]:
    told = np.asarray(predicted, dtype=np.float64)
    true = np.asarray(given, dtype=np.float64)
    if told.shape != true.shape or told.ndim != 1 or not len(told):
        raise PaddockError(
            f"predicted ratings have shape {told.shape} and given ones {true.shape}: "
            "give one or more of each, in the same order"
        )
    errors = told - true
    if not np.isfinite(errors).all():
        rows = np.flatnonzero(~np.isfinite(errors))
        raise PaddockError(
            f"{len(rows)} of {len(errors)} ratings are not finite, the first in row {rows[0]}"
        )
    return errors
