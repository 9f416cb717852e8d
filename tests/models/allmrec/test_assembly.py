"""The prompt against the authors' way of assembling it: one string with placeholders, tokenised at once."""

from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.language.tiny import _phrases, tokenizer_of
from models.allmrec.frozen_llm import FrozenLLM, answer_loss
from models.allmrec.prompt import USER, Prompts

from .conftest import TITLES, WORDS, network

HISTORIES = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 6], [0, 4, 7, 9], [10, 1, 3, 5]])
CANDIDATES = torch.tensor([[1, 2, 3, 7], [10, 5, 9, 4], [7, 3, 2, 10], [9, 6, 11, 12]])
CUT = torch.tensor([[3, 8, 10]])
TARGETS = torch.tensor([2, 10, 3, 6])
PLACEHOLDERS = ["[HistoryEmb]", "[CandidateEmb]"]


@pytest.fixture(scope="module")
def merging() -> Any:
    """A byte-level BPE tokenizer to which a quote after a space or a comma is one token."""
    texts = [
        *TITLES[:8],
        'has watched "Heat" set, "Heat"',
        *(60 * [' "Toy', ',"The', ' "A', ',"A']),
    ]
    return tokenizer_of(texts, size=330)


@pytest.fixture(scope="module")
def across() -> Any:
    """A tokenizer without borders of words: the end of the request merges with a title's beginning."""
    from tokenizers import pre_tokenizers, trainers

    made = tokenizer_of(TITLES[:8], size=300)
    backend = made.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = 60 * ['title set, "Heat"', 'has watched "Story', ',"Heat"']
    backend.train_from_iterator(texts, trainer=trainer)
    apart = made("title set,")["input_ids"] + made(' "Heat"')["input_ids"]
    assert made('title set, "Heat"')["input_ids"] != apart
    return made


def of(tokenizer: Any, kind: str = "opt") -> FrozenLLM:
    torch.manual_seed(4)
    return FrozenLLM(
        network(kind, len(tokenizer)),
        tokenizer,
        name=kind,
        revision=None,
        config_hash="0" * 64,
        context=1024,
    )


def quoted(item: int) -> str:
    return f'"{" ".join(TITLES[item].split()) or "No Title"}"'


def assembled(
    tokenizer: Any, history: list[int], candidates: list[int], *, listed: bool = True
) -> list[int]:
    """A row's prompt: placeholders are special tokens, and stand for items in their order."""
    with_placeholders = deepcopy(tokenizer)
    with_placeholders.add_special_tokens({"additional_special_tokens": PLACEHOLDERS})
    codes = with_placeholders.convert_tokens_to_ids(PLACEHOLDERS)
    seen = ",".join(quoted(item) + "[HistoryEmb]" for item in history)
    offered = ",".join(quoted(item) + "[CandidateEmb]" for item in candidates)
    among = f" from the following movie title set, {offered}" if listed else ""
    text = (
        f" is a user representation.This user has watched {seen} in the previous. Recommend one next "
        f"movie for this user to watch next{among}. The recommendation is "
    )
    items = iter([*history, *(candidates if listed else [])])
    return [USER] + [
        USER - next(items) if token in codes else token
        for token in with_placeholders(text)["input_ids"]
    ]


def soft(llm: FrozenLLM, tokens: list[int], row: int) -> Tensor:
    """Input embeddings, with some vector for every user and item."""
    vectors = []
    for token in tokens:
        seed = torch.Generator().manual_seed(500 + row if token == USER else -token)
        drawn = torch.randn(llm.width, generator=seed)
        vectors.append(drawn if token < 0 else llm.embed(torch.tensor(token)))
    return torch.stack(vectors)


