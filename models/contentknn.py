"""Items whose texts are like those of the history (content-based filtering: Pazzani and Billsus, 2007).

B batch, N items (padding included), W width of an embedding, M items of a block.
"""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models._histories import WeightedHistories
from models._texts import text_directions
from paddock import ITEM_TEXTS, ModelConfig, key, log_uniform, uniform

_CELLS = 1 << 22
"""Similarities that are held at once: of a few items to all."""


class ContentKNNConfig(ModelConfig):
    """Likeness of item texts to those of the history; nothing is learned."""

    offers = ("solution",)
    strategies = ("solved",)
    closed_form = True

    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read, the last ones.", least=1)
    text_encoder: dict = key(doc="The sentence encoder.", schema="text_encoder")
    profile_decay: float = key(
        10.0,
        "An item counts exp(-a / this), a interactions before the last.",
        above=0,
        search=log_uniform(0.5, 50.0),
    )
    text_power: float = key(
        3.0,
        "Power of the cosine, its sign kept: the greater, the more the likest items of a history count.",
        above=0,
        search=uniform(1.0, 6.0),
    )


class ContentKNN(WeightedHistories):
    """An item's score is its likeness to the items of the history, weighted by their recency.

    Likeness is the cosine of two items' text embeddings, centred, to a power that keeps its sign. No
    interaction is learned from, so that an item that nobody has is ranked like any other. Without a history
    all scores are 0.

    Parameters
    ----------
    config : recbole.config.Config
        `profile_decay`, `text_power`, and the embeddings under `ITEM_TEXTS`, shape (N, W).
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self.text_power = config["text_power"]
        self._directions_NW = text_directions(config[ITEM_TEXTS]).numpy()

    def solve(self, users_R: NDArray[np.integer], items_R: NDArray[np.integer]) -> None:
        """Learn nothing.

        Parameters
        ----------
        users_R, items_R : ndarray of int
            The training interactions.
        """

    def scores(self, profile_BN: sp.csr_matrix) -> NDArray[np.float32]:
        """Scores of all items, shape (B, N).

        Parameters
        ----------
        profile_BN : csr_matrix
            Weights of the items of each history, float32.
        """
        all_WN = self._directions_NW.T
        scores_BN: NDArray[np.float32]
        if self.text_power == 1:  # a sum of cosines is one product with the sum of directions
            scores_BN = (profile_BN @ self._directions_NW) @ all_WN
            return scores_BN
        scores_BN = np.zeros(profile_BN.shape, np.float32)
        read = np.unique(profile_BN.indices)
        size = max(1, _CELLS // self.n_items)
        for items_M in (read[start : start + size] for start in range(0, len(read), size)):
            like_MN = self._directions_NW[items_M] @ all_WN
            like_MN = np.sign(like_MN) * np.abs(like_MN) ** self.text_power
            scores_BN += profile_BN[:, items_M] @ like_MN
        return scores_BN
