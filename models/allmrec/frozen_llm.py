"""A frozen causal language model with the operations that A-LLMRec needs.

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
    """The name by which a model of transformers takes and gives its cache: 5.24 renamed it.

    Parameters
    ----------
    model : nn.Module
        A model of transformers.
    """
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


class FrozenLLM:
    """A causal language model of Hugging Face, in evaluation mode, without gradients of its own.

    It is no nn.Module, so that a model that holds it neither trains nor saves it.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The causal language model; its gradients are switched off.
    tokenizer : transformers.PreTrainedTokenizerBase
        Its tokenizer.
    name : str
        Name of the model, which a checkpoint records.
    revision : str or None
        Commit of the hub, which a checkpoint records.
    config_hash : str
        SHA-256 of what determines its weights, which a checkpoint records.
    context : int
        The most positions that it reads.

    Attributes
    ----------
    width : int
        H, of an input embedding.
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
        """The tokens of each text, without special ones.

        Parameters
        ----------
        texts : list of str
            Any number of texts.
        """
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
        """Input embeddings of tokens.

        Parameters
        ----------
        tokens : Tensor
            Numbers of the vocabulary, any shape.

        Returns
        -------
        Tensor
            The shape of `tokens`, and H.
        """
        return self._embedding(tokens)

    def states(self, embeds_BLH: Tensor, *, read_BL: Tensor, cache: bool = False) -> Any:
        """Hidden states of rows that are padded on the right.

        No position attends to a later one. Padding on the right therefore needs no mask, and torch's
        fused causal attention is used.

        Parameters
        ----------
        embeds_BLH : Tensor
            Input embeddings, shape (B, L, H).
        read_BL : Tensor
            True where a hidden state is read, shape (B, L); elsewhere the output means nothing.
        cache : bool
            Whether the output holds the keys and values of all layers.

        Returns
        -------
        object
            The output of the transformers model, with `last_hidden_state` of shape (B, L, H).
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
        """The hidden state of each prompt's last position, and the cache of all prompts.

        Parameters
        ----------
        embeds_BLH : Tensor
            Input embeddings of the prompts, shape (B, L, H), padded on the right.
        lengths_B : Tensor
            Positions of each prompt, shape (B,).

        Returns
        -------
        states_BH : Tensor
            Shape (B, H).
        cache : object
            Keys and values, as transformers holds them.
        """
        places_L = torch.arange(embeds_BLH.shape[1], device=embeds_BLH.device)
        last_BL = places_L == lengths_B[:, None] - 1
        output = self.states(embeds_BLH, read_BL=last_BL, cache=True)
        return output.last_hidden_state[last_BL], output[cache_argument(self.model.base_model)]

    def continued(
        self, embeds_BSH: Tensor, positions_BS: Tensor, allowed_BSK: Tensor, *, cache: Any
    ) -> Tensor:
        """Hidden states of positions that follow a cached prompt.

        Parameters
        ----------
        embeds_BSH : Tensor
            Input embeddings of the positions, shape (B, S, H).
        positions_BS : Tensor
            Position numbers, shape (B, S).
        allowed_BSK : Tensor
            True where a position attends to a key: the L cached ones, then the S new ones; shape
            (B, S, L + S).
        cache : object
            Keys and values of the prompts.

        Returns
        -------
        Tensor
            Shape (B, S, H).
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
        """Logits over the vocabulary.

        Parameters
        ----------
        states : Tensor
            Hidden states, shape (..., H).

        Returns
        -------
        Tensor
            float32, shape (..., V).
        """
        logits = self._head(states).float()
        if self._scale is not None:
            logits = logits * self._scale
        if self._cap is not None:
            logits = self._cap * torch.tanh(logits / self._cap)
        return logits

    def log_likelihood(self, states_TH: Tensor, tokens_T: Tensor) -> Tensor:
        """The log-probability of each token after the state before it.

        Logits are computed for some tokens at a time, which bounds the memory.

        Parameters
        ----------
        states_TH : Tensor
            Hidden states, shape (T, H).
        tokens_T : Tensor
            The tokens that follow them, shape (T,).

        Returns
        -------
        Tensor
            Shape (T,), natural logarithm.
        """
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
    """Cross-entropy of the answers' tokens, averaged over the tokens of the batch.

    Parameters
    ----------
    llm : FrozenLLM
        The language model.
    embeds_BLH : Tensor
        Input embeddings of prompts with their answers, shape (B, L, H), padded on the right.
    tokens_BL : Tensor
        The same as tokens, shape (B, L).
    prompt_B : Tensor
        Positions of each prompt, shape (B,); the answer begins there.
    length_B : Tensor
        Positions of each prompt with its answer, shape (B,).

    Returns
    -------
    Tensor
        A scalar.
    """
    places_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
    answer_BL = (places_L >= prompt_B[:, None]) & (places_L < length_B[:, None])
    # Only the positions just before an answer's tokens are read, a small part of a row.
    before_BL = answer_BL.roll(-1, dims=1)
    states_BLH = llm.states(embeds_BLH, read_BL=before_BL).last_hidden_state
    return F.cross_entropy(llm.logits(states_BLH[before_BL]), tokens_BL[answer_BL])


