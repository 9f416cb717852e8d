"""Implicit matrix factorisation by alternating least squares (Hu, Koren and Volinsky, ICDM 2008).

U users and N items (padding included), D embedding size.
"""

import importlib
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from models._linear import rows_of_users
from paddock import ModelConfig, choices, key, log_uniform

_START = 0.01
"""The factors begin as uniform numbers from 0 to this, as in the package `implicit`."""


class ALSConfig(ModelConfig):
    """Implicit matrix factorisation by alternating least squares."""

    offers = ("alternations",)
    strategies = ("alternating",)

    embedding_size: int = key(
        64, "Width of the factors.", least=1, search=choices(32, 64, 128, 256)
    )
    reg_weight: float = key(
        10.0, "lambda of eq. 3, the weight of the norms.", least=0, search=log_uniform(0.01, 200.0)
    )
    alpha: float = key(
        1.0,
        "Confidence in an interaction; a cell without one has 1.",
        above=0,
        search=log_uniform(0.5, 40.0),
    )
    use_cg: bool = key(
        True, "Solve by three steps of conjugate gradients from the last factors; else exactly."
    )


class ALS(GeneralRecommender):
    """Factors whose product is near 1 where a user has an item, and near 0 elsewhere.

    The sum over all cells of confidence times squared error, plus the weighted norms (eq. 3), is
    minimised on one side at a time by the package `implicit`. Its confidence in an interaction is
    `alpha`, where the paper has 1 + alpha. A user's factors follow from the items' and the user's own
    items (eq. 4), so that they can be solved for a history that was not trained on.

    Parameters
    ----------
    config : recbole.config.Config
        `embedding_size`, `reg_weight`, `alpha` and `use_cg`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self.embedding_size = config["embedding_size"]
        self.reg_weight = config["reg_weight"]
        self.alpha = config["alpha"]
        self.use_cg = config["use_cg"]
        self._rows_UN = rows_of_users(dataset)
        users_UD = torch.rand(self.n_users, self.embedding_size) * _START
        items_ND = torch.rand(self.n_items, self.embedding_size) * _START
        # RecBole takes a model's device from its parameters; the users' factors may be lent others.
        self.item_factors = nn.Parameter(items_ND, requires_grad=False)
        self.register_buffer("user_factors", users_UD)

    def alternate(self) -> float:
        """Solve the users' factors, then the items'.

        Returns
        -------
        float
            Eq. 3 after it, divided by the sum of the confidences of all cells.
        """
        losses: list[float] = []
        with _one_blas_thread():
            solver = self._solver(calculate_training_loss=True)
            solver.user_factors = _array(self.user_factors)
            solver.fit(
                self._rows_UN,
                show_progress=False,
                callback=lambda iteration, seconds, loss: losses.append(float(loss)),
            )
        self.user_factors.copy_(torch.from_numpy(solver.user_factors))
        self.item_factors.copy_(torch.from_numpy(solver.item_factors))
        return losses[-1]

    def history_attributes(self, dataset: Any) -> dict[str, Tensor]:
        """The users' factors, solved exactly for given histories with the items' factors as they are.

        Parameters
        ----------
        dataset : recbole.data.dataset.Dataset
            The interactions that are known of every user.

        Returns
        -------
        dict of str to Tensor
            `user_factors`, float32, (U, D).
        """
        with _one_blas_thread():
            solver = self._solver()
            users_UD = solver.recalculate_user(np.arange(self.n_users), rows_of_users(dataset))
        return {"user_factors": torch.from_numpy(users_UD).to(self.device)}

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of pairs of user and item.

        Parameters
        ----------
        interaction : Interaction
            User and item ids in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B,).
        """
        users_BD = self.user_factors[interaction[self.USER_ID]]
        return (users_BD * self.item_factors[interaction[self.ITEM_ID]]).sum(dim=1)

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items.

        Parameters
        ----------
        interaction : Interaction
            User ids in RecBole's field, B rows.

        Returns
        -------
        Tensor
            Shape (B, N).
        """
        return self.user_factors[interaction[self.USER_ID]] @ self.item_factors.T

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """ALS has no loss of a batch.

        Parameters
        ----------
        interaction : Interaction
            A batch.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("ALS is solved, by the strategy alternating")

    def _solver(self, *, calculate_training_loss: bool = False) -> Any:
        """The solver of `implicit`, for one alternation that begins with these items' factors."""
        from implicit.cpu.als import AlternatingLeastSquares

        solver = AlternatingLeastSquares(
            factors=self.embedding_size,
            regularization=self.reg_weight,
            alpha=self.alpha,
            use_cg=self.use_cg,
            iterations=1,
            calculate_training_loss=calculate_training_loss,
            num_threads=torch.get_num_threads(),
        )
        solver.item_factors = _array(self.item_factors)
        return solver


def _one_blas_thread() -> threadpool_limits:
    """One thread of BLAS, as `implicit` wants it: its own threads share the rows out."""
    # It loads libraries that the limit must find loaded.
    importlib.import_module("implicit.cpu.als")
    return threadpool_limits(1, "blas")


def _array(factors: Tensor) -> np.ndarray:
    """A copy of the factors, which the solver may overwrite."""
    return factors.detach().cpu().numpy().copy()
