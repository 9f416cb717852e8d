"""Answers that a language model writes: held to the candidates' titles, or free.

B users, C candidates, L tokens of the longest prompt, H hidden size, V tokens of the vocabulary.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor

from experiments.bridge.candidates import CandidateScorer
from experiments.bridge.dataset import TrainingRows
from experiments.evaluation.shares import mine
from experiments.protocol.candidates import Candidates
from experiments.protocol.split import Split
from experiments.training import ranks
from models.allmrec.frozen_llm import FrozenLLM

USERS_AT_ONCE = 16


class Trie:
    """The answers that may be given, token by token.

    Parameters
    ----------
    answers : sequence of sequences of int
        Token by token.
    """

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        self._root: dict[int, Any] = {}
        for answer in answers:
            node = self._root
            for token in answer:
                node = node.setdefault(token, {})

    def allowed(self, begun: Sequence[int]) -> list[int]:
        """The tokens that may follow; none after a whole answer, or after what begins no answer.

        Parameters
        ----------
        begun : sequence of int
            The tokens so far.
        """
        node = self._root
        for token in begun:
            if token not in node:
                return []
            node = node[token]
        return list(node)


Allowed = Callable[[int, Sequence[int]], list[int] | None]
"""(row, tokens so far) -> tokens that may follow; None for any."""


@torch.no_grad()
def greedy(
    llm: FrozenLLM, embeds_BLH: Tensor, lengths_B: Tensor, *, most: int, allowed: Allowed
) -> list[list[int]]:
    """The likeliest token at a time, up to the end-of-sequence token or `most` tokens.

    Parameters
    ----------
    llm : FrozenLLM
    embeds_BLH : (B, L, H)
        The prompts as input embeddings, padded at the end.
    lengths_B : (B,)
        Tokens of each prompt.
    most : int
        Tokens of an answer.
    allowed : Allowed
        What may follow; where it allows nothing, anything may.

    Returns
    -------
    list of list of int
        The tokens of each answer, the end-of-sequence token included where it was written.
    """
    device = embeds_BLH.device
    B, L = embeds_BLH.shape[:2]
    state_BH, cache = llm.prompted(embeds_BLH, lengths_B)
    prompt_BL = torch.arange(L, device=device) < lengths_B[:, None]
    written: list[list[int]] = [[] for _ in range(B)]
    ended = [False] * B
    for step in range(most):
        logits_BV = llm.logits(state_BH)
        for row in range(B):
            choice = None if ended[row] else allowed(row, written[row])
            if choice is not None and choice:
                kept = torch.full_like(logits_BV[row], -torch.inf)
                kept[choice] = logits_BV[row][choice]
                logits_BV[row] = kept
        tokens = logits_BV.argmax(1).tolist()
        for row, token in enumerate(tokens):
            if not ended[row]:
                written[row].append(token)
                ended[row] = token == llm.eos
        if all(ended):
            break
        seen_B1K = torch.cat([prompt_BL, prompt_BL.new_ones((B, step + 1))], dim=1)[:, None]
        tokens_B1 = torch.tensor(tokens, device=device)[:, None]
        state_BH = llm.continued(
            llm.embed(tokens_B1), (lengths_B + step)[:, None], seen_B1K, cache=cache
        )[:, 0]
    return written


class _Outcome(NamedTuple):
    """One user's answers, measured: see `generation`."""

    constrained: float
    exact: float
    invalid: float


def generation(
    model: AbstractRecommender,
    dataset: TrainingRows,
    split: Split,
    candidates: Mapping[str, Candidates],
) -> dict[str, float]:
    """Hits by written answers, over `generation_users` users spread over the test users.

    generation_constrained/<ranking>/hit_at_1
        The answer is held to the candidates' titles. Of candidates with one title each is meant
        with the same chance.
    generation_free/<ranking>/exact_hit_at_1, generation_free/<ranking>/invalid
        The answer is free: it equals the target's title after normalising; it equals none.

    Parameters
    ----------
    model
        One that reads prompts. Where its `generation_users` is 0, nothing is measured.
    dataset : TrainingRows
        What it was trained on.
    split : Split
    candidates : ranking name -> Candidates
        Of the test phase.

    Returns
    -------
    dict
        The mean over the users of each of the three, from 0 to 1.
    """
    if not model.generation_users:
        return {}
    measured: dict[str, float] = {}
    scorer = CandidateScorer(model, dataset=dataset, history=split.history("test"))
    for name, given in candidates.items():
        n = min(model.generation_users, len(given.users))
        rows = np.unique(np.linspace(0, len(given.users) - 1, n).astype(np.int64))
        outcomes = _outcomes(model, scorer, given, rows)
        constrained, exact, invalid = (
            float(np.mean(column)) for column in zip(*outcomes, strict=True)
        )
        measured |= {
            f"generation_constrained/{name}/hit_at_1": constrained,
            f"generation_free/{name}/exact_hit_at_1": exact,
            f"generation_free/{name}/invalid": invalid,
        }
    return measured


def _outcomes(
    model: AbstractRecommender, scorer: CandidateScorer, given: Candidates, rows: NDArray[np.int64]
) -> list[_Outcome]:
    """The outcomes of rows of the candidate file, in order; processes share them out."""

    def written() -> dict[int, list[_Outcome]]:
        return {
            start: list(_written(model, scorer, given, rows[start : start + USERS_AT_ONCE]))
            for start in mine(range(0, len(rows), USERS_AT_ONCE))
        }

    by_start = {start: each for part in ranks.gathered(written) for start, each in part.items()}
    return [outcome for start in sorted(by_start) for outcome in by_start[start]]


def _written(
    model: AbstractRecommender,
    scorer: CandidateScorer,
    given: Candidates,
    rows_B: NDArray[np.int64],
) -> Iterator[_Outcome]:
    """What the model writes for some rows of the candidate file, held to the titles and free."""
    items_BC = given.items_TC[rows_B].astype(np.int64)
    embeds, lengths = scorer.prompted(given.users[rows_B].astype(np.int64), items_BC)
    answers = [
        [model.prompts.answer(int(item), candidates=items_BC.shape[1]) for item in row]
        for row in items_BC
    ]
    most = max(len(answer) for row in answers for answer in row)
    tries = [Trie(row) for row in answers]
    held = greedy(model.llm, embeds, lengths, most=most, allowed=partial(_held, tries))
    free = greedy(model.llm, embeds, lengths, most=most, allowed=_free)

    def title(answer: Sequence[int]) -> str:
        return normalised(model.llm.tokenizer.decode(answer, skip_special_tokens=True))

    for row, target in enumerate(given.targets[rows_B]):
        meant = items_BC[row] == target
        same = np.array([answer == held[row] for answer in answers[row]])
        written = title(free[row])
        matches = np.array([title(answer) == written for answer in answers[row]])
        yield _Outcome(
            constrained=float((same & meant).any() / max(1, same.sum())),
            exact=float((matches & meant).any() / max(1, matches.sum())),
            invalid=float(not matches.any()),
        )


def _held(tries: Sequence[Trie], row: int, begun: Sequence[int]) -> list[int]:
    return tries[row].allowed(begun)


def _free(row: int, begun: Sequence[int]) -> None:
    """Anything may follow."""


def normalised(text: str) -> str:
    """Lower case, one kind of each character, single blanks, no quotes around."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"\s+", " ", folded).strip(" \"'.")
