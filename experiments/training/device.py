"""Where a run computes, and in which precision it trains there."""

import torch

from experiments.components.registry import strategy_config
from experiments.config.resolve import ResolvedModel
from experiments.errors import PaddockError


def device_of(name: str) -> torch.device:
    """`auto` is the GPU if there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and int(name[5:] or 0) >= torch.cuda.device_count():
        raise PaddockError(
            f"device={name}: there are {torch.cuda.device_count()} GPUs; choose cpu or auto"
        )
    return torch.device(name)


def precision_of(asked: str, *, device: torch.device, resolved: ResolvedModel) -> torch.dtype:
    """The precision of a model's training steps; validation and scores are float32 always.

    Parameters
    ----------
    asked
        "auto" is bfloat16 on a GPU that computes it, where a stage of the model gains from it.
    resolved
        The model.
    """
    gains = any(strategy_config(name).mixed_precision for name in resolved.strategies)
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    if gains and (asked == "bfloat16" or (asked == "auto" and able)):
        return torch.bfloat16
    return torch.float32
