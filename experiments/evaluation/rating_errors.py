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
    """`ratings/rmse` and `ratings/mae` of the phase; nothing for a model that predicts no ratings."""
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
    told, given = np.concatenate(predicted), data.ratings[rows]
    return {"ratings/rmse": rmse(told, given), "ratings/mae": mae(told, given)}


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
