"""SASRec whose items have text vectors: beside their ID vectors, instead of them, or as a start.

B batch, L length, D width, N items (padding included), W width of a text embedding.
"""

import torch
import torch.nn.functional as F
from recbole.model.layers import TransformerEncoder
from recbole.utils import InputType
from torch import Tensor, nn

from models._texts import text_directions
from models._transformer import transformed
from models.sasrec import SASRec, SASRecConfig
from paddock import ITEM_TEXTS, key
from paddock.layers import dropout


class SASRecTextConfig(SASRecConfig):
    """SASRec that reads the items' texts."""

    text_encoder: dict = key(doc="The sentence encoder.", schema="text_encoder")
    text_role: str = key(
        "late",
        "What texts do: late (a tower of texts beside one of IDs, their scores added), sum (vectors added), "
        "only (no IDs), start (ID vectors start as the texts' principal components).",
        choices=("late", "sum", "only", "start"),
    )
    loss_type: str = key("CE", "Loss of RecBole's own training.", choices=("CE",))


class SASRecText(SASRec):
    """SASRec over item vectors that a linear map of frozen text embeddings has a part in.

    `text_role` says which part:

    - `late`: two towers, one over ID vectors and one over text vectors, each with layers of its own. A score
      is the sum of the towers' (states and item vectors are laid side by side).
    - `sum`: one tower; an item's vector is its ID vector plus its text vector.
    - `only`: one tower over text vectors. An item that training never showed is ranked like any other.
    - `start`: ID vectors begin as the first D principal components of the texts, with `initializer_range` as
      their standard deviation, and are then trained (LLMInit: Zhang et al., 2025; LLM2BERT4Rec: Harte et al.,
      RecSys 2023). The trained model is a SASRec.

    Parameters
    ----------
    config : recbole.config.Config
        SASRec's keys, `text_role`, and the embeddings under `ITEM_TEXTS`, shape (N, W).
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.POINTWISE
    item_embedding: nn.Module

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        role = config["text_role"]
        directions_NW = text_directions(config[ITEM_TEXTS])
        self._two_towers = role == "late"
        ids = self.item_embedding
        assert isinstance(ids, nn.Embedding)
        if role == "start":
            start_ND = principal_components(directions_NW, self.hidden_size)
            with torch.no_grad():
                ids.weight[1:] = start_ND[1:] * self.initializer_range
            return
        self.item_embedding = ItemVectors(
            directions_NW,
            width=self.hidden_size,
            spread=self.initializer_range,
            ids=None if role == "only" else ids,
            side_by_side=self._two_towers,
        )
        if self._two_towers:
            self.text_position_embedding = nn.Embedding(self.max_seq_length, self.hidden_size)
            self.text_norm = nn.LayerNorm(self.hidden_size, eps=self.layer_norm_eps)
            self.text_encoder = TransformerEncoder(
                n_layers=self.n_layers,
                n_heads=self.n_heads,
                hidden_size=self.hidden_size,
                inner_size=self.inner_size,
                hidden_dropout_prob=self.hidden_dropout_prob,
                attn_dropout_prob=self.attn_dropout_prob,
                hidden_act=self.hidden_act,
                layer_norm_eps=self.layer_norm_eps,
            )
            for module in (self.text_position_embedding, self.text_norm, self.text_encoder):
                module.apply(self._init_weights)

    def states(self, items_BL: Tensor) -> Tensor:
        """The state after each position; those at padding mean nothing.

        Parameters
        ----------
        items_BL : Tensor
            Item ids in time order, shape (B, L), padded with 0 on the right; L is at most
            MAX_ITEM_LIST_LENGTH.

        Returns
        -------
        Tensor
            Shape (B, L, D); with two towers (B, L, 2 D), the IDs' states first.
        """
        if not self._two_towers:
            return super().states(items_BL)
        ids_BLD, texts_BLD = self.item_embedding(items_BL).chunk(2, dim=-1)
        return torch.cat(
            [
                self._tower(ids_BLD, self.position_embedding, self.LayerNorm, self.trm_encoder),
                self._tower(
                    texts_BLD, self.text_position_embedding, self.text_norm, self.text_encoder
                ),
            ],
            dim=-1,
        )

    def _tower(
        self,
        vectors_BLD: Tensor,
        positions: nn.Embedding,
        norm: nn.LayerNorm,
        encoder: TransformerEncoder,
    ) -> Tensor:
        states_BLD = vectors_BLD + positions.weight[: vectors_BLD.size(1)]
        states_BLD = dropout(norm(states_BLD), self.dropout.p, training=self.training)
        for layer in encoder.layer:
            states_BLD = transformed(layer, states_BLD, causal=True)
        return states_BLD


class ItemVectors(nn.Module):
    """Stands in for an item embedding: vectors of which a linear map of frozen texts is a part.

    Parameters
    ----------
    texts_NW : Tensor
        Text embeddings, shape (N, W); row 0, the padding's, is 0.
    width : int
        D, width of the mapped texts.
    spread : float
        Standard deviation of the map's initial weights.
    ids : nn.Embedding or None
        ID vectors, shape (N, D); None: there are none.
    side_by_side : bool
        Whether texts stand behind IDs, which makes 2 D; else they are added.
    """

    texts_NW: Tensor

    def __init__(
        self,
        texts_NW: Tensor,
        *,
        width: int,
        spread: float,
        ids: nn.Embedding | None,
        side_by_side: bool,
    ) -> None:
        super().__init__()
        self.ids = ids
        self.side_by_side = side_by_side
        self.register_buffer("texts_NW", texts_NW, persistent=False)
        self.of_text = nn.Linear(texts_NW.size(1), width, bias=False)
        nn.init.normal_(self.of_text.weight, std=spread)

    def forward(self, items: Tensor) -> Tensor:
        """The vectors of items.

        Parameters
        ----------
        items : Tensor
            Item ids, int64, any shape.

        Returns
        -------
        Tensor
            With one dimension more, of D or 2 D values.
        """
        ids = None if self.ids is None else self.ids(items)
        return self._joined(ids, self.of_text(F.embedding(items, self.texts_NW)))

    @property
    def weight(self) -> Tensor:
        """The vectors of all items, the padding among them, shape (N, D) or (N, 2 D)."""
        ids = None if self.ids is None else self.ids.weight
        return self._joined(ids, self.of_text(self.texts_NW))

    def _joined(self, ids: Tensor | None, texts: Tensor) -> Tensor:
        if ids is None:
            return texts
        return torch.cat([ids, texts], dim=-1) if self.side_by_side else ids + texts


def principal_components(rows_NW: Tensor, width: int) -> Tensor:
    """The first principal components of rows, with one standard deviation for all values together.

    Parameters
    ----------
    rows_NW : Tensor
        Shape (N, W); row 0 is padding.
    width : int
        D, how many are kept; components that the rows do not have are 0.

    Returns
    -------
    Tensor
        float32, shape (N, D), row 0 all zeros.
    """
    values_NW = rows_NW[1:].double()
    values_NW = values_NW - values_NW.mean(dim=0)
    _, axes_WW = torch.linalg.eigh(values_NW.T @ values_NW)
    kept_ND = values_NW @ axes_WW.flip(1)[:, :width]
    kept_ND = F.pad(kept_ND, (0, width - kept_ND.size(1), 1, 0))
    return (kept_ND / kept_ND[1:].std().clamp_min(1e-12)).float()
