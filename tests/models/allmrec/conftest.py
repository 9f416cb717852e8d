"""Small language models of random weights, in several architectures, with one tokenizer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from experiments.language.tiny import tokenizer_of
from models.allmrec.frozen_llm import FrozenLLM

WORDS = {"noun": "movie", "verb": "watch", "past": "watched"}
TITLES = [
    "",
    "Toy Story",
    "Heat",
    "The Usual Suspects",
    "Heat",
    "",
    "말할 수 없는 비밀",
    "🎬 Film 🍿 with emoji",
    "long " * 300,
    "\t blanks \n and  lines ",
    'A "quoted" title, with, commas',
    *(f"Story number {number}" for number in range(30)),
]
"""Item 0 is padding; 2 and 4 share a title, 5 has none, 8 is of 300 words."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums are split among threads, so that their number changes the last bits."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return tokenizer_of([*TITLES[:8], "This user has watched movie title set"], size=400)


WIDE = {"intermediate_size": 64, "max_position_embeddings": 1024}
NETWORKS: dict[str, dict[str, Any]] = {
    "bloom": {"n_layer": 2, "n_head": 4},
    "gemma2": {**WIDE, "head_dim": 8, "num_key_value_heads": 2},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 1024},
    "gpt_neox": WIDE,
    "gpt_oss": {
        **WIDE, "head_dim": 8, "num_key_value_heads": 2, "num_local_experts": 4,
        "num_experts_per_tok": 2,
    },
    "llama": WIDE,
    "opt": {"ffn_dim": 64, "max_position_embeddings": 1024, "word_embed_proj_dim": 16},
    "phi": WIDE,
    "qwen3": {**WIDE, "head_dim": 8, "num_key_value_heads": 2},
    "qwen3_moe": {
        **WIDE, "head_dim": 8, "num_key_value_heads": 2, "num_experts": 4,
        "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    },
}  # fmt: skip
"""Of each architecture, what its configuration calls its size; the rest is common."""


def network(kind: str, size: int) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    common: dict[str, Any] = {"vocab_size": size, "initializer_range": 0.2}
    if "n_layer" not in NETWORKS[kind]:
        common |= {"num_hidden_layers": 2, "num_attention_heads": 4}
    if "n_embd" not in NETWORKS[kind]:
        common |= {"hidden_size": 32}
    config = AutoConfig.for_model(kind, **common, **NETWORKS[kind])
    return AutoModelForCausalLM.from_config(config)


@pytest.fixture(scope="session")
def llm_of(tokenizer: Any) -> Callable[..., FrozenLLM]:
    def make(kind: str = "llama", *, context: int = 1024) -> FrozenLLM:
        torch.manual_seed(3)
        return FrozenLLM(
            network(kind, len(tokenizer)),
            tokenizer,
            name=kind,
            revision=None,
            config_hash="0" * 64,
            context=context,
        )

    return make
