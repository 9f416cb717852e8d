"""Cosine similarity, which the model of this plug-in scores by."""

import torch.nn.functional as F
from torch import Tensor


def cosine(left_BD: Tensor, right_ND: Tensor) -> Tensor:
    """The cosine of each pair of rows, (B, N)."""
    return F.normalize(left_BD, dim=1) @ F.normalize(right_ND, dim=1).T
