"""A-LLMRec's prompt, put together from pieces that are tokenised once.

A token is a number of the vocabulary, or a soft token below 0: -1 is the user, -1 - i is item i.

B rows, H history items, C candidates, P pieces of a row, L positions, N items (padding included).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.allmrec.frozen_llm import Answers, FrozenLLM

USER = -1
NO_TITLE = "No Title"

OPENING = " is a user representation."
HISTORY = "This user has {past} "
REQUEST = (
    " in the previous. Recommend one next {noun} for this user to {verb} next from the following "
    "{noun} title set, "
)
ENDING = ". The recommendation is "
STATICS = 6
"""Pieces before the items': nothing, the opening, the request, the ending, a comma, the user."""
NOTHING, OPEN, ASK, END, COMMA, ALONE = range(STATICS)


class Rows(NamedTuple):
    """Token rows, padded with 0 on the right.

    Attributes
    ----------
    tokens_BL : Tensor
        Tokens, int64, shape (B, L).
    prompt_B : Tensor
        Tokens of each prompt, shape (B,).
    length_B : Tensor
        Tokens of each prompt with its answer, if it has one, shape (B,).
    """

    tokens_BL: Tensor
    prompt_B: Tensor
    length_B: Tensor


class Prompts:
    """Builds rows of tokens by index operations.

    What does not fit into the model's context is shortened: every title to `title_tokens` tokens,
    or to fewer where the longest titles, as candidates and no history, would not fit; then the oldest
    history items are left out, one by one. `shortened` counts the rows that lost history, `cut_titles` the items whose title was
    cut; nothing else is ever cut.

    Parameters
    ----------
    llm : FrozenLLM
        Its tokenizer and context count.
    titles : sequence of str
        Title of each item, the padding's first.
    words : mapping of str to str
        `noun` (movie), `verb` (watch) and `past` (watched).
    title_tokens : int
        The most tokens of a title.
    user_token : bool
        Whether prompts hold the user's soft token and the words that explain it.
    item_tokens : bool
        Whether prompts hold the items' soft tokens.
    """

    def __init__(
        self,
        llm: FrozenLLM,
        titles: Sequence[str],
        *,
        words: Mapping[str, str],
        title_tokens: int,
        user_token: bool = True,
        item_tokens: bool = True,
    ) -> None:
        self._context = llm.context
        self._most = title_tokens
        self._items = len(titles)
        self._eos = llm.eos
        self._item_tokens = item_tokens
        quoted = [f'"{" ".join(title.split()) or NO_TITLE}"' for title in titles]
        self._titles = llm.tokens(quoted)
        opening, ask, end, comma = llm.tokens(
            [
                (OPENING if user_token else "") + HISTORY.format(**words),
                REQUEST.format(**words),
                ENDING,
                ",",
            ]
        )
        user = [USER] if user_token else []
        self._statics = [[], user + llm.opening() + opening, ask, end, comma, [USER]]
        self._tables: dict[int, _Table] = {}
        self.shortened = 0
        self.rows = 0
        self.cut_titles = 0

    def build(
        self, history_BH: Tensor, candidates_BC: Tensor, answers_B: Tensor | None = None
    ) -> Rows:
        """The rows of tokens of histories and candidates.

        Parameters
        ----------
        history_BH : Tensor
            Item ids, oldest first, shape (B, H); 0 is none.
        candidates_BC : Tensor
            Item ids in the prompt's order, shape (B, C).
        answers_B : Tensor, optional
            Items whose title and end-of-sequence token follow the prompt, shape (B,).
        """
        table = self._table(candidates_BC.shape[1])
        kept_BH = self._fitting(table, history_BH, candidates_BC)
        before_BH = table.entry(kept_BH)
        commas_BH = torch.where((kept_BH > 0) & (kept_BH.cumsum(1) > kept_BH), COMMA, NOTHING)
        between_BC = torch.full_like(candidates_BC, COMMA)
        between_BC[:, 0] = NOTHING
        columns = [
            torch.full_like(candidates_BC[:, :1], OPEN),
            torch.stack([commas_BH, before_BH], dim=2).flatten(1),
            torch.full_like(candidates_BC[:, :1], ASK),
            torch.stack([between_BC, table.entry(candidates_BC)], dim=2).flatten(1),
            torch.full_like(candidates_BC[:, :1], END),
        ]
        prompt_B = table.length[torch.cat(columns, dim=1)].sum(1)
        if answers_B is not None:
            columns.append(table.answer(answers_B)[:, None])
        tokens_BL, length_B = table.laid_out(torch.cat(columns, dim=1))
        return Rows(tokens_BL, prompt_B, length_B)

    def bare(self, answers_B: Tensor, *, candidates: int) -> Rows:
        """Rows of the user's token, the ending and an answer, without history and candidates.

        Parameters
        ----------
        answers_B : Tensor
            Items whose title and end-of-sequence token are the answer, shape (B,).
        candidates : int
            Number of candidates, on which the length of titles depends.
        """
        table = self._table(candidates)
        columns = [torch.full_like(answers_B, piece) for piece in (ALONE, END)]
        pieces_BP = torch.stack([*columns, table.answer(answers_B)], dim=1)
        tokens_BL, length_B = table.laid_out(pieces_BP)
        return Rows(tokens_BL, table.length[pieces_BP[:, :-1]].sum(1), length_B)

    def answers(self, candidates_BC: Tensor) -> Answers:
        """Each candidate as an answer: its quoted title and the end-of-sequence token.

        Parameters
        ----------
        candidates_BC : Tensor
            Item ids, shape (B, C).
        """
        table = self._table(candidates_BC.shape[1])
        pieces = table.answer(candidates_BC.flatten())[:, None]
        tokens, lengths = table.laid_out(pieces)
        shape = candidates_BC.shape
        return Answers(tokens.view(*shape, -1), lengths.view(shape))

    def answer(self, item: int, *, candidates: int) -> list[int]:
        """The tokens of an item as an answer.

        Parameters
        ----------
        item : int
            Item id.
        candidates : int
            Number of candidates, on which the length of titles depends.
        """
        table = self._table(candidates)
        piece = int(table.answer(torch.tensor(item)))
        start = int(table.start[piece])
        return table.flat[start : start + int(table.length[piece])].tolist()

    def _fitting(self, table: "_Table", history_BH: Tensor, candidates_BC: Tensor) -> Tensor:
        """The history without the oldest items that have no room."""
        entries_BC = table.length[table.entry(candidates_BC)]
        longest_B = table.length[table.answer(candidates_BC)].amax(1)
        commas = int(table.length[COMMA])
        fixed = int(table.length[[OPEN, ASK, END]].sum())
        C = candidates_BC.shape[1]
        room_B = self._context - fixed - entries_BC.sum(1) - (C - 1) * commas - longest_B
        sizes_BH = torch.where(history_BH > 0, table.length[table.entry(history_BH)] + commas, 0)
        from_here_BH = sizes_BH.flip(1).cumsum(1).flip(1)
        fits_BH = from_here_BH <= (room_B + commas)[:, None]
        self.rows += len(history_BH)
        self.shortened += int(((history_BH > 0) & ~fits_BH).any(1).sum())
        return torch.where(fits_BH, history_BH, 0)

    def _table(self, candidates: int) -> "_Table":
        if candidates not in self._tables:
            soft, comma = int(self._item_tokens), len(self._statics[COMMA])
            fixed = sum(len(self._statics[piece]) for piece in (OPEN, ASK, END)) + 1
            # All candidates with their soft tokens and commas, and one of them again as the answer.
            room = self._context - fixed - candidates * (soft + comma)
            longest = sorted((len(title) for title in self._titles[1:]), reverse=True)[:candidates]
            longest += longest[:1] * (candidates + 1 - len(longest))
            cap = self._most
            while cap > 0 and sum(min(cap, length) for length in longest) > room:
                cap -= 1
            if cap < 1:
                raise ValueError(
                    f"a prompt of {candidates} candidates does not fit into the language model's "
                    f"context of {self._context} positions"
                )
            self.cut_titles = sum(len(title) > cap for title in self._titles[1:])
            titles = [title[:cap] for title in self._titles]
            entries = [
                title + ([USER - item] if self._item_tokens else [])
                for item, title in enumerate(titles)
            ]
            entries[0] = []
            self._tables[candidates] = _Table(
                [*self._statics, *entries, *([*title, self._eos] for title in titles)],
                items=self._items,
            )
        return self._tables[candidates]


