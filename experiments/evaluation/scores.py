"""Scores as tensors that can be compared: their types, and what may not be among them.

B users or rows of a block.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.errors import PaddockError

Ints = NDArray[np.int64]

_NAMED_USERS = 5


def comparable(scores: torch.Tensor) -> torch.Tensor:
    """The scores in a type that every operation knows and that keeps their order and their ties.

    Parameters
    ----------
    scores : (B, n)
        Of any type of numbers.

    Returns
    -------
    float32 or float64, (B, n)
    """
    if scores.dtype in (torch.float32, torch.float64):
        return scores
    narrow = scores.dtype in (torch.float16, torch.bfloat16)
    return scores.to(torch.float32 if narrow else torch.float64)


def any_bad(scores: torch.Tensor) -> bool:
    """True if there is a NaN or a plus infinity, and seldom if there is none.

    One sum costs far less than two comparisons. It is NaN or plus infinity wherever an addend is,
    and else only by overflow.

    Parameters
    ----------
    scores : (B, n)
    """
    sums = scores.sum(dim=1)
    return bool((torch.isnan(sums) | (sums == torch.inf)).any())


def check_scores(scores: torch.Tensor, ids: Ints, *, what: str) -> None:
    """Refuse NaN and plus infinity, naming the rows by their ids.

    Parameters
    ----------
    scores : (B, n)
    ids : int64, (B,)
    what : str
        What a row is, as the message names it: "user" or "row".

    Raises
    ------
    PaddockError
        Naming the first of them.
    """
    if not any_bad(scores):
        return
    for name, found in (("NaN", torch.isnan(scores)), ("plus infinity", scores == torch.inf)):
        bad = np.unique(ids[found.any(dim=1).cpu().numpy()])
        if len(bad):
            named = ", ".join(str(i) for i in bad[:_NAMED_USERS])
            more = ", ..." if len(bad) > _NAMED_USERS else ""
            raise PaddockError(
                f"the model's scores hold {name} for {len(bad)} of {len(np.unique(ids))} {what}s "
                f"scored together ({what} {named}{more}); training has probably diverged"
            )


def on_device(device: torch.device, *arrays: NDArray[np.integer]) -> list[torch.Tensor]:
    """Index arrays as int64 tensors."""
    return [torch.from_numpy(array.astype(np.int64)).to(device) for array in arrays]
