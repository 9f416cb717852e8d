"""The language model that needs no hub: built, tokenised and pretrained from the items' own texts.

It proves that every code path runs, never what a pretrained language model would bring. No
interaction is used: the prompts that it is pretrained on are of random items.

B rows, L positions, H width, N items (padding included).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments import files
from experiments.config.language_keys import LLMConfig
from experiments.language.pretrained import silence_transformers
from experiments.locks import lock
from models.allmrec.frozen_llm import FrozenLLM, answer_loss
from models.allmrec.prompt import USER, Prompts, Rows

FORMAT = 3
"""Raise it when the arithmetic changes, so that a kept model is not taken for equal."""

CONTEXT = 2048
END = "</s>"
BARE_SHARE = 0.6
"""The share of the steps, the first ones, that are bare rows: they teach that the user's token counts."""
BARE_ROWS, PROMPT_ROWS, FULL_ROWS = 64, 16, 4
SHAPES = ((0, 4), (2, 4), (3, 6), (2, 8), (10, 20))
"""(history items, candidates) of the prompts, in turns; the last is a full prompt."""
CANDIDATES = 20
TEXT_EVERY, TEXT_ROWS, TEXT_TOKENS = 3, 16, 48
"""Steps between two batches of texts, and their size."""

LEARNING_RATE = 3e-3
NOISE = 0.15
"""Standard deviation of the soft tokens' noise in pretraining, as a share of their own."""


def tiny_folder(
    keys: LLMConfig,
    *,
    titles: Sequence[str],
    texts: Sequence[str],
    words: dict[str, str],
    folder: Path,
) -> Path:
    """The folder of the model for these texts, built if it is not there yet.

    Parameters
    ----------
    keys : LLMConfig
        Size, steps and seed.
    titles, texts : sequence of str
        Of every item; the padding item comes first.
    words : dict
        The prompt's words, `model.words`.
    folder : Path
        Below it the model is kept, by the hash of all that made it.
    """
    size = (keys.layers, keys.width, keys.heads, keys.vocabulary, keys.steps, keys.seed)
    content = {"format": FORMAT, "size": size, "texts": list(texts), "titles": list(titles)}
    path = folder / files.hash_of({**content, "words": words})[:24]
    if not (path / "config.json").exists():
        with lock(path.with_suffix(".lock")):
            if not (path / "config.json").exists():
                with torch.random.fork_rng(devices=[]), files.atomic_folder(path) as unfinished:
                    _build(keys, titles=titles, texts=texts, words=words, folder=unfinished)
    return path


