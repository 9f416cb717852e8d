"""Low-rank adapters on a frozen language model that others go on using.

The adapted model is a tree of modules of its own over the same weights: nothing is copied, and the model
that it was made from gives what it always gave.
"""

import copy
import importlib.util
from collections.abc import Callable

import torch
from torch import nn

from experiments.errors import PaddockError
from models.allmrec.frozen_llm import FrozenLLM
from models.llmrec.model import Adapted, Lora

ALL_LINEAR = "all-linear"


def adapted(load: Callable[[], FrozenLLM], lora: Lora) -> Adapted:
    """A language model with fresh adapters, which change nothing yet.

    Parameters
    ----------
    load : callable
        Gives the frozen language model.
    lora : Lora
        Rank, scale and layers. Adapters are float32 whatever the layers are.

    Raises
    ------
    PaddockError
        The package peft is missing, or the model has no layer of such a name.
    """
    if importlib.util.find_spec("peft") is None:
        raise PaddockError("adapters need the package peft: make language, or pip install peft")
    from peft import LoraConfig, inject_adapter_in_model

    # Loading draws numbers the first time alone; adapters are drawn by the run's seed.
    with torch.random.fork_rng(devices=[]):
        base = load()
    shared = {id(each): each for each in (*base.model.parameters(), *base.model.buffers())}
    tree = copy.deepcopy(base.model, shared)
    targets = ALL_LINEAR if lora.targets == (ALL_LINEAR,) else list(lora.targets)
    wanted = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, task_type="CAUSAL_LM"
    )
    try:
        inject_adapter_in_model(wanted, tree)
    except ValueError as error:
        raise PaddockError(
            f"model.lora_targets={list(lora.targets)}: {base.name} has no layers of these names; "
            f"it has {', '.join(linear_names(base.model))}, or take [{ALL_LINEAR}]"
        ) from error
    llm = FrozenLLM(
        tree,
        base.tokenizer,
        name=base.name,
        revision=base.revision,
        config_hash=base.config_hash,
        context=base.context,
    )
    weights = {name: weight for name, weight in tree.named_parameters() if "lora_" in name}
    for weight in weights.values():
        weight.data = weight.data.float()
        weight.requires_grad_(True)
    return Adapted(llm, weights)


def linear_names(model: nn.Module) -> list[str]:
    """The last names of a model's linear layers.

    Parameters
    ----------
    model : nn.Module
        A language model.
    """
    found = (name for name, each in model.named_modules() if isinstance(each, nn.Linear))
    return sorted({name.rpartition(".")[2] for name in found} - {"lm_head"})
