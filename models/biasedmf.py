"""Matrix factorisation with biases, which predicts ratings (Koren, Bell and Volinsky, Computer 2009).

B batch, D embedding size, U users and N items (padding included).
"""

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from paddock import ModelConfig, choices, key, log_uniform


class BiasedMFConfig(ModelConfig):
    """Biased matrix factorisation, which learns from ratings."""

    offers = ("ratings",)
    strategies = ("ratings",)
    search = {
        "learning_rate": log_uniform(1e-4, 1e-2),
        "train_batch_size": choices(256, 1024, 4096),
    }

    embedding_size: int = key(64, "Width of the factors.", least=1, search=choices(16, 32, 64, 128))
    reg_weight: float = key(
        0.02, "lambda of eq. 5, the weight of the norms.", least=0, search=log_uniform(1e-3, 0.5)
    )


class BiasedMF(GeneralRecommender):
    """Ratings as mean, user bias, item bias and product of factors (eq. 4).

    It learns from ratings, by the strategy `ratings`, and is measured by RMSE and MAE beside the
    metrics of its ranking. Items are ranked by the rating that is predicted for them.

    Parameters
    ----------
    config : recbole.config.Config
        `embedding_size` and `reg_weight`, the lambda of eq. 5.
    dataset : recbole.data.dataset.Dataset
        Holds the training ratings under RATING_FIELD.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        size = config["embedding_size"]
        self.RATING = config["RATING_FIELD"]
        self.reg_weight = config["reg_weight"]
        ratings = dataset.inter_feat[self.RATING]
        self.register_buffer("mean", ratings.mean())
        self.register_buffer("scale", torch.stack([ratings.min(), ratings.max()]))
        self.user_embedding = nn.Embedding(self.n_users, size)
        self.item_embedding = nn.Embedding(self.n_items, size)
        self.user_bias = nn.Embedding(self.n_users, 1)
        self.item_bias = nn.Embedding(self.n_items, 1)
        for factors in (self.user_embedding, self.item_embedding):
            nn.init.normal_(factors.weight, std=0.1)
        for bias in (self.user_bias, self.item_bias):
            nn.init.zeros_(bias.weight)

    def predict_ratings(self, interaction: Interaction) -> Tensor:
        """Predicted ratings of pairs, cut to the range of the training ratings.

        Parameters
        ----------
        interaction : Interaction
            User and item ids in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B,), in the unit of the ratings.
        """
        return self.predict(interaction).clamp(self.scale[0], self.scale[1])

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of pairs: predicted ratings, not cut to any range (eq. 4).

        Parameters
        ----------
        interaction : Interaction
            User and item ids in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B,).
        """
        users, items = interaction[self.USER_ID], interaction[self.ITEM_ID]
        product_B = (self.user_embedding(users) * self.item_embedding(items)).sum(dim=1)
        return self.mean + self.user_bias(users)[:, 0] + self.item_bias(items)[:, 0] + product_B

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items (eq. 4).

        Parameters
        ----------
        interaction : Interaction
            User ids in RecBole's field, B rows.

        Returns
        -------
        Tensor
            Shape (B, N).
        """
        users = interaction[self.USER_ID]
        product_BN = self.user_embedding(users) @ self.item_embedding.weight.T
        return self.mean + self.user_bias(users) + self.item_bias.weight[:, 0] + product_BN

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean squared error with an L2 penalty on factors and biases (eq. 5).

        Parameters
        ----------
        interaction : Interaction
            User and item ids and ratings in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            A scalar.
        """
        users, items = interaction[self.USER_ID], interaction[self.ITEM_ID]
        errors_B = interaction[self.RATING] - self.predict(interaction)
        weights = (
            self.user_embedding(users),
            self.item_embedding(items),
            self.user_bias(users),
            self.item_bias(items),
        )
        norms_B = torch.stack([each.square().sum(dim=1) for each in weights]).sum(dim=0)
        return (errors_B.square() + self.reg_weight * norms_B).mean()
