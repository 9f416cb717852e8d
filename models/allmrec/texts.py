"""The sentence embeddings that A-LLMRec aligns with: a fixed table, or an encoder that is trained.

N items (padding included), B items of a batch, T width.
"""

from functools import partial

import torch
from torch import Tensor, nn

from models.allmrec.parts import UntilChanged, one_of

TABLE_BATCH = 64


class ItemTexts(nn.Module):
    """Embeddings of the items' texts.

    Parameters
    ----------
    texts_NT : Tensor
        The table of embeddings, shape (N, T), which is used where there is no encoder.
    encoder : nn.Module, optional
        Takes item ids (B,) and returns the embeddings of their texts (B, T). It is trained and
        saved with the model, as in the paper.
    scale : str
        "own" leaves embeddings unchanged. "standard" subtracts the table's mean and divides by its
        overall standard deviation, so that a loss over entries has the same weight for every
        encoder: the entries of unit vectors of width 384 have a variance of at most 1/384.
    """

    def __init__(
        self, texts_NT: Tensor, encoder: nn.Module | None = None, *, scale: str = "own"
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self._mean_T, self._scale = torch.zeros_like(texts_NT[0]), 1.0
        if one_of("text_scale", scale, ("own", "standard")) == "standard":
            self._mean_T = texts_NT[1:].mean(0)
            self._scale = float((texts_NT[1:] - self._mean_T).square().mean().sqrt()) or 1.0
        self._fixed_NT = self._scaled(texts_NT)
        self._fixed_NT[0] = 0
        self._made = UntilChanged[Tensor]()

    def of(self, items_B: Tensor) -> Tensor:
        """The embeddings of some items, with gradients.

        Parameters
        ----------
        items_B : Tensor
            Item ids, shape (B,).

        Returns
        -------
        Tensor
            Shape (B, T).
        """
        if self.encoder is None:
            return self._fixed_NT[items_B]
        return self._scaled(self.encoder(items_B))

    def _scaled(self, texts_BT: Tensor) -> Tensor:
        return (texts_BT - self._mean_T) / self._scale

    def table(self) -> Tensor:
        """The embeddings of all items, (N, T), of the encoder as it is; no gradient goes through."""
        if self.encoder is None:
            return self._fixed_NT
        return self._made(partial(self._encoded, self.encoder), self.encoder)

    @torch.no_grad()
    def _encoded(self, encoder: nn.Module) -> Tensor:
        training = encoder.training
        encoder.eval()
        made_NT = torch.zeros_like(self._fixed_NT)
        for items_B in torch.arange(1, len(made_NT), device=made_NT.device).split(TABLE_BATCH):
            made_NT[items_B] = self._scaled(encoder(items_B))
        encoder.train(training)
        return made_NT
