"""Where a run computes, and in which precision it trains there.

Both are part of a run's identity and are therefore found without torch where they can be: importing it
takes longer than all else that a finished run needs when it is asked for again.
"""

import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import processes
from experiments.components.registry import strategy_config
from experiments.config.resolve import ResolvedModel
from experiments.errors import PaddockError

if TYPE_CHECKING:
    import torch

DEVICE_FILES = ("nvidia*", "nvhost*", "nvgpu*", "dxg", "kfd")
"""In /dev, where a driver of a GPU runs: NVIDIA's, of a Jetson, under Windows, AMD's."""

DRIVER = "libcuda.so.1"
"""The library of NVIDIA's driver, without which no CUDA program finds a GPU."""


def device_name(name: str) -> str:
    """The device of a name as torch spells it; `auto` is the GPU if there is one.

    Parameters
    ----------
    name : str
        "auto", "cpu", "cuda" or "cuda:N".

    Raises
    ------
    PaddockError
        If there is no such GPU.
    """
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return "cpu"
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and int(name[5:] or 0) >= torch.cuda.device_count():
        raise PaddockError(
            f"device={name}: there are {torch.cuda.device_count()} GPUs; choose cpu or auto"
        )
    return name


def own_device(name: str) -> str:
    """The device of this process, of several that train one run: each has a GPU of its own.

    Parameters
    ----------
    name : str
        As `device_name` gives it.

    Raises
    ------
    PaddockError
        If one GPU is named, or this machine has fewer than processes.
    """
    if processes.size() == 1 or name == "cpu":
        return name
    if ":" in name:
        raise PaddockError(
            f"device={name} is one GPU, and each of {processes.size()} processes takes one of its "
            "own: choose device=cuda"
        )
    return device_name(f"{name}:{processes.local_rank()}")


def may_have_gpu(devices: Path = Path("/dev")) -> bool:
    """False where torch can find no GPU, as no driver of one is there; torch knows the rest.

    Parameters
    ----------
    devices : Path
        The folder of the system's device files.
    """
    if not sys.platform.startswith("linux"):
        return True
    if any(True for pattern in DEVICE_FILES for _ in devices.glob(pattern)):
        return True
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


def precision_name(name: str, *, device: str, resolved: ResolvedModel) -> str:
    """The precision of a model's training steps, "float32" or "bfloat16".

    Validation and scores are always float32.

    Parameters
    ----------
    name : str
        "auto", "float32" or "bfloat16"; "auto" is bfloat16 on a GPU that supports it, if a strategy
        of the model gains from it.
    device : str
        Where the model is trained, as `device_name` gives it.
    resolved : ResolvedModel
        The model.
    """
    if name == "float32" or not any(
        strategy_config(each).mixed_precision for each in resolved.strategies
    ):
        return "float32"
    if name == "auto":
        name = "bfloat16" if device.startswith("cuda") and _takes_bfloat16() else "float32"
    return name


def _takes_bfloat16() -> bool:
    import torch

    return torch.cuda.is_bf16_supported()


def device_of(name: str) -> "torch.device":
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
    import torch

    return torch.device(device_name(name))


def precision_of(name: str, *, device: "torch.device", resolved: ResolvedModel) -> "torch.dtype":
    """The precision of a model's training steps, as `precision_name` names it.

    Parameters
    ----------
    name : str
        "auto", "float32" or "bfloat16".
    device : torch.device
        Where the model is trained.
    resolved : ResolvedModel
        The model.
    """
    import torch

    precision = precision_name(name, device=device.type, resolved=resolved)
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
