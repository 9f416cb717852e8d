"""Where a run computes, and in which precision it trains there."""

import torch

from experiments.components.registry import strategy_config
from experiments.config.resolve import ResolvedModel
from experiments.errors import PaddockError


def device_of(name: str) -> torch.device:
    """The device of a name; `auto` is the GPU if there is one.

    Parameters
    ----------
    name : str
        "auto", "cpu", "cuda" or "cuda:N".

    Raises
    ------
    PaddockError
        If there is no such GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and int(name[5:] or 0) >= torch.cuda.device_count():
        raise PaddockError(
            f"device={name}: there are {torch.cuda.device_count()} GPUs; choose cpu or auto"
        )
    return torch.device(name)


def precision_of(name: str, *, device: torch.device, resolved: ResolvedModel) -> torch.dtype:
    """The precision of a model's training steps.

    Validation and scores are always float32.

    Parameters
    ----------
    name : str
        "auto", "float32" or "bfloat16"; "auto" is bfloat16 on a GPU that supports it, if a strategy
        of the model gains from it.
    device : torch.device
        Where the model is trained.
    resolved : ResolvedModel
        The model.
    """
    gains = any(strategy_config(each).mixed_precision for each in resolved.strategies)
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    if gains and (name == "bfloat16" or (name == "auto" and able)):
        return torch.bfloat16
    return torch.float32
