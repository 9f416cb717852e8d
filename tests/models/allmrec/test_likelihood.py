"""The likelihood of answers by a shared prompt equals that of every whole text, one at a time."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.allmrec.frozen_llm import POSITIONS_AT_ONCE, FrozenLLM, in_pieces, rank
from models.allmrec.prompt import USER, Prompts

from .conftest import TITLES, WORDS

HISTORIES = torch.tensor(
    [
        [0, 0, 0, 0],  # nobody
        [0, 0, 0, 3],
        [1, 2, 3, 8],
        [7, 6, 5, 9],
    ]
)
CANDIDATES = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [5, 4, 3, 2, 1], [8, 11, 12, 13, 14]])


def soft(llm: FrozenLLM, tokens: Tensor, row: int) -> Tensor:
    """Input embeddings with some vector for the user of each row and for each item."""
    embeds = llm.embed(tokens.clamp(min=0)).clone()
    for place in (tokens < 0).nonzero().flatten().tolist():
        code = int(tokens[place])
        seed = 1000 + row if code == USER else USER - code
        generator = torch.Generator().manual_seed(seed)
        embeds[place] = torch.randn(llm.width, generator=generator)
    return embeds


def one_by_one(llm: FrozenLLM, prompts: Prompts) -> Tensor:
    """A plain forward of each prompt with each answer, all logits, no padding, no cache."""
    answers = prompts.answers(CANDIDATES)
    rows = prompts.build(HISTORIES, CANDIDATES)
    scores = torch.zeros(CANDIDATES.shape)
    for b, c in ((b, c) for b in range(len(CANDIDATES)) for c in range(CANDIDATES.shape[1])):
        prompt = rows.tokens_BL[b, : rows.prompt_B[b]]
        answer = answers.tokens_BCT[b, c, : answers.lengths_BC[b, c]]
        whole = torch.cat([prompt, answer])
        with torch.no_grad():
            logits = llm.model(inputs_embeds=soft(llm, whole, b)[None]).logits[0].float()
        logs = logits.log_softmax(dim=-1)
        for place in range(len(answer)):
            scores[b, c] += logs[len(prompt) + place - 1, answer[place]]
    return scores


@pytest.mark.parametrize("kind", ["gpt2", "opt", "llama", "qwen3"])
def test_a_shared_prompt_gives_the_likelihood_of_whole_texts(
    kind: str, llm_of: Callable[..., FrozenLLM]
) -> None:
    llm = llm_of(kind)
    prompts = Prompts(llm, TITLES, words=WORDS, title_tokens=12)
    rows = prompts.build(HISTORIES, CANDIDATES)
    assert len(set(rows.prompt_B.tolist())) > 1, "rows of one length would test no padding"
    embeds = torch.stack([soft(llm, rows.tokens_BL[b], b) for b in range(len(HISTORIES))])
    found = rank(llm, embeds, rows.prompt_B, prompts.answers(CANDIDATES))
    expected = one_by_one(llm, prompts)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.1
    # One title, one likelihood: the candidates' own soft tokens stand in the prompt alone.
    assert found[0, 1] == pytest.approx(float(found[0, 3]), abs=1e-4)


def test_answers_of_one_token(llm_of: Callable[..., FrozenLLM]) -> None:
    """The end-of-sequence token alone is read off the prompt's last state."""
    from models.allmrec.frozen_llm import Answers

    llm = llm_of()
    tokens = torch.tensor([[5, 6, 7]])
    answers = Answers(torch.tensor([[[9], [4]]]), torch.tensor([[1, 1]]))
    found = rank(llm, llm.embed(tokens), torch.tensor([3]), answers)
    with torch.no_grad():
        logs = llm.model(tokens).logits[0, -1].log_softmax(dim=0)
    torch.testing.assert_close(found[0], logs[[9, 4]], atol=1e-5, rtol=0)


def test_transformers_has_nothing_to_warn_of(
    llm_of: Callable[..., FrozenLLM], caplog: pytest.LogCaptureFixture
) -> None:
    """Names that it deprecates are not used."""
    from transformers.utils import logging

    llm = llm_of("llama")
    prompts = Prompts(llm, TITLES, words=WORDS, title_tokens=12)
    rows = prompts.build(HISTORIES, CANDIDATES)
    embeds = llm.embed(rows.tokens_BL.clamp(min=0))
    logging.warning_once.cache_clear()
    logging.get_logger().addHandler(caplog.handler)
    try:
        rank(llm, embeds, rows.prompt_B, prompts.answers(CANDIDATES))
    finally:
        logging.get_logger().removeHandler(caplog.handler)
    assert caplog.messages == []


def test_rows_come_back_in_their_order() -> None:
    lengths = torch.tensor([3, POSITIONS_AT_ONCE, 1, POSITIONS_AT_ONCE // 2, 2, 7])
    seen: list[list[int]] = []

    def work(rows: Tensor) -> Tensor:
        seen.append(rows.tolist())
        return rows * 10

    found = in_pieces(lengths, torch.ones_like(lengths), work)
    assert found.tolist() == [0, 10, 20, 30, 40, 50]
    assert len(seen) > 1
    for rows in seen:
        assert len(rows) == 1 or len(rows) * (int(lengths[rows].max()) + 1) <= POSITIONS_AT_ONCE
