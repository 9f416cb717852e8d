"""The last layer at the positions that are read, against the whole model of transformers."""

from collections.abc import Callable

import pytest
import torch

from models.allmrec.frozen_llm import FrozenLLM
from models.allmrec.last_layer import own_modules

from .conftest import NETWORKS

READ = torch.tensor(
    [[False, True, False, False, True, True], [True, False, False, True, False, False]]
)


FOUND = {
    "bloom": {"mlp"},
    "gemma2": {"q_proj", "o_proj", "mlp"},
    "gpt2": {"mlp"},
    "gpt_neox": {"mlp"},
    "gpt_oss": {"q_proj", "o_proj", "mlp"},
    "llama": {"q_proj", "o_proj", "mlp"},
    "opt": {"q_proj", "out_proj", "fc1", "fc2"},
    "phi": {"q_proj", "mlp"},
    "qwen3": {"q_proj", "o_proj", "mlp"},
    "qwen3_moe": {"q_proj", "o_proj", "mlp"},
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_spared_in_each_architecture(kind: str, llm_of: Callable[..., FrozenLLM]) -> None:
    """Another name in transformers would cost the speed and nothing else, so that nobody noticed."""
    model = llm_of(kind).model.base_model
    names = {module: name.rpartition(".")[2] for name, module in model.named_modules()}
    assert {names[module] for module in own_modules(model, 2)} == FOUND[kind]


@pytest.mark.parametrize("kind", NETWORKS)
def test_states_and_gradients_are_those_of_the_whole_model(
    kind: str, llm_of: Callable[..., FrozenLLM]
) -> None:
    llm = llm_of(kind)
    generator = torch.Generator().manual_seed(7)
    embeds_BLH = torch.randn((*READ.shape, llm.width), generator=generator)
    weights = torch.randn((int(READ.sum()), llm.width), generator=generator)
    results = []
    for whole in (False, True):
        given = embeds_BLH.clone().requires_grad_()
        if whole:
            states = llm.model.base_model(inputs_embeds=given).last_hidden_state
        else:
            states = llm.states(given, read_BL=READ).last_hidden_state
        (states[READ] * weights).sum().backward()
        results.append((states[READ].detach(), given.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_rest_is_not_computed(llm_of: Callable[..., FrozenLLM]) -> None:
    """Of the feed-forward part of each layer: all positions in the first, the read ones in the last."""
    llm = llm_of("llama")
    seen = [0, 0]
    for layer, part in enumerate(llm.model.model.layers):

        def count(_, given, output, layer=layer):  # type: ignore[no-untyped-def]
            seen[layer] += given[0].numel() // llm.width

        part.mlp.gate_proj.register_forward_hook(count)
    llm.states(torch.randn(*READ.shape, llm.width), read_BL=READ)
    assert seen == [READ.numel(), int(READ.sum())]


def test_nothing_stays_after_an_error(llm_of: Callable[..., FrozenLLM]) -> None:
    llm = llm_of("llama")
    with pytest.raises(RuntimeError):
        llm.states(torch.randn(2, 6, llm.width + 1), read_BL=READ)
    embeds_BLH = torch.randn(*READ.shape, llm.width)
    assert llm.model.base_model(inputs_embeds=embeds_BLH).last_hidden_state[0, 0].isfinite().all()
    assert not any(module._forward_hooks for module in llm.model.modules())
