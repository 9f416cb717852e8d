"""A frozen causal language model, asked for what A-LLMRec needs of it.

B rows, L prompt positions, S packed answer positions, C candidates, H width, V vocabulary, T tokens.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.allmrec.last_layer import own_modules, reading

LOGITS_AT_ONCE = 1 << 23
"""Logits that are held at a time while answers are scored (32 MB of float32)."""

POSITIONS_AT_ONCE = 1 << 13
"""Positions, prompts and packed answers together, that are read at a time."""


def cache_argument(model: nn.Module) -> str:
    """What a model of transformers calls the cache that it goes on from: 5.24 renamed it."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


class FrozenLLM:
    """A causal language model of Hugging Face, in evaluation mode, without gradients of its own.

    It is no nn.Module, so that whoever holds it neither trains nor saves it.

    Attributes
    ----------
    name, revision, config_hash
        What a checkpoint records of it.
    width
        Of an input embedding, H.
    context
        Positions that fit into it.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        revision: str | None,
        config_hash: str,
        context: int,
    ) -> None:
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.name, self.revision, self.config_hash = name, revision, config_hash
        self.context = context
        self._embedding = model.get_input_embeddings()
        self._head = model.get_output_embeddings()
        text = model.config.get_text_config()
        self._last = own_modules(model.base_model, text.num_hidden_layers)
        self._scale = getattr(text, "logit_scale", None)
        self._cap = getattr(text, "final_logit_softcapping", None)

    @property
    def width(self) -> int:
        return self._embedding.weight.shape[1]

    @property
    def vocabulary(self) -> int:
        return self._embedding.weight.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return (
            self._embedding.weight.dtype
            if self._embedding.weight.is_floating_point()
            else (torch.float32)
        )

    @property
    def device(self) -> torch.device:
        return self._embedding.weight.device

    @property
    def eos(self) -> int:
        return int(self.tokenizer.eos_token_id)

    def tokens(self, texts: list[str]) -> list[list[int]]:
        """The tokens of each text, without special ones."""
        if not texts:
            return []
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"]

    def opening(self) -> list[int]:
        """The special tokens that the model's tokenizer puts before a text (OPT: its </s>)."""
        with_special = self.tokenizer("a")["input_ids"]
        plain = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        for start in range(len(with_special) - len(plain) + 1):
            if with_special[start : start + len(plain)] == plain:
                return with_special[:start]
        return []

    def embed(self, tokens: Tensor) -> Tensor:
        return self._embedding(tokens)

    def states(self, embeds_BLH: Tensor, *, read_BL: Tensor, cache: bool = False) -> Any:
        """Hidden states of rows that are padded on the right: the model's own output object.

        No position sees a later one, so that the padding needs no mask, and torch's fused causal
        attention can be taken.

        Parameters
        ----------
        read_BL
            True where a hidden state is wanted; what stands elsewhere means nothing.
        """
        L = embeds_BLH.shape[1]
        places_L = torch.arange(L, device=embeds_BLH.device)
        with reading(self._last, read_BL):
            return self.model.base_model(
                inputs_embeds=embeds_BLH,
                position_ids=places_L.expand(len(embeds_BLH), L),
                use_cache=cache,
            )

    def prompted(self, embeds_BLH: Tensor, lengths_B: Tensor) -> tuple[Tensor, Any]:
        """The hidden state of each prompt's last position (B, H), and the cache of all prompts."""
        places_L = torch.arange(embeds_BLH.shape[1], device=embeds_BLH.device)
        last_BL = places_L == lengths_B[:, None] - 1
        output = self.states(embeds_BLH, read_BL=last_BL, cache=True)
        return output.last_hidden_state[last_BL], output.past_key_values

    def continued(
        self, embeds_BSH: Tensor, positions_BS: Tensor, allowed_BSK: Tensor, *, cache: Any
    ) -> Tensor:
        """Hidden states of positions that follow a cached prompt, each seeing what it is allowed.

        Parameters
        ----------
        allowed_BSK
            True where a position sees a key, of the L cached ones and then of the S others.
        """
        blocked = torch.finfo(embeds_BSH.dtype).min
        mask = torch.zeros(allowed_BSK.shape, dtype=embeds_BSH.dtype, device=embeds_BSH.device)
        mask.masked_fill_(~allowed_BSK, blocked)
        output = self.model.base_model(
            inputs_embeds=embeds_BSH,
            attention_mask=mask[:, None],
            position_ids=positions_BS,
            use_cache=True,
            **{cache_argument(self.model.base_model): cache},
        )
        return output.last_hidden_state

    def logits(self, states: Tensor) -> Tensor:
        """Logits over the vocabulary, float32, of any number of states (..., H)."""
        logits = self._head(states).float()
        if self._scale is not None:
            logits = logits * self._scale
        if self._cap is not None:
            logits = self._cap * torch.tanh(logits / self._cap)
        return logits

    def log_likelihood(self, states_TH: Tensor, tokens_T: Tensor) -> Tensor:
        """log p of each token after the state before it, shape (T,); logits are held in pieces."""
        rows = max(1, LOGITS_AT_ONCE // self.vocabulary)
        parts = []
        for start in range(0, len(tokens_T), rows):
            logits_RV = self.logits(states_TH[start : start + rows])
            wanted_R = logits_RV.gather(1, tokens_T[start : start + rows, None])[:, 0]
            parts.append(wanted_R - logits_RV.logsumexp(dim=1))
        return torch.cat(parts) if parts else states_TH.new_zeros(0)


def answer_loss(
    llm: FrozenLLM, embeds_BLH: Tensor, tokens_BL: Tensor, prompt_B: Tensor, length_B: Tensor
) -> Tensor:
    """Cross-entropy of the tokens from `prompt_B` to `length_B`, the mean over all of the batch."""
    places_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
    answer_BL = (places_L >= prompt_B[:, None]) & (places_L < length_B[:, None])
    # Only what stands one position before the answer is read: the rest of a row is most of it.
    before_BL = answer_BL.roll(-1, dims=1)
    states_BLH = llm.states(embeds_BLH, read_BL=before_BL).last_hidden_state
    return F.cross_entropy(llm.logits(states_BLH[before_BL]), tokens_BL[answer_BL])


class Answers(NamedTuple):
    """The possible answers to each of B prompts, C of them, padded on the right.

    tokens_BCT : int64, with the end-of-sequence token last
    lengths_BC : int64, at least 1
    """

    tokens_BCT: Tensor
    lengths_BC: Tensor


@torch.no_grad()
def rank(
    llm: FrozenLLM,
    embeds_BLH: Tensor,
    lengths_B: Tensor,
    answers: Answers,
) -> Tensor:
    """The log-likelihood of every answer given its prompt, shape (B, C), float32.

    A prompt is read once. Its answers follow it side by side in one row: each sees the cached
    prompt and itself, and counts its positions from the prompt's end, so that nothing is repeated.
    """
    device = embeds_BLH.device
    B, L = embeds_BLH.shape[:2]
    C, T = answers.tokens_BCT.shape[1:]
    last_BH, cache = llm.prompted(embeds_BLH, lengths_B)
    first_BV = llm.logits(last_BH).log_softmax(dim=1)
    total_BC = first_BV.gather(1, answers.tokens_BCT[:, :, 0])
    # Every token but an answer's last is read; the token after it is what its state predicts.
    read_BCT = torch.arange(T, device=device) < (answers.lengths_BC - 1)[:, :, None]
    if not read_BCT.any():
        return total_BC
    rows, owners, offsets = read_BCT.nonzero(as_tuple=True)
    counts_B = read_BCT.sum(dim=(1, 2))
    slots = torch.arange(len(rows), device=device) - (counts_B.cumsum(0) - counts_B)[rows]
    S = int(counts_B.max())
    owner_BS = torch.full((B, S), -1, device=device)
    owner_BS[rows, slots] = owners
    offset_BS = torch.zeros((B, S), dtype=torch.int64, device=device)
    offset_BS[rows, slots] = offsets
    inputs_BS = torch.zeros((B, S), dtype=torch.int64, device=device)
    inputs_BS[rows, slots] = answers.tokens_BCT[rows, owners, offsets]
    prompt_BSL = (torch.arange(L, device=device) < lengths_B[:, None])[:, None].expand(B, S, L)
    own_BSS = owner_BS[:, :, None] == owner_BS[:, None]
    own_BSS = own_BSS & (offset_BS[:, None] <= offset_BS[:, :, None])
    states_BSH = llm.continued(
        llm.embed(inputs_BS),
        lengths_B[:, None] + offset_BS,
        torch.cat([prompt_BSL, own_BSS], dim=2),
        cache=cache,
    )
    next_T = answers.tokens_BCT[rows, owners, offsets + 1]
    gained_T = llm.log_likelihood(states_BSH[rows, slots], next_T)
    return total_BC.flatten().index_add(0, rows * C + owners, gained_T).view(B, C)


def rank_in_pieces(
    llm: FrozenLLM,
    embedded: Callable[[Tensor, int], Tensor],
    prompt_B: Tensor,
    answers: Answers,
) -> Tensor:
    """`rank` for any number of prompts, shape (B, C), where the language model is.

    Parameters
    ----------
    embedded
        Takes row numbers (R,) and a length L and gives those prompts' input embeddings, (R, L, H).
    """

    def work(these_R: Tensor) -> Tensor:
        part = type(answers)(*(values[these_R].to(llm.device) for values in answers))
        embeds_RLH = embedded(these_R, int(prompt_B[these_R].max()))
        return rank(llm, embeds_RLH, prompt_B[these_R].to(llm.device), part)

    return in_pieces(prompt_B, answers.lengths_BC.sum(1), work)


def in_pieces(lengths_B: Tensor, answers_B: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `work` to rows of like lengths at a time and put its rows back in order.

    Parameters
    ----------
    lengths_B, answers_B
        Positions of each row's prompt and of its packed answers.
    work
        Takes row numbers.
    """
    order_B = torch.argsort(lengths_B + answers_B, descending=True, stable=True)
    both_B = (lengths_B + answers_B)[order_B].tolist()
    results, start = [], 0
    while start < len(order_B):
        size = max(1, POSITIONS_AT_ONCE // max(1, both_B[start]))
        results.append(work(order_B[start : start + size]))
        start += size
    stacked = torch.cat(results)
    back = torch.empty_like(stacked)
    back[order_B.to(stacked.device)] = stacked
    return back