def kept(row: int) -> list[int]:
    return [item for item in HISTORIES[row].tolist() if item]


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("name", ["merging", "across"])
def test_tokens_are_those_of_the_whole_string(
    name: str, listed: bool, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(name)
    prompts = Prompts(of(tokenizer), TITLES, words=WORDS, title_tokens=400, list_candidates=listed)
    rows = prompts.build(HISTORIES, CANDIDATES, TARGETS)
    for b in range(len(HISTORIES)):
        found = rows.tokens_BL[b, : rows.prompt_B[b]].tolist()
        assert found == assembled(tokenizer, kept(b), CANDIDATES[b].tolist(), listed=listed)
        answer = rows.tokens_BL[b, rows.prompt_B[b] : rows.length_B[b]].tolist()
        assert answer == tokenizer(quoted(int(TARGETS[b])) + tokenizer.eos_token)["input_ids"]


def test_unlisted_candidates_take_no_room_from_the_history(merging: Any) -> None:
    llm = of(merging)
    whole = Prompts(llm, TITLES, words=WORDS, title_tokens=8).build(HISTORIES, CANDIDATES, TARGETS)
    llm.context = int(whole.length_B.max()) - 1
    shortened = {}
    for listed in (True, False):
        prompts = Prompts(llm, TITLES, words=WORDS, title_tokens=8, list_candidates=listed)
        prompts.build(HISTORIES, CANDIDATES)
        shortened[listed] = prompts.shortened
    assert shortened[True] > 0
    assert shortened[False] == 0


def test_the_tiny_model_knows_the_whole_prompt_by_words() -> None:
    """What is left out of its phrases falls to pieces, and alters every number on it."""
    tokenizer = tokenizer_of(_phrases(WORDS), size=600)
    prompt = (
        " is a user representation. user has watched in the previous. Recommend one next movie for this user "
        "to watch next from the following movie title set. The recommendation is"
    )
    words = prompt.replace(".", "").replace(",", "").split()
    whole = {word for word in words if len(tokenizer.tokenize(f" {word}")) == 1}
    assert whole == set(words)


def test_a_quote_is_one_token_with_what_stands_before_it(merging: Any) -> None:
    """Of three histories the oldest, of four rows the first candidate, and item 10's own title."""
    prompts = Prompts(of(merging), TITLES, words=WORDS, title_tokens=400)
    tokens = prompts.build(HISTORIES, CANDIDATES).tokens_BL.flatten().tolist()
    merged = merging.convert_tokens_to_ids(['Ġ"', ',"'])
    assert [tokens.count(token) for token in merged] == [3 + 4 + 3, 0 + 2 + 3 + 4 * 3]


def test_the_loss_is_that_of_the_authors_labels(merging: Any) -> None:
    """Cross-entropy of transformers itself, whose labels are -100 but on the answers' tokens."""
    llm = of(merging)
    prompts = Prompts(llm, TITLES, words=WORDS, title_tokens=400)
    rows = prompts.build(HISTORIES, CANDIDATES, TARGETS)
    length = rows.tokens_BL.shape[1]
    embeds = torch.stack(
        [soft(llm, rows.tokens_BL[b].tolist(), b) for b in range(len(rows.prompt_B))]
    )
    found = answer_loss(llm, embeds, rows.tokens_BL, rows.prompt_B, rows.length_B)

    texts = [assembled(merging, kept(b), CANDIDATES[b].tolist()) for b in range(len(HISTORIES))]
    answers = [merging(quoted(int(item)) + merging.eos_token)["input_ids"] for item in TARGETS]
    inputs = torch.zeros((len(texts), length, llm.width))
    labels = torch.full((len(texts), length), -100)
    mask = torch.zeros((len(texts), length), dtype=torch.int64)
    for b, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        whole = [*text, *answer]
        inputs[b, : len(whole)] = soft(llm, whole, b)
        labels[b, len(text) : len(whole)] = torch.tensor(answer)
        mask[b, : len(whole)] = 1
    with torch.no_grad():
        theirs = llm.model(inputs_embeds=inputs, attention_mask=mask, labels=labels).loss
        logits = llm.model(inputs_embeds=inputs, attention_mask=mask).logits
    torch.testing.assert_close(found, theirs, atol=1e-4, rtol=0)
    plain = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=0)


def test_a_cut_title_is_the_same_text_wherever_it_stands(merging: Any) -> None:
    llm = of(merging)
    prompts = Prompts(llm, TITLES, words=WORDS, title_tokens=4)
    told, run = [], list[int]()
    for token in prompts.build(torch.tensor([[8, 10, 3]]), CUT).tokens_BL[0, 1:].tolist():
        if token < 0:
            told.append(llm.tokenizer.decode(run))
            run = []
        else:
            run.append(token)
    assert prompts.cut_titles >= 3
    for text, item in zip(told, [8, 10, 3, 3, 8, 10], strict=True):
        answer = prompts.answer(item, candidates=3)
        assert len(answer) == 5
        cut = llm.tokenizer.decode(answer[:-1])
        assert text.endswith((f" {cut}", f",{cut}"))