class _Table:
    """Pieces back to back: the static ones, the items' entries, the items' answers."""

    def __init__(self, pieces: Sequence[Sequence[int]], *, items: int) -> None:
        self.length = torch.tensor([len(piece) for piece in pieces])
        self.start = self.length.cumsum(0) - self.length
        self.flat = torch.tensor([token for piece in pieces for token in piece])
        self._items = items

    def entry(self, items: Tensor) -> Tensor:
        """The piece of a listed item; padding is nothing."""
        return items + STATICS

    def answer(self, items: Tensor) -> Tensor:
        return items + STATICS + self._items

    def laid_out(self, pieces_BP: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens of each row's pieces in turn, padded with 0 on the right, and their number."""
        B, P = pieces_BP.shape
        sizes = self.length[pieces_BP].flatten()
        source_T = torch.repeat_interleave(torch.arange(B * P), sizes)
        starts = sizes.cumsum(0) - sizes
        offset_T = torch.arange(len(source_T)) - starts[source_T]
        tokens_T = self.flat[self.start[pieces_BP.flatten()[source_T]] + offset_T]
        length_B = sizes.view(B, P).sum(1)
        row_T = source_T // P
        place_T = torch.arange(len(source_T)) - (length_B.cumsum(0) - length_B)[row_T]
        tokens_BL = torch.zeros((B, int(length_B.max())), dtype=torch.int64)
        tokens_BL[row_T, place_T] = tokens_T
        return tokens_BL, length_B
