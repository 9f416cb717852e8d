"""A sentence encoder whose weights learn, with the texts of all items tokenised once.

N items (padding included), B items of a batch, L tokens, W width.
"""

import torch
from torch import Tensor, nn

from experiments.config.language_keys import TextEncoderConfig
from experiments.data.prepared import Prepared
from experiments.language.encoder import load_encoder, model_folder, pool, texts_to_encode


class SentenceEncoder(nn.Module):
    """Embeddings of the texts of given items.

    Parameters
    ----------
    keys : TextEncoderConfig
    data : Prepared
        Whose items' texts are tokenised.

    Raises
    ------
    PaddockError
        The encoder cannot be loaded.
    """

    tokens_NL: Tensor
    lengths_N: Tensor

    def __init__(self, keys: TextEncoderConfig, data: Prepared) -> None:
        super().__init__()
        self._keys = keys
        tokenizer, self.model = load_encoder(keys, model_folder(keys.name))
        read = tokenizer(
            ["", *texts_to_encode(data)],
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=keys.tokens,
            return_tensors="pt",
        )
        # Not saved: the data set has them.
        self.register_buffer("tokens_NL", read["input_ids"].int(), persistent=False)
        self.register_buffer("lengths_N", read["attention_mask"].sum(1), persistent=False)

    def requires_grad_(self, requires_grad: bool = True) -> "SentenceEncoder":
        """As of any module; the pooling layer, which the mean of token states does not use, stays frozen."""
        super().requires_grad_(requires_grad)
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler.requires_grad_(False)
        return self

    def forward(self, items_B: Tensor) -> Tensor:
        """The embeddings of items.

        Parameters
        ----------
        items_B : Tensor
            Item ids, int64; 0 is padding.

        Returns
        -------
        Tensor
            (B, W).
        """
        lengths_B = self.lengths_N[items_B]
        longest = int(lengths_B.max())
        tokens_BL = self.tokens_NL[items_B, :longest].long()
        mask_BL = torch.arange(longest, device=items_B.device) < lengths_B[:, None]
        read = self.model(input_ids=tokens_BL, attention_mask=mask_BL.long())
        return pool(self._keys, read.last_hidden_state, mask_BL)
