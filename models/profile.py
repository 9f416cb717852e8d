"""Scores of items from the users' own columns alone, by a feed-forward network.

As in the tower of a user without history (Covington, Adams and Sargin, RecSys 2016, section 3: a softmax over all
items of what is known of the user), with no history.

B batch, U users and N items (padding included), F features, C columns.
"""

from collections.abc import Mapping
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from models._linear import binary_rows
from models._profiles import ProfileEncoder
from models._scores import PairsOfAll
from paddock import USER_FEATURES, ModelConfig, key, uniform


class ProfileConfig(ModelConfig):
    """A network from the users' own columns to a softmax over all items."""

    offers = ("rows",)
    strategies = ("rows",)
    needs_user_columns = True

    user_columns: list[str] | None = key(
        None, "The users' columns that are read; null: all but the id."
    )
    mlp_hidden_size: list[int] = key([64], "Widths of the hidden layers; []: none.", least=1)
    dropout_prob: float = key(
        0.1, "Dropout of the hidden layers.", least=0, below=1, search=uniform(0.0, 0.5)
    )
    column_dropout: float = key(
        0.5,
        "Share of the values that training takes for unknown, so that what is missing is learned too.",
        least=0,
        below=1,
        search=uniform(0.0, 0.6),
    )


class Profile(PairsOfAll, GeneralRecommender):
    """What users of such columns have; no interaction of a user is read when he is scored.

    A user's features (`models._profiles`) go through a network to a softmax over all items. Its loss is the
    mean cross-entropy of pairs of a user's features and one of the user's training items.

    Parameters
    ----------
    config : recbole.config.Config
        `mlp_hidden_size`, `dropout_prob`, `column_dropout`, and the users' columns under `USER_FEATURES`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self.column_dropout = config["column_dropout"]
        self.encoder = ProfileEncoder(config[USER_FEATURES])
        self._features_UF = self.encoder.rows()
        self._targets_UN = binary_rows(
            dataset.inter_feat[dataset.uid_field].numpy(),
            dataset.inter_feat[dataset.iid_field].numpy(),
            (self.n_users, self.n_items),
        )
        layers: list[nn.Module] = []
        width = len(self.encoder.column_F)
        for size in config["mlp_hidden_size"]:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(config["dropout_prob"])]
            width = size
        self.network = nn.Sequential(*layers, nn.Linear(width, self.n_items))

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The mean cross-entropy of the users' training items.

        Parameters
        ----------
        interaction : Interaction
            User ids in RecBole's field, B rows.

        Returns
        -------
        Tensor
            A scalar.
        """
        users_B = interaction[self.USER_ID]
        targets_BN = self._dense(self._targets_UN, users_B)[:, 1:]
        logits_BN = self.network(self._hidden(self._dense(self._features_UF, users_B)))
        losses_BN = targets_BN * torch.log_softmax(logits_BN[:, 1:].float(), dim=1)
        return -losses_BN.sum() / targets_BN.sum().clamp(min=1)

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
        scores_BN: Tensor = self.network(self._dense(self._features_UF, interaction[self.USER_ID]))
        return scores_BN

    @torch.no_grad()
    def scores_of(self, values: Mapping[str, Any]) -> Tensor:
        """Scores of all items for somebody who need not be a user of the data set.

        The model must be in evaluation mode.

        Parameters
        ----------
        values : mapping of str to object
            Column -> value, as of `ProfileEncoder.vector`.

        Returns
        -------
        Tensor
            Shape (N,).

        Raises
        ------
        ValueError
            As of `ProfileEncoder.vector`.
        """
        features_F = torch.from_numpy(self.encoder.vector(values)).to(self.device)
        scores_1N: Tensor = self.network(features_F[None])
        return scores_1N[0]

    def _dense(self, rows: Any, users_B: Tensor) -> Tensor:
        return torch.from_numpy(rows[users_B.cpu().numpy()].toarray()).to(users_B.device)

    def _hidden(self, features_BF: Tensor) -> Tensor:
        """The features, where training takes values at random for unknown."""
        if not self.training or self.column_dropout == 0:
            return features_BF
        device = features_BF.device
        column_F = torch.from_numpy(self.encoder.column_F).to(device)
        draws_BC = torch.rand(len(features_BF), int(column_F.max()) + 1, device=device)
        hidden_BF = (draws_BC < self.column_dropout)[:, column_F]
        unknown_F = torch.from_numpy(self.encoder.vector({})).to(device)
        return torch.where(hidden_BF, unknown_F, features_BF)
