"""Linear similarities and transitions of items (SLIST of Choi et al., WWW 2021).

B batch, U users and N items (padding included).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from models._histories import WeightedHistories
from models._transitions import Equations, SparseSolution
from paddock import ModelConfig, choices, key, log_uniform


class SLISTConfig(ModelConfig):
    """Linear transitions from a recency-weighted history to the next item, and similarities; in closed form."""

    offers = ("solution",)
    strategies = ("solved",)
    closed_form = True

    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read, the last ones.", least=1)
    reg_weight: float = key(
        10.0, "lambda, the weight of the squared weights.", above=0, search=log_uniform(0.1, 1e3)
    )
    similarity_weight: float = key(
        0.0,
        "Share of the similarities (SLIS); the rest is transitions (SLIT).",
        least=0,
        most=1,
        search=choices(0.0, 0.1, 0.2, 0.4),
    )
    history_decay: float = key(
        4.0,
        "In training, an item counts exp(-a / this), a interactions before the last.",
        above=0,
        search=log_uniform(0.5, 20.0),
    )
    profile_decay: float = key(
        3.0, "The same when users are scored.", above=0, search=log_uniform(0.5, 20.0)
    )

    dense_items: int = key(
        20000,
        "Up to so many items the weights of all pairs are computed and kept; with more, equations are kept sparse "
        "and solved for each history that is scored.",
        least=0,
    )

    @classmethod
    def bytes_needed(cls, values: Mapping[str, Any], *, n_users: int, n_items: int) -> int:
        """Two matrices of items by items, of float32; nothing that is known beforehand where they are sparse.

        Parameters
        ----------
        values : mapping
            The resolved configuration.
        n_users, n_items : int
            Of the training data, padding included.
        """
        return 8 * n_items**2 if n_items <= values["dense_items"] else 0


class SLIST(WeightedHistories):
    """The next item as a linear function of the weighted history.

    Minimises (1 - beta) ||S B - T||^2 + beta ||X - X B||^2 + lambda ||B||^2: a row of S is the history
    before a training step, each item weighted by its recency, the row of T the step's item, a row of X all
    items of a user. These are SLIT, SLIS and their sum of the paper (sections 3.2 to 3.4), without its weights
    of old sessions; a history is one session, and all steps are single targets as in TALE (KDD 2025).

    Parameters
    ----------
    config : recbole.config.Config
        The keys of `SLISTConfig`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self.reg_weight = config["reg_weight"]
        self.similarity_weight = config["similarity_weight"]
        self.history_decay = config["history_decay"]
        self.dense = self.n_items <= config["dense_items"]
        self.weights_NN = np.zeros((self.n_items, 0), np.float32)
        self.left_NN = self.right_NN = sp.csr_matrix((self.n_items, self.n_items), dtype=np.float32)
        self._solution: SparseSolution | None = None
        self.other_parameter_name = ["weights_NN"] if self.dense else ["left_NN", "right_NN"]

    def solve(self, users_R: NDArray[np.integer], items_R: NDArray[np.integer]) -> None:
        """Find the weights.

        Parameters
        ----------
        users_R, items_R : ndarray of int
            The training interactions, those of a user together and in time order.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the equations have no solution.
        """
        equations = Equations(
            users_R,
            items_R,
            n_items=self.n_items,
            decay=self.history_decay,
            similarity=self.similarity_weight,
        )
        if self.dense:
            self.weights_NN = equations.solve(self.reg_weight, self._prior())
        else:
            self._solution = equations.sparse(self.reg_weight, self._sparse_prior())
            self.left_NN, self.right_NN = self._solution.left_NN, self._solution.right_NN

    def _prior(self) -> NDArray[np.float32] | None:
        """What the weights are drawn to, shape (N, N); None: zeros."""
        return None

    def _sparse_prior(self) -> sp.csr_matrix | None:
        """The same for a catalogue of more than `dense_items`."""
        return None

    def scores(self, profile_BN: sp.csr_matrix) -> NDArray[np.float32]:
        """Scores of all items, shape (B, N).

        Parameters
        ----------
        profile_BN : csr_matrix
            Weights of the items of each history, float32.
        """
        if self.dense:
            scores_BN: NDArray[np.float32] = profile_BN @ self.weights_NN
            return scores_BN
        if self._solution is None or self._solution.left_NN is not self.left_NN:  # it was loaded
            self._solution = SparseSolution(self.left_NN, self.right_NN)
        return self._solution.scores(profile_BN)
