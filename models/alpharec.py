"""AlphaRec (Sheng et al., "Language Representations Can be What Recommenders Need", ICLR 2025).

U users, N items (padding included), M = U + N nodes, W width of a text embedding, D width, B batch.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from models._linear import binary_rows
from models._scores import PairsOfAll
from models._texts import text_directions
from models.lightgcn import SymmetricProduct, normalised_adjacency
from paddock import ITEM_TEXTS, ModelConfig, choices, integers, key, log_uniform, uniform


class AlphaRecConfig(ModelConfig):
    """AlphaRec: text embeddings through a small network and the user-item graph; there are no IDs."""

    offers = ("pairs",)
    search = {"learning_rate": log_uniform(1e-4, 1e-2)}

    text_encoder: dict = key(doc="The sentence encoder.", schema="text_encoder")
    hidden_size: int = key(
        256, "Width of the network's hidden layer.", least=1, search=choices(128, 256, 512)
    )
    embedding_size: int = key(64, "Width of the vectors.", least=1, search=choices(64, 128))
    n_layers: int = key(2, "Layers of propagation.", least=0, search=integers(0, 3))
    temperature: float = key(
        0.15, "Divides the cosines in the loss.", above=0, search=uniform(0.05, 0.3)
    )


class AlphaRec(PairsOfAll, GeneralRecommender):
    """Users and items are what a network makes of item texts, averaged over the user-item graph.

    A user's text is the mean of the texts of the user's items. One network of two layers maps users
    and items, LightGCN's propagation averages them, a score is their cosine. The loss is InfoNCE over
    the positive item and the negatives of the batch, which all its rows share (the authors draw 256 for
    each row). Nothing is learned of a single user or item, so that a user's later interactions count without
    training again, and an item without interactions is ranked by its text.

    Parameters
    ----------
    config : recbole.config.Config
        Keys of `AlphaRecConfig`, and the embeddings under `ITEM_TEXTS`, shape (N, W).
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.PAIRWISE
    reads_all_histories = True
    """Whether a user's scores follow from the histories of all, as the graph's do."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.n_layers = config["n_layers"]
        self.temperature = config["temperature"]
        texts_NW = text_directions(config[ITEM_TEXTS])
        self.register_buffer("texts_NW", texts_NW.to(self.device), persistent=False)
        self.network = nn.Sequential(
            nn.Linear(texts_NW.size(1), config["hidden_size"]),
            nn.LeakyReLU(),
            nn.Linear(config["hidden_size"], config["embedding_size"]),
        )
        for name, value in self.history_attributes(dataset).items():
            self.register_buffer(name, value, persistent=False)

    def history_attributes(self, dataset: Any) -> dict[str, Tensor]:
        """What is known of users' items: the graph, and the users' mean texts.

        Parameters
        ----------
        dataset : recbole.data.dataset.Dataset
            The interactions that are known of every user.

        Returns
        -------
        dict of str to Tensor
            `graph_MM`, sparse CSR, (M, M); `user_texts_UW`, float32, (U, W).
        """
        users, items = dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field]
        seen_UN = binary_rows(users.numpy(), items.numpy(), (self.n_users, self.n_items))
        lengths_U1 = np.maximum(np.diff(seen_UN.indptr), 1)[:, None]
        user_texts_UW = torch.from_numpy(seen_UN @ self.texts_NW.cpu().numpy() / lengths_U1)
        return {
            "graph_MM": normalised_adjacency(seen_UN).to(self.device),
            "user_texts_UW": user_texts_UW.float().to(self.device),
        }

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors of length 1 of all users and items, shapes (U, D) and (N, D)."""
        layer_MD = self.network(torch.cat([self.user_texts_UW, self.texts_NW]))
        total_MD = layer_MD
        for _ in range(self.n_layers):
            layer_MD = SymmetricProduct.apply(self.graph_MM, layer_MD)
            total_MD = total_MD + layer_MD
        users_UD, items_ND = F.normalize(total_MD, dim=1).split([self.n_users, self.n_items])
        return users_UD, items_ND

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """InfoNCE of the batch's pairs, a scalar.

        Parameters
        ----------
        interaction : Interaction
            Users, items and negative items, B rows each.
        """
        users_UD, items_ND = self.forward()
        wanted_B = interaction[self.ITEM_ID]
        against_B = interaction[self.NEG_ITEM_ID]
        users_BD = users_UD[interaction[self.USER_ID]]
        own_B1 = (users_BD * items_ND[wanted_B]).sum(dim=1, keepdim=True)
        others_BB = users_BD @ items_ND[against_B].T
        # A negative of another row may be this row's positive.
        others_BB = others_BB.masked_fill(against_B == wanted_B[:, None], -torch.inf)
        logits = torch.cat([own_B1, others_BB], dim=1) / self.temperature
        return F.cross_entropy(logits, torch.zeros_like(wanted_B))

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items, the cosine of user and item, shape (B, N).

        Parameters
        ----------
        interaction : Interaction
            User ids, B rows.
        """
        users_UD, items_ND = self.forward()
        return users_UD[interaction[self.USER_ID]] @ items_ND.T