class Answers(NamedTuple):
    """The possible answers to each of B prompts, C of them, padded on the right.

    tokens_BCT : int64, with the end-of-sequence token last
    lengths_BC : int64, at least 1

    Attributes
    ----------
    tokens_BCT : Tensor
        int64, shape (B, C, T); an answer's last token is the end of sequence.
    lengths_BC : Tensor
        int64, shape (B, C), at least 1.
    """

    tokens_BCT: Tensor
    lengths_BC: Tensor


def likelihoods(
    llm: FrozenLLM,
    embeds_BLH: Tensor,
    lengths_B: Tensor,
    answers: Answers,
) -> Tensor:
    """The log-likelihood of every answer given its prompt.

    A prompt is read once. All its answers are packed into one row after it. Each answer attends to
    the cached prompt and to itself, and its positions count from the prompt's end.

    Parameters
    ----------
    llm : FrozenLLM
        The language model.
    embeds_BLH : Tensor
        Input embeddings of the prompts, shape (B, L, H), padded on the right.
    lengths_B : Tensor
        Positions of each prompt, shape (B,).
    answers : Answers
        The possible answers to each prompt.

    Returns
    -------
    Tensor
        float32, shape (B, C).
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


@torch.no_grad()
def rank(llm: FrozenLLM, embeds_BLH: Tensor, lengths_B: Tensor, answers: Answers) -> Tensor:
    """What `likelihoods` gives, without gradients.

    Parameters
    ----------
    llm, embeds_BLH, lengths_B, answers
        As of `likelihoods`.
    """
    return likelihoods(llm, embeds_BLH, lengths_B, answers)


def rank_in_pieces(
    llm: FrozenLLM,
    embedded: Callable[[Tensor, int], Tensor],
    prompt_B: Tensor,
    answers: Answers,
) -> Tensor:
    """Apply `rank` to any number of prompts, some at a time.

    Parameters
    ----------
    llm : FrozenLLM
        The language model.
    embedded : callable
        Takes row numbers (R,) and a length L, and returns the input embeddings of these prompts,
        shape (R, L, H).
    prompt_B : Tensor
        Positions of each prompt, shape (B,).
    answers : Answers
        The possible answers to each prompt.

    Returns
    -------
    Tensor
        float32, shape (B, C), on the device of the language model.
    """

    def work(these_R: Tensor) -> Tensor:
        part = type(answers)(*(values[these_R].to(llm.device) for values in answers))
        embeds_RLH = embedded(these_R, int(prompt_B[these_R].max()))
        return rank(llm, embeds_RLH, prompt_B[these_R].to(llm.device), part)

    return in_pieces(prompt_B, answers.lengths_BC.sum(1), work)


def in_pieces(lengths_B: Tensor, answers_B: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to rows of similar lengths at a time, and return its results in order.

    Parameters
    ----------
    lengths_B : Tensor
        Positions of each row's prompt, shape (B,).
    answers_B : Tensor
        Positions of each row's packed answers, shape (B,).
    work : callable
        Takes row numbers (R,) and returns a tensor with R rows.

    Returns
    -------
    Tensor
        B rows.
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
