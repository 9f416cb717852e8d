"""The sentence embeddings that A-LLMRec aligns with: a fixed table, or an encoder that learns along.

N items (padding included), B items of a batch, T width.
"""

import torch
from torch import Tensor, nn

TABLE_BATCH = 64


class ItemTexts(nn.Module):
    """Embeddings of the items' texts.

    Parameters
    ----------
    texts_NT
        The table, which holds where there is no encoder.
    encoder
        Takes item ids, shape (B,), and gives their texts' embeddings, (B, T). It is trained with
        the model, as the paper does, and saved with it.
    """

    def __init__(self, texts_NT: Tensor, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self._fixed_NT = texts_NT
        self._made: tuple[list[int], Tensor] | None = None

    def of(self, items_B: Tensor) -> Tensor:
        """The embeddings of some items, (B, T), to learn from."""
        return self._fixed_NT[items_B] if self.encoder is None else self.encoder(items_B)

    def table(self) -> Tensor:
        """The embeddings of all items, (N, T), of the encoder as it is; no gradient goes through."""
        if self.encoder is None:
            return self._fixed_NT
        # torch counts the changes of a tensor: a step and a load both add one.
        version = [weight._version for weight in self.encoder.parameters()]
        if self._made is None or self._made[0] != version:
            self._made = (version, self._encoded(self.encoder))
        return self._made[1]

    @torch.no_grad()
    def _encoded(self, encoder: nn.Module) -> Tensor:
        training = encoder.training
        encoder.eval()
        made_NT = torch.zeros_like(self._fixed_NT)
        for items_B in torch.arange(1, len(made_NT), device=made_NT.device).split(TABLE_BATCH):
            made_NT[items_B] = encoder(items_B)
        encoder.train(training)
        return made_NT
