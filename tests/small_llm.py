"""A causal language model of a few thousand random weights: it proves mechanics, and writes nothing that means something."""

import torch

from experiments.language.tiny import tokenizer_of
from models.allmrec.frozen_llm import FrozenLLM


def small_llm(*, context: int) -> FrozenLLM:
    """The model, made anew and the same each time."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer_of(["A film? Alien, Heat and others."], size=300)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=context,
    )  # fmt: skip
    torch.manual_seed(3)
    network = LlamaForCausalLM(config)
    return FrozenLLM(
        network, tokenizer, name="small", revision=None, config_hash="0" * 64, context=context
    )
