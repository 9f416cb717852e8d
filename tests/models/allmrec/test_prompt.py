"""The prompt, against the sentence of the paper put together as a string."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.allmrec.frozen_llm import FrozenLLM
from models.allmrec.prompt import USER, Prompts

from .conftest import TITLES, WORDS


def spelled(llm: FrozenLLM, tokens: Tensor) -> str:
    """The text of a row, [user] for the user's soft token and [i] for item i's."""
    text, run = "", []
    for token in [*tokens.tolist(), None]:
        if token is None or token < 0:
            text += llm.tokenizer.decode(run)
            run = []
            if token is not None:
                text += "[user]" if token == USER else f"[{USER - token}]"
        else:
            run.append(token)
    return text


SHORT = ["", *"abcdefghijklmnopqrst"]


def title(item: int, titles: list[str] = TITLES) -> str:
    return " ".join(titles[item].split()) or "No Title"


def by_hand(history: list[int], candidates: list[int], titles: list[str] = TITLES) -> str:
    listed = ",".join(f'"{title(item, titles)}"[{item}]' for item in history)
    offered = ",".join(f'"{title(item, titles)}"[{item}]' for item in candidates)
    return (
        f"[user] is a user representation.This user has watched {listed} in the previous. "
        "Recommend one next movie for this user to watch next from the following movie title set, "
        f"{offered}. The recommendation is "
    )


def test_the_prompt_is_the_papers(llm_of: Callable[..., FrozenLLM]) -> None:
    llm = llm_of()
    prompts = Prompts(llm, TITLES, words=WORDS, title_tokens=100)
    histories = torch.tensor([[0, 0, 0], [0, 0, 4], [3, 6, 7], [0, 10, 9]])
    candidates = torch.tensor([[1, 2], [5, 7], [11, 6], [10, 3]])
    answers = torch.tensor([2, 5, 6, 10])
    rows = prompts.build(histories, candidates, answers)
    for b in range(4):
        prompt = rows.tokens_BL[b, : rows.prompt_B[b]]
        kept = [item for item in histories[b].tolist() if item]
        assert spelled(llm, prompt) == by_hand(kept, candidates[b].tolist())
        answer = rows.tokens_BL[b, rows.prompt_B[b] : rows.length_B[b]]
        assert spelled(llm, answer) == f'"{title(int(answers[b]))}"</s>'
        assert not rows.tokens_BL[b, rows.length_B[b] :].any()
    assert prompts.shortened == 0
    alone = prompts.build(histories, candidates)
    assert torch.equal(alone.prompt_B, rows.prompt_B)
    assert torch.equal(alone.length_B, rows.prompt_B)


def test_an_opening_token_of_the_tokenizer_opens_the_text(
    llm_of: Callable[..., FrozenLLM],
) -> None:
    """OPT's tokenizer puts </s> before a text."""
    from tokenizers.processors import TemplateProcessing

    llm = llm_of()
    backend = llm.tokenizer.backend_tokenizer
    before = backend.post_processor
    backend.post_processor = TemplateProcessing(
        single="</s> $A", special_tokens=[("</s>", llm.eos)]
    )
    try:
        assert llm.opening() == [llm.eos]
        prompts = Prompts(llm, TITLES, words=WORDS, title_tokens=100)
        rows = prompts.build(torch.tensor([[1]]), torch.tensor([[1, 2]]))
        told = spelled(llm, rows.tokens_BL[0])
    finally:
        backend.post_processor = before
    assert told.startswith("[user]</s> is a user representation.This user")
    assert told.count("</s>") == 1


@pytest.mark.parametrize(("user", "items"), [(False, True), (True, False), (False, False)])
def test_soft_tokens_can_be_left_out(
    user: bool, items: bool, llm_of: Callable[..., FrozenLLM]
) -> None:
    llm = llm_of()
    prompts = Prompts(
        llm, TITLES, words=WORDS, title_tokens=100, user_token=user, item_tokens=items
    )
    rows = prompts.build(torch.tensor([[3, 6]]), torch.tensor([[1, 2]]))
    expected = by_hand([3, 6], [1, 2])
    if not user:
        expected = expected.removeprefix("[user] is a user representation.")
    if not items:
        for item in (1, 2, 3, 6):
            expected = expected.replace(f"[{item}]", "")
    assert spelled(llm, rows.tokens_BL[0]) == expected


def test_the_oldest_items_go_where_the_context_is_short(llm_of: Callable[..., FrozenLLM]) -> None:
    history, candidates = [11, 12, 13, 14, 15, 16], [1, 2, 3]
    whole = Prompts(llm_of(), SHORT, words=WORDS, title_tokens=5)
    needed = int(whole.build(torch.tensor([history]), torch.tensor([candidates])).prompt_B[0])
    answer = max(len(whole.answer(item, candidates=3)) for item in candidates)
    kept_before = len(history)
    for context in range(needed + answer, needed - 28, -7):
        llm = llm_of(context=context)
        prompts = Prompts(llm, SHORT, words=WORDS, title_tokens=5)
        rows = prompts.build(torch.tensor([[0, *history], [0] * 7]), torch.tensor([candidates] * 2))
        told = spelled(llm, rows.tokens_BL[0, : rows.prompt_B[0]])
        kept = next(k for k in range(7) if told == by_hand(history[6 - k :], candidates, SHORT))
        assert rows.prompt_B[0] + answer <= context
        assert kept <= kept_before
        assert prompts.shortened == int(kept < 6), "the empty history loses nothing"
        kept_before = kept
    assert kept_before < 4


def test_nothing_is_dropped_that_fits_exactly(llm_of: Callable[..., FrozenLLM]) -> None:
    history, candidates = torch.tensor([[11, 12, 13]]), torch.tensor([[1, 2, 3]])
    whole = Prompts(llm_of(), TITLES, words=WORDS, title_tokens=100)
    needed = int(whole.build(history, candidates).prompt_B[0])
    needed += max(len(whole.answer(item, candidates=3)) for item in (1, 2, 3))
    for context, lost in ((needed, 0), (needed - 1, 1)):
        prompts = Prompts(llm_of(context=context), TITLES, words=WORDS, title_tokens=100)
        prompts.build(history, candidates)
        assert prompts.shortened == lost


def test_long_titles_are_cut(llm_of: Callable[..., FrozenLLM]) -> None:
    llm = llm_of()
    prompts = Prompts(llm, TITLES, words=WORDS, title_tokens=9)
    answer = prompts.answer(8, candidates=20)
    assert len(answer) == 10
    assert answer[-1] == llm.eos
    assert llm.tokenizer.decode(answer[:-1]) == llm.tokenizer.decode(
        llm.tokens([f'"{title(8)}"'])[0][:9]
    )
    assert prompts.cut_titles >= 1


def test_titles_are_cut_further_where_the_candidates_do_not_fit(
    llm_of: Callable[..., FrozenLLM],
) -> None:
    prompts = Prompts(llm_of(context=300), TITLES, words=WORDS, title_tokens=32)
    candidates = torch.arange(8, 28)[None]
    rows = prompts.build(torch.tensor([[1, 2, 3]]), candidates)
    longest = int(prompts.answers(candidates).lengths_BC.max())
    assert rows.prompt_B[0] + longest <= 300
    with pytest.raises(ValueError, match="200 candidates does not fit"):
        prompts.build(torch.tensor([[1]]), torch.ones((1, 200), dtype=torch.int64))
