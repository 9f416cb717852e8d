"""Errors of predicted ratings, for models that predict them.

The scores of most models are no ratings: they learn from interactions. One that offers
`predict_ratings` is measured on the ratings of the held-out rows of the users that are scored.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from recbole.data.interaction import Interaction

from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import PART_OF, Phase, Split

ROWS_AT_ONCE = 1 << 16


@torch.no_grad()
def rating_errors(model: Any, phase: Phase, *, data: Prepared, split: Split) -> dict[str, float]:
    """`ratings/rmse` and `ratings/mae` of the phase; nothing for a model that predicts no ratings.

    Parameters
    ----------
    model
        One with `predict_ratings` is measured.
    phase : "valid" or "test"
    data : Prepared
        With ratings.
    split : Split

    Raises
    ------
    PaddockError
        If a rating is not finite.
    """
    if not hasattr(model, "predict_ratings"):
        return {}
    assert data.ratings is not None, "the model was trained on ratings"
    rows = split.rows(PART_OF[phase])
    rows = rows[np.isin(split.row_users[rows], split.users(phase))]
    model.eval()
    predicted = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        batch = Interaction(
            {
                model.USER_ID: torch.from_numpy(split.row_users[some]).long(),
                model.ITEM_ID: torch.from_numpy(split.row_items[some]).long(),
            }
        )
        predicted.append(model.predict_ratings(batch.to(model.device)).cpu().numpy())
    ratings, given = np.concatenate(predicted), data.ratings[rows]
    return {"ratings/rmse": rmse(ratings, given), "ratings/mae": mae(ratings, given)}


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
    """Mean absolute error (Herlocker et al., TOIS 2004).

    Parameters
    ----------
    predicted, given : (R,)
        Ratings of the same R interactions, on the same scale.

    Raises
    ------
    PaddockError
        If their numbers differ, there is none, or one is not finite.
    """
    return float(np.mean(np.abs(_errors(predicted, given))))


def _errors(predicted: ArrayLike, given: ArrayLike) -> NDArray[np.float64]:
    predicted_R = np.asarray(predicted, dtype=np.float64)
    given_R = np.asarray(given, dtype=np.float64)
    if predicted_R.shape != given_R.shape or predicted_R.ndim != 1 or not len(predicted_R):
        raise PaddockError(
            f"predicted ratings have shape {predicted_R.shape} and given ones {given_R.shape}: "
            "give one or more of each, in the same order"
        )
    errors_R = predicted_R - given_R
    if not np.isfinite(errors_R).all():
        rows = np.flatnonzero(~np.isfinite(errors_R))
        raise PaddockError(
            f"{len(rows)} of {len(errors_R)} ratings are not finite, the first in row {rows[0]}"
        )
    return errors_R
