"""Texts that a frozen language model reads up to a token of its own, whose state stands for the text.

All before that token depends on no trained weight: it is read without gradients, and of texts that are read again
and again (those of the items) the keys and values are kept.

R rows, L positions, P pieces of a row, T tokens of a piece, H width of the language model.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.allmrec.frozen_llm import FrozenLLM, in_pieces


def padded(pieces: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of tokens, padded with 0 on the right, and the length of each.

    Parameters
    ----------
    pieces : sequence of sequences of int
        Tokens of each row.
    """
    rows = [torch.tensor(piece, dtype=torch.int64) for piece in pieces]
    lengths = torch.tensor([len(row) for row in rows])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths


def joined(tokens_RPT: Tensor, lengths_RP: Tensor) -> tuple[Tensor, Tensor]:
    """The pieces of each row back to back, padded with 0 on the right, and the length of each row.

    Parameters
    ----------
    tokens_RPT : Tensor
        Tokens of each piece, shape (R, P, T).
    lengths_RP : Tensor
        Tokens that count, shape (R, P).
    """
    counts_RPT = torch.arange(tokens_RPT.shape[2]) < lengths_RP[:, :, None]
    counts, tokens = counts_RPT.flatten(1), tokens_RPT.flatten(1)
    length_R = counts.sum(1)
    order = (~counts).to(torch.int8).argsort(dim=1, stable=True)[:, : int(length_R.max())]
    return tokens.gather(1, order) * counts.gather(1, order), length_R


class Reader:
    """Rows of tokens, read up to an out token.

    Parameters
    ----------
    llm : FrozenLLM
        The language model.
    tokens_RL : Tensor
        Tokens of the texts, shape (R, L), padded on the right.
    length_R : Tensor
        Tokens of each text, at least 1, shape (R,).
    """

    def __init__(self, llm: FrozenLLM, tokens_RL: Tensor, length_R: Tensor) -> None:
        self._llm = llm
        self._tokens_RL, self._length_R = tokens_RL, length_R
        self._kept: list[tuple[Tensor, Tensor]] | None = None
        self._cache: type[Any] | None = None

    def keep(self, *, most_bytes: int) -> bool:
        """Read all texts once and keep their keys and values, if they fit.

        Parameters
        ----------
        most_bytes : int
            The most memory that they may take.
        """
        rows = torch.arange(len(self._length_R))
        L = self._tokens_RL.shape[1]
        made = self._read(rows[:1], L)
        layers = [(layer.keys, layer.values) for layer in made.layers]
        # A layer with a sliding window holds fewer positions than were read.
        whole = all(part.shape[2] == L for layer in layers for part in layer)
        each = sum(part[0].numel() * part.element_size() for layer in layers for part in layer)
        if not whole or each * len(rows) > most_bytes:
            return False
        self._cache = type(made)
        self._kept = [
            (
                keys.new_empty((len(rows), *keys.shape[1:])),
                values.new_empty((len(rows), *values.shape[1:])),
            )
            for keys, values in layers
        ]

        def read(these: Tensor) -> Tensor:
            assert self._kept is not None
            for layer, (keys, values) in zip(self._read(these, L).layers, self._kept, strict=True):
                keys[these], values[these] = layer.keys, layer.values
            return these

        in_pieces(self._length_R, torch.zeros_like(self._length_R), read)
        return True

    def states(self, rows: Tensor, out_H: Tensor) -> Tensor:
        """The states of the out token after some texts; gradients go to the out token alone.

        Parameters
        ----------
        rows : Tensor
            Numbers of the texts, on the CPU, shape (R,).
        out_H : Tensor
            The out token's embedding.

        Returns
        -------
        Tensor
            float32, shape (R, H).
        """

        def read(these: Tensor) -> Tensor:
            return self._states(rows[these], out_H)

        length_R = self._length_R[rows]
        return in_pieces(length_R, torch.ones_like(length_R), read)

    def _states(self, rows: Tensor, out_H: Tensor) -> Tensor:
        llm = self._llm
        length_R = self._length_R[rows].to(llm.device)
        L = int(length_R.max())
        cache = self._again(rows, L) if self._kept is not None else self._read(rows, L)
        before_RL = torch.arange(L, device=llm.device) < length_R[:, None]
        allowed = torch.cat([before_RL, torch.ones_like(before_RL[:, :1])], dim=1)
        out_R1H = out_H.to(llm.dtype).expand(len(rows), 1, -1)
        states_R1H = llm.continued(out_R1H, length_R[:, None], allowed[:, None], cache=cache)
        return states_R1H[:, 0].float()

    @torch.no_grad()
    def _read(self, rows: Tensor, longest: int) -> Any:
        """Keys and values of the texts."""
        tokens_RL = self._tokens_RL[rows, :longest].to(self._llm.device)
        lengths_R = self._length_R[rows].to(self._llm.device)
        return self._llm.prompted(self._llm.embed(tokens_RL), lengths_R)[1]

    def _again(self, rows: Tensor, longest: int) -> Any:
        """The same of what was kept."""
        assert self._kept is not None
        assert self._cache is not None
        cache = self._cache()
        for number, (keys, values) in enumerate(self._kept):
            some = rows.to(keys.device)
            cache.update(keys[some, :, :longest], values[some, :, :longest], number)
        return cache
