"""A-LLMRec's prompt, put together from pieces that are tokenised once.

Text between two soft tokens is one string to the tokenizer, as in the authors' code, so that a title's
opening quote merges with the space or the comma before it. A prompt and its answer are two strings.

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
ASKED = " in the previous. Recommend one next {noun} for this user to {verb} next"
REQUEST = ASKED + " from the following {noun} title set, "
ENDING = ". The recommendation is "
NOTHING, OPEN, ASK, OPEN_AND_ASK, END, ALONE = range(6)
"""Pieces before the items': nothing, what every prompt says before its first history item and before its
first candidate, before the latter where there is no history, the ending, the user."""
OLDEST, LISTED, ONLY_LISTED, NEXT, ANSWER = range(5)
"""Pieces of an item: the oldest of a history, the first candidate after a history and without one,
after a comma, as an answer."""


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
    list_candidates : bool
        Whether prompts list the candidates, as the authors' do. A language model tends to repeat what it just read;
        without the list, the likelihood of a title says how well it follows the history.
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
        list_candidates: bool = True,
    ) -> None:
        self._listed = list_candidates
        self._context = llm.context
        self._most = title_tokens
        self._eos = llm.eos
        self._item_tokens = item_tokens
        quoted = [f'"{" ".join(title.split()) or NO_TITLE}"' for title in titles]
        told = (OPENING if user_token else "") + HISTORY.format(**words)
        asked = (REQUEST if list_candidates else ASKED + ENDING).format(**words)
        self._titles = llm.tokens(quoted)
        spaced = llm.tokens([f" {title}" for title in quoted])
        open_, oldest = _joined(llm, told, quoted, ended=spaced)
        if list_candidates:
            ask, listed = _joined(llm, asked, quoted, ended=spaced)
            open_and_ask, only_listed = _joined(llm, told + asked, quoted, ended=spaced)
        else:
            ask, open_and_ask = llm.tokens([asked, told + asked])
            listed = only_listed = oldest
        self._entries = [oldest, listed, only_listed, llm.tokens([f",{title}" for title in quoted])]
        user, (end,) = [USER] if user_token else [], llm.tokens([ENDING])
        opening = user + llm.opening()
        self._statics = [[], opening + open_, ask, opening + open_and_ask, end, [USER]]
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
        oldest_BH = (kept_BH > 0) & (kept_BH.cumsum(1) == kept_BH)
        told_B1 = (kept_BH > 0).any(1, keepdim=True)
        first_B1, others_BX = candidates_BC[:, :1], candidates_BC[:, 1:]
        columns = [
            torch.where(told_B1, OPEN, OPEN_AND_ASK),
            torch.where(oldest_BH, table.of(OLDEST, kept_BH), table.of(NEXT, kept_BH)),
            torch.where(told_B1, ASK, NOTHING),
        ]
        if self._listed:
            columns += [
                torch.where(told_B1, table.of(LISTED, first_B1), table.of(ONLY_LISTED, first_B1)),
                table.of(NEXT, others_BX),
                torch.full_like(first_B1, END),
            ]
        prompt_B = table.length[torch.cat(columns, dim=1)].sum(1)
        if answers_B is not None:
            columns.append(table.of(ANSWER, answers_B)[:, None])
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
        pieces_BP = torch.stack([*columns, table.of(ANSWER, answers_B)], dim=1)
        tokens_BL, length_B = table.laid_out(pieces_BP)
        return Rows(tokens_BL, table.length[pieces_BP[:, :-1]].sum(1), length_B)

    def answers(self, candidates_BC: Tensor, *, candidates: int | None = None) -> Answers:
        """Each candidate as an answer: its quoted title and the end-of-sequence token.

        Parameters
        ----------
        candidates_BC : Tensor
            Item ids, shape (B, C).
        candidates : int, optional
            Candidates of the prompt, on which the length of titles depends; by default C.
        """
        table = self._table(candidates or candidates_BC.shape[1])
        pieces = table.of(ANSWER, candidates_BC.flatten())[:, None]
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
        piece = int(table.of(ANSWER, torch.tensor(item)))
        start = int(table.start[piece])
        return table.flat[start : start + int(table.length[piece])].tolist()

    def _fitting(self, table: "_Table", history_BH: Tensor, candidates_BC: Tensor) -> Tensor:
        """The history without the oldest items that have no room."""
        first_B, others_BX = candidates_BC[:, 0], candidates_BC[:, 1:]
        listed_B = table.size(LISTED, first_B) + table.size(NEXT, others_BX).sum(1)
        if not self._listed:
            listed_B = torch.zeros_like(listed_B)
        longest_B = table.size(ANSWER, candidates_BC).amax(1)
        fixed = int(table.length[[OPEN, ASK, END]].sum())
        room_B = self._context - fixed - listed_B - longest_B
        sizes_BH = table.size(NEXT, history_BH)
        after_BH = sizes_BH.flip(1).cumsum(1).flip(1) - sizes_BH
        from_here_BH = table.size(OLDEST, history_BH) + after_BH
        fits_BH = (history_BH > 0) & (from_here_BH <= room_B[:, None])
        kept_BH = torch.where(fits_BH.cummax(1).values, history_BH, 0)
        self.rows += len(history_BH)
        self.shortened += int((kept_BH != history_BH).any(1).sum())
        return kept_BH

    def _table(self, candidates: int) -> "_Table":
        if candidates not in self._tables:
            cap = self._cap(candidates)
            lost_N = [max(0, len(title) - cap) for title in self._titles]
            self.cut_titles = sum(lost > 0 for lost in lost_N[1:])
            soft_N = [[USER - item] if self._item_tokens else [] for item in range(len(lost_N))]
            # An entry loses as many tokens from its end as the title by itself does.
            entries: dict[int, list[list[int]]] = {
                id(kind): [[]]
                + [
                    tokens[: max(0, len(tokens) - lost)] + soft
                    for tokens, lost, soft in zip(kind[1:], lost_N[1:], soft_N[1:], strict=True)
                ]
                for kind in self._entries
            }
            kinds = [entries[id(kind)] for kind in self._entries]
            kinds.append([[*title[:cap], self._eos] for title in self._titles])
            self._tables[candidates] = _Table(self._statics, kinds)
        return self._tables[candidates]

    def _cap(self, candidates: int) -> int:
        """The most tokens of a title with which any candidates, and no history, fit."""
        title_N, _, _, only_N, next_N = (
            torch.tensor([len(tokens) for tokens in kind[1:]])
            for kind in (self._titles, *self._entries)
        )
        fixed = len(self._statics[OPEN_AND_ASK]) + len(self._statics[END]) + 1
        room = self._context - fixed - candidates * int(self._item_tokens and self._listed)
        for cap in range(self._most, 0, -1):
            lost_N = (title_N - cap).clamp(min=0)
            listed_N, after_N = ((each - lost_N).clamp(min=0) for each in (only_N, next_N))
            longest = after_N.sort(descending=True).values[:candidates]
            missing = candidates - len(longest)
            listed = int(longest.sum()) + missing * int(longest[0])
            more = int((listed_N - after_N).max())
            if not self._listed:
                listed = more = 0
            # All candidates are listed, and one of them is the answer.
            if listed + more + int((title_N - lost_N).max()) <= room:
                return cap
        raise ValueError(
            f"a prompt of {candidates} candidates does not fit into the language model's "
            f"context of {self._context} positions"
        )


def _joined(
    llm: FrozenLLM, before: str, titles: Sequence[str], *, ended: list[list[int]]
) -> tuple[list[int], list[list[int]]]:
    """The tokens of `before` and a title in one string, for every title.

    Most tokenizers never merge across a space that begins a word. Only `before` without its last
    space is then tokenised once, and the titles with it; one title of every first character
    shows whether that is so. Otherwise every title is tokenised with all of `before`.

    Parameters
    ----------
    llm : FrozenLLM
        Its tokenizer.
    before : str
        A text that ends with a space.
    titles : sequence of str
        Quoted titles.
    ended : list of list of int
        The tokens of a space and each title.

    Returns
    -------
    shared : list of int
        The tokens with which all of them begin.
    rest : list of list of int
        Of each title, the tokens after these.
    """
    (shared,) = llm.tokens([before[:-1]])
    probes = list({title[1:2]: place for place, title in enumerate(titles)}.values())
    whole = llm.tokens([before + titles[place] for place in probes])
    if all(shared + ended[place] == told for place, told in zip(probes, whole, strict=True)):
        return shared, ended
    return [], llm.tokens([before + title for title in titles])


class _Table:
    """Pieces back to back: the static ones, then those of every item, one kind after the other."""

    def __init__(
        self, statics: Sequence[Sequence[int]], kinds: Sequence[Sequence[Sequence[int]]]
    ) -> None:
        distinct = {id(kind): kind for kind in kinds}
        firsts = (len(statics) + n * len(kinds[0]) for n in range(len(distinct)))
        first_of = dict(zip(distinct, firsts, strict=True))
        self._first = [first_of[id(kind)] for kind in kinds]
        pieces = [*statics, *(piece for kind in distinct.values() for piece in kind)]
        self.length = torch.tensor([len(piece) for piece in pieces])
        self.start = self.length.cumsum(0) - self.length
        self.flat = torch.tensor([token for piece in pieces for token in piece])

    def of(self, kind: int, items: Tensor) -> Tensor:
        """The pieces of items; padding has none but as an answer."""
        return items + self._first[kind]

    def size(self, kind: int, items: Tensor) -> Tensor:
        """The tokens of these pieces."""
        return self.length[self.of(kind, items)]

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
