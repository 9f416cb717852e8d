"""BPR by plain stochastic gradient descent (Rendle et al., UAI 2009, figure 4), in the loops of `implicit`.

U users and N items (padding included), D embedding size.
"""

from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from models._linear import rows_of_users
from models._scores import WithoutLoss
from paddock import ModelConfig, choices, key, log_uniform


class BPRSGDConfig(ModelConfig):
    """Matrix factorisation by pairwise ranking with item biases, a step for every pair."""

    offers = ("passes",)
    strategies = ("sgd",)

    embedding_size: int = key(
        64, "Width of the vectors, the item's bias counted.", least=2, search=choices(32, 64, 128)
    )
    learning_rate: float = key(0.02, "Step size of a pair.", above=0, search=log_uniform(1e-3, 0.3))
    reg_weight: float = key(
        0.01, "Weight of the squared norms, per pair.", least=0, search=log_uniform(1e-4, 0.1)
    )


class BPRSGD(WithoutLoss, GeneralRecommender):
    """Vectors of users and items, and biases of items, learned pair by pair.

    A pass draws as many interactions as there are, each with the item of another interaction, which is
    skipped where the user has it, and takes a step for each at once: there are no batches, no momentum and no
    autograd. `model=bpr` minimises the loss in batches by Adam, with uniformly drawn items.

    Parameters
    ----------
    config : recbole.config.Config
        The keys of `BPRSGDConfig`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.PAIRWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.embedding_size = config["embedding_size"]
        self.learning_rate = config["learning_rate"]
        self.reg_weight = config["reg_weight"]
        self._rows_UN = rows_of_users(dataset)
        users_UD = (torch.rand(self.n_users, self.embedding_size) - 0.5) / self.embedding_size
        users_UD[:, -1] = 1.0  # meets the item's bias
        items_ND = (torch.rand(self.n_items, self.embedding_size) - 0.5) / self.embedding_size
        items_ND[torch.from_numpy(self._rows_UN.sum(axis=0).A1 == 0)] = 0.0
        self.user_factors = nn.Parameter(users_UD, requires_grad=False)
        self.item_factors = nn.Parameter(items_ND, requires_grad=False)

    def train_pass(self, seed: int) -> float:
        """Take as many steps as there are interactions.

        Parameters
        ----------
        seed : int
            Of the draws; the result depends on it and on the factors alone, on one thread.

        Returns
        -------
        float
            Share of the drawn pairs that were in the wrong order.
        """
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        found: list[tuple[int, int]] = []
        solver = BayesianPersonalizedRanking(
            factors=self.embedding_size - 1,
            learning_rate=self.learning_rate,
            regularization=self.reg_weight,
            iterations=1,
            num_threads=torch.get_num_threads(),
            random_state=seed,
        )
        solver.user_factors = self.user_factors.detach().cpu().numpy().copy()
        solver.item_factors = self.item_factors.detach().cpu().numpy().copy()
        solver.fit(
            self._rows_UN,
            show_progress=False,
            callback=lambda iteration, seconds, right, skipped: found.append((right, skipped)),
        )
        self.user_factors.copy_(torch.from_numpy(solver.user_factors))
        self.item_factors.copy_(torch.from_numpy(solver.item_factors))
        right, skipped = found[-1]
        return 1.0 - right / max(1, self._rows_UN.nnz - skipped)

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items, shape (B, N).

        Parameters
        ----------
        interaction : Interaction
            User ids, B rows.
        """
        return self.user_factors[interaction[self.USER_ID]] @ self.item_factors.T
