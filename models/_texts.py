"""Embeddings of the items' texts as directions, whose products are cosines.

N items (padding included), W width of an embedding.
"""

import torch
from torch import Tensor


def text_directions(texts_NW: Tensor) -> Tensor:
    """Centred embeddings of length 1.

    Parameters
    ----------
    texts_NW : Tensor
        Row 0 is padding; it does not count for the centre.

    Returns
    -------
    Tensor
        float32, shape (N, W); zeros for the padding, and where a text is the centre itself.
    """
    centred_NW = texts_NW.float().clone()
    centred_NW[1:] -= centred_NW[1:].mean(dim=0)
    centred_NW[0] = 0.0
    return torch.nn.functional.normalize(centred_NW, dim=1)
