"""Written answers: held to a trie of titles, or free."""

from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st

from experiments.evaluation.generation import Trie, greedy, normalised
from models.allmrec.frozen_llm import FrozenLLM
from models.allmrec.prompt import Prompts

from .conftest import TITLES, WORDS


def whole_paths(trie: Trie) -> set[tuple[int, ...]]:
    found, open_ = set(), [()]
    while open_:
        begun = open_.pop()
        allowed = trie.allowed(begun)
        if not allowed:
            found.add(begun)
        open_ += [(*begun, token) for token in allowed]
    return found


@given(st.lists(st.lists(st.integers(1, 5), max_size=6), min_size=1, max_size=8))
def test_a_trie_admits_exactly_the_answers(titles: list[list[int]]) -> None:
    answers = [(*title, 0) for title in titles]  # one may begin another; the end tells them apart
    assert whole_paths(Trie(answers)) == set(answers)
    assert Trie(answers).allowed([9]) == []


def test_a_held_answer_is_always_a_candidate(llm_of: Callable[..., FrozenLLM]) -> None:
    llm = llm_of("gpt2")
    prompts = Prompts(llm, TITLES, words=WORDS, title_tokens=20)
    candidates = torch.tensor([[1, 2, 3, 4], [6, 7, 8, 10], [12, 13, 14, 15]])
    rows = prompts.build(torch.zeros((3, 2), dtype=torch.int64), candidates)
    embeds = llm.embed(rows.tokens_BL.clamp(min=0))
    answers = [[prompts.answer(int(i), candidates=4) for i in row] for row in candidates]
    tries = [Trie(row) for row in answers]
    held = greedy(
        llm, embeds, rows.prompt_B, most=40, allowed=lambda row, begun: tries[row].allowed(begun)
    )
    assert all(held[row] in answers[row] for row in range(3))


def test_free_answers_are_those_of_a_plain_greedy_loop(llm_of: Callable[..., FrozenLLM]) -> None:
    llm = llm_of("opt")
    tokens = torch.tensor([[5, 6, 7, 8, 9], [9, 8, 7, 0, 0]])
    lengths = torch.tensor([5, 3])
    found = greedy(llm, llm.embed(tokens), lengths, most=8, allowed=lambda row, begun: None)
    for row in range(2):
        text = tokens[row, : lengths[row]].tolist()
        for token in found[row]:
            with torch.no_grad():
                logits = llm.model(torch.tensor([text])).logits[0, -1]
            assert int(logits.argmax()) == token
            text.append(token)


def test_normalised() -> None:
    assert normalised(' "The  Usual\nSuspects". ') == normalised("the usual suspects")
    assert normalised("ＨＥＡＴ") == "heat"
    assert normalised("Heat 2") != normalised("Heat")
