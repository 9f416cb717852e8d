"""Linear transitions whose weights are drawn to the likeness of the items' texts.

N items (padding included), W width of an embedding.
"""

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from models._texts import text_directions
from models.slist import SLIST, SLISTConfig
from paddock import ITEM_TEXTS, key, uniform

_ROWS_AT_ONCE = 512
"""Rows of a kernel that are computed at once."""


class LinearTextConfig(SLISTConfig):
    """Linear transitions with a prior from item texts, in closed form."""

    text_encoder: dict = key(doc="The sentence encoder.", schema="text_encoder")
    text_weight: float = key(
        0.2, "alpha, how far the weights are drawn to K.", least=0, search=uniform(0.0, 1.0)
    )
    text_power: float = key(
        1.0,
        "Power of the likeness: the greater, the fewer neighbours.",
        above=0,
        search=uniform(0.5, 4.0),
    )
    text_neighbours: int = key(
        100,
        "Likest items that are kept for each item in a catalogue of more than dense_items.",
        least=1,
    )


class LinearText(SLIST):
    """SLIST with a ridge towards the texts: lambda ||B - alpha K||^2 in place of lambda ||B||^2.

    K is the cosine of two items' text embeddings, centred, where it is positive, to a power; an item is
    not like itself. Where data say little of an item, its transitions are those to like texts, and items
    that nobody has are ranked too.

    Parameters
    ----------
    config : recbole.config.Config
        SLIST's keys, `text_weight`, `text_power`, and the embeddings under `ITEM_TEXTS`, shape (N, W).
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self._texts_NW = config[ITEM_TEXTS]
        self.text_weight = config["text_weight"]
        self.text_power = config["text_power"]
        self.text_neighbours = config["text_neighbours"]

    def _prior(self) -> NDArray[np.float32]:
        prior_NN = text_kernel(self._texts_NW, power=self.text_power)
        prior_NN *= self.text_weight
        return prior_NN

    def _sparse_prior(self) -> sp.csr_matrix:
        kernel_NN = sparse_text_kernel(
            self._texts_NW, power=self.text_power, neighbours=self.text_neighbours
        )
        return self.text_weight * kernel_NN


def text_kernel(texts_NW: torch.Tensor, *, power: float) -> NDArray[np.float32]:
    """max(0, cosine)^power of centred embeddings, without the diagonal.

    Parameters
    ----------
    texts_NW : Tensor
        Row 0 is padding, which is like nothing.
    power : float
        As of `LinearTextConfig`.

    Returns
    -------
    ndarray
        float32, shape (N, N).
    """
    directions_NW = text_directions(texts_NW)
    kernel_NN = (directions_NW @ directions_NW.T).clamp_(min=0.0).pow_(power).fill_diagonal_(0.0)
    return kernel_NN.numpy()


def sparse_text_kernel(texts_NW: torch.Tensor, *, power: float, neighbours: int) -> sp.csr_matrix:
    """`text_kernel` with only the largest values of each row, some rows at a time.

    Parameters
    ----------
    texts_NW, power
        As of `text_kernel`.
    neighbours : int
        Values of a row that are kept; ties at the last place are broken by torch's `topk`.

    Returns
    -------
    csr_matrix
        float32, shape (N, N).
    """
    directions_NW = text_directions(texts_NW)
    n_items = len(directions_NW)
    kept = min(neighbours, n_items)
    blocks = []
    for start in range(0, n_items, _ROWS_AT_ONCE):
        like_MN = (directions_NW[start : start + _ROWS_AT_ONCE] @ directions_NW.T).clamp_(min=0.0)
        like_MN.diagonal(start).zero_()
        values_MK, items_MK = like_MN.topk(kept, dim=1)
        rows = np.arange(len(values_MK)).repeat(kept)
        block = sp.csr_matrix(
            (values_MK.pow_(power).numpy().ravel(), (rows, items_MK.numpy().ravel())),
            shape=(len(values_MK), n_items),
        )
        block.eliminate_zeros()
        blocks.append(block)
    return sp.vstack(blocks, format="csr")
