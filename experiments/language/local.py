"""A language model that is loaded here as what writes answers for a `Client`.

L tokens of a prompt.
"""

import json
from pathlib import Path
from typing import Any

import torch

from experiments.config.language_keys import LLMConfig
from experiments.errors import PaddockError
from experiments.files import hash_of
from experiments.language.gguf_model import COPIES, gguf_folder
from experiments.language.load import dtype_of, load_llm
from experiments.language.writer import Asked, Messages
from models.allmrec.frozen_llm import FrozenLLM

AS_JSON = "Answer with one JSON object of this schema and nothing else: "


class Local:
    """Writes with a causal language model.

    Parameters
    ----------
    llm : FrozenLLM
        The language model with its tokenizer.
    """

    def __init__(self, llm: FrozenLLM) -> None:
        self._llm = llm
        self.identity = f"{llm.name} {llm.config_hash[:16]} {str(llm.dtype).removeprefix('torch.')}"

    @classmethod
    def loaded(cls, keys: LLMConfig, *, folder: Path, device: str = "cpu") -> "Local":
        """The writer with the language model that a configuration names.

        Parameters
        ----------
        keys : LLMConfig
        folder : Path
            Of the prepared data sets; copies of GGUF files lie below it.
        device : str
            Where it computes.

        Raises
        ------
        PaddockError
            The model cannot be loaded, or is the tiny one.
        """
        if keys.is_tiny:
            raise PaddockError(
                "the tiny language model is built from a data set's texts and writes nothing that could be "
                "read: choose llm_client=smollm2 or llm_client.base_url"
            )
        where, made = torch.device(device), None
        if keys.gguf is not None:
            made = gguf_folder(keys, folder=folder / COPIES, dtype=dtype_of(keys, where))
        return cls(load_llm(keys, folder=made, device=where))

    @torch.no_grad()
    def write(self, asked: Asked) -> str:
        """The answer up to the end of the turn; a temperature draws by the hash of the messages.

        Raises
        ------
        PaddockError
            Messages and answer do not fit into the model's context.
        """
        llm, turns = self._llm, [dict(each) for each in asked.messages]
        if asked.schema is not None:
            turns.insert(0, {"role": "system", "content": AS_JSON + json.dumps(asked.schema)})
        tokens_L = self._tokens(turns)
        if len(tokens_L) + asked.max_tokens > llm.context:
            raise PaddockError(
                f"{len(tokens_L)} tokens and an answer of {asked.max_tokens} do not fit into the context of "
                f"{llm.context} tokens of {llm.name}: shorten the messages, lower max_tokens, or "
                "choose another model"
            )
        given = torch.tensor([tokens_L], device=llm.device)
        options: dict[str, Any] = {"do_sample": False}
        if asked.temperature > 0:
            options = {"do_sample": True, "temperature": asked.temperature}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(hash_of(turns)[:8], 16))
            written = llm.model.generate(
                given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=asked.max_tokens,
                pad_token_id=llm.eos,
                eos_token_id=llm.eos,
                **options,
            )
        answer: str = llm.tokenizer.decode(written[0, len(tokens_L) :], skip_special_tokens=True)
        return answer.strip()

    def _tokens(self, turns: Messages) -> list[int]:
        tokenizer = self._llm.tokenizer
        if tokenizer.chat_template:
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            (tokens,) = self._llm.tokens([text])
            return tokens
        # A model without turns goes on with the text.
        (tokens,) = self._llm.tokens(["\n".join(turn["content"] for turn in turns)])
        return [*self._llm.opening(), *tokens]