def _build(
    keys: LLMConfig,
    *,
    titles: Sequence[str],
    texts: Sequence[str],
    words: dict[str, str],
    folder: Path,
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    silence_transformers()
    tokenizer = tokenizer_of([*texts, *titles, *_phrases(words)], size=keys.vocabulary)
    torch.manual_seed(keys.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=keys.width,
        intermediate_size=3 * keys.width,
        num_hidden_layers=keys.layers,
        num_attention_heads=keys.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
        initializer_range=0.05,
    )
    model = LlamaForCausalLM(config).float()
    _pretrain(model, tokenizer, keys, titles=titles, texts=texts, words=words)
    # Of several processes of a run, any may hold the lock; transformers would let the first alone write.
    vars(model)["should_save_on_this_rank"] = bool
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def tokenizer_of(texts: Sequence[str], *, size: int) -> Any:
    """A byte-level BPE tokenizer that is trained on texts: nothing is unknown to it, in any script.

    Parameters
    ----------
    texts : sequence of str
    size : int
        Of the vocabulary, at most.

    Returns
    -------
    transformers.PreTrainedTokenizerFast
        END begins, ends and pads.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer=trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, bos_token=END, pad_token=END
    )


def _phrases(words: dict[str, str]) -> list[str]:
    from models.allmrec.prompt import ENDING, HISTORY, OPENING, REQUEST

    # Often, so that the prompt's words are single tokens.
    return 200 * [OPENING, HISTORY.format(**words), REQUEST.format(**words), ENDING, '"', '",']


def _pretrain(
    model: Any,
    tokenizer: Any,
    keys: LLMConfig,
    *,
    titles: Sequence[str],
    texts: Sequence[str],
    words: dict[str, str],
) -> None:
    """Prompts whose soft tokens are sums of title tokens, and the texts as they are.

    The user's token is the answer's sum, with noise, and an item's token is its title's: so the
    model learns that the first position describes the answer, which the user's projection can then
    make use of. Bare rows come first; in full prompts alone it is not learned in time.
    """
    llm = FrozenLLM(
        model, tokenizer, name=keys.name, revision=None, config_hash="", context=CONTEXT
    )
    model.requires_grad_(True).train()
    prompts = Prompts(llm, titles, words=words, title_tokens=16)
    title_tokens = [
        torch.tensor(prompts.answer(item, candidates=CANDIDATES)[:-1])
        for item in range(len(titles))
    ]
    text_tokens = [[*tokens[: TEXT_TOKENS - 1], llm.eos] for tokens in llm.tokens(list(texts)[1:])]
    generator = torch.Generator().manual_seed(keys.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=LEARNING_RATE, total_steps=max(2, keys.steps), pct_start=0.1
    )
    for step in range(keys.steps):
        if step < BARE_SHARE * keys.steps:
            answers_B = torch.randint(1, len(titles), (BARE_ROWS,), generator=generator)
            rows = prompts.bare(answers_B, candidates=CANDIDATES)
        else:
            answers_B, rows = _draw_prompts(
                prompts, SHAPES[step % len(SHAPES)], len(titles), generator
            )
        loss = _answer_loss(llm, rows, answers_B, title_tokens, generator)
        if step % TEXT_EVERY == 0:
            loss = loss + _text_loss(llm, text_tokens, generator)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def _draw_prompts(
    prompts: Prompts, shape: tuple[int, int], n_items: int, generator: torch.Generator
) -> tuple[Tensor, Rows]:
    """Prompts of random items, with one of the candidates as the answer."""
    history, candidates = shape
    size = FULL_ROWS if shape == SHAPES[-1] else PROMPT_ROWS
    items_BX = _draw_items(size, history + candidates, n_items, generator)
    candidates_BC = items_BX[:, history:]
    drawn_B1 = torch.randint(candidates, (size, 1), generator=generator)
    answers_B = candidates_BC.gather(1, drawn_B1)[:, 0]
    return answers_B, prompts.build(items_BX[:, :history], candidates_BC, answers_B)


def _draw_items(rows: int, n: int, n_items: int, generator: torch.Generator) -> Tensor:
    """Different random items in every row, where there are enough."""
    keys = torch.rand((rows, n_items - 1), generator=generator)
    order = keys.argsort(dim=1)[:, :n] + 1
    short = n - order.shape[1]
    return order if short <= 0 else torch.cat([order, order[:, :1].expand(rows, short)], dim=1)


def _answer_loss(
    llm: FrozenLLM,
    rows: Rows,
    answers_B: Tensor,
    title_tokens: Sequence[Tensor],
    generator: torch.Generator,
) -> Tensor:
    """The loss of the answers, with soft tokens made of title tokens and noise."""
    tokens_BL = rows.tokens_BL
    embeds_BLH = llm.embed(tokens_BL.clamp(min=0))
    soft_rows, places = (tokens_BL < 0).nonzero(as_tuple=True)
    codes = tokens_BL[soft_rows, places]
    items = torch.where(codes == USER, answers_B[soft_rows], USER - codes)
    wanted, which = items.unique(return_inverse=True)
    flat = torch.cat([title_tokens[item] for item in wanted.tolist()])
    sizes = torch.tensor([len(title_tokens[item]) for item in wanted.tolist()])
    owner = torch.repeat_interleave(torch.arange(len(wanted)), sizes)
    sums = torch.zeros(len(wanted), llm.width).index_add(0, owner, llm.embed(flat))
    soft = (sums / sizes[:, None].sqrt())[which]
    noise = torch.randn(soft.shape, generator=generator)
    soft = soft + NOISE * soft.detach().std() * noise
    embeds_BLH = embeds_BLH.index_put((soft_rows, places), soft)
    return answer_loss(llm, embeds_BLH, tokens_BL, rows.prompt_B, rows.length_B)


def _text_loss(
    llm: FrozenLLM, text_tokens: Sequence[list[int]], generator: torch.Generator
) -> Tensor:
    """The loss of every next token of texts that are drawn."""
    picked = torch.randint(len(text_tokens), (TEXT_ROWS,), generator=generator).tolist()
    rows = [torch.tensor([llm.eos, *text_tokens[place]]) for place in picked]
    lengths = torch.tensor([len(row) for row in rows])
    tokens_BL = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    read_BL = torch.arange(tokens_BL.shape[1] - 1) < (lengths - 1)[:, None]
    states_BLH = llm.states(llm.embed(tokens_BL[:, :-1]), read_BL=read_BL).last_hidden_state
    return F.cross_entropy(llm.logits(states_BLH[read_BL]), tokens_BL[:, 1:][read_BL])
