"""Histories as models read them.

B batch, L length.
"""

import torch
from torch import Tensor


def last_items(items_BL: Tensor, lengths_B: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """The last items of each history, in rows of a model's own width.

    Parameters
    ----------
    items_BL : Tensor
        Item ids in time order, padded with 0 on the right.
    lengths_B : Tensor
        Items of each history.
    longest : int
        The most items that the model reads.

    Returns
    -------
    items_BL, lengths_B : Tensor
        Left-aligned, `longest` columns.
    """
    width = max(1, int(lengths_B.max()))
    if width <= longest:
        # A causal model reads short rows as well; others were trained on rows of the full width.
        padded = torch.nn.functional.pad(items_BL[:, :width], (0, longest - width))
        return padded, lengths_B
    starts_B = (lengths_B - longest).clamp(min=0)
    offsets_L = torch.arange(longest, device=items_BL.device)
    kept_B = lengths_B.clamp(max=longest)
    places_BL = (starts_B[:, None] + offsets_L).clamp(max=items_BL.shape[1] - 1)
    taken_BL = items_BL.gather(1, places_BL)
    return taken_BL * (offsets_L < kept_B[:, None]), kept_B
