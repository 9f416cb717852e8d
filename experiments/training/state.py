"""Everything that training changes, as named tensors and plain values.

A state is a pair: tensors by name, and JSON values. RecBole models keep part of what they learn
outside their state_dict (RaCT's annealing counter, Pop's item counts): both are gathered here, so
that a resumed run continues as if it had never stopped.
"""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

Tensors = dict[str, Tensor]
PLAIN = (bool, int, float)


def model_state(model: nn.Module) -> tuple[Tensors, dict[str, Any]]:
    """Parameters and buffers, RecBole's "other parameters", and numbers kept as attributes.

    Parameters
    ----------
    model : nn.Module
        Any RecBole model.

    Returns
    -------
    tensors
        Copies of all tensors, by kind and name.
    plain
        Plain values (JSON).

    Raises
    ------
    TypeError
        If the model lists a parameter of a kind that no tensor can hold.
    """
    tensors = {f"weight/{name}": value.detach().clone() for name, value in _weights(model)}
    plain: dict[str, Any] = {"numbers": _numbers(model), "none": [], "sparse": {}}
    for name in getattr(model, "other_parameter_name", ()):
        value = getattr(model, name)
        if isinstance(value, nn.Module):
            continue  # DIN lists a layer, whose weights are gathered above
        if value is None:
            plain["none"].append(name)
        elif isinstance(value, Tensor) and value.layout == torch.strided:
            tensors[f"other/{name}"] = value.detach().clone()
        elif isinstance(value, np.ndarray):
            tensors[f"array/{name}"] = torch.from_numpy(np.array(value))
        elif sp.issparse(value):
            csr = value.tocsr()
            plain["sparse"][name] = list(csr.shape)
            for part in ("data", "indices", "indptr"):
                tensors[f"sparse/{name}/{part}"] = torch.from_numpy(np.array(getattr(csr, part)))
        else:
            raise TypeError(f"{type(model).__name__}.{name} is a {type(value).__name__}")
    return tensors, plain


def load_model_state(model: nn.Module, tensors: Mapping[str, Tensor], plain: Any) -> None:
    """Load what `model_state` returned into a model, on the model's own devices.

    Parameters
    ----------
    model : nn.Module
        The model; its state is replaced.
    tensors : mapping of str to Tensor
        Tensors by kind and name.
    plain : dict
        Plain values (JSON).
    """
    named: dict[str, dict[str, Tensor]] = {"weight": {}, "other": {}, "array": {}, "sparse": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition("/")
        named[kind][rest] = value
    model.load_state_dict(named["weight"])
    device = next(iter(model.parameters())).device
    for name, value in named["other"].items():
        setattr(model, name, value.clone().to(device))
    for name, value in named["array"].items():
        setattr(model, name, value.numpy().copy())
    for name, shape in plain["sparse"].items():
        parts = tuple(
            named["sparse"][f"{name}/{part}"].numpy() for part in ("data", "indices", "indptr")
        )
        setattr(model, name, sp.csr_matrix(parts, shape=shape))
    for name in plain["none"]:
        setattr(model, name, None)
    modules = dict(model.named_modules())
    for path, numbers in plain["numbers"].items():
        for name, value in numbers.items():
            setattr(modules[path], name, value)


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """The state of an optimizer.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Any optimizer of torch's.

    Returns
    -------
    tensors
        Copies of its tensors, as "index/name".
    plain
        Parameter groups, and the numbers of its state.
    """
    content = optimizer.state_dict()
    tensors: Tensors = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, values in content["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}/{name}"] = value.detach().clone()
            else:
                numbers.setdefault(str(index), {})[name] = value
    return tensors, {"groups": content["param_groups"], "numbers": numbers}


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], plain: Any
) -> None:
    """Load what `optimizer_state` returned into an optimizer.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimizer; its state is replaced.
    tensors : mapping of str to Tensor
        Tensors as "index/name".
    plain : dict
        Parameter groups and numbers.
    """
    state: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in plain["numbers"].items()
    }
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": plain["groups"]})


def random_state(generators: Mapping[str, torch.Generator]) -> tuple[Tensors, dict[str, Any]]:
    """The states of every random source: Python's, numpy's, torch's (each device), and named ones.

    Parameters
    ----------
    generators : mapping of str to torch.Generator
        torch generators by name.

    Returns
    -------
    tensors
        The states as tensors, by source.
    plain
        The parts of numpy's and Python's states that are no tensors.
    """
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        **{f"generator/{name}": source.get_state() for name, source in generators.items()},
    }
    for index, state in enumerate(torch.cuda.get_rng_state_all()):
        tensors[f"cuda/{index}"] = state
    version, internal, python_gauss = random.getstate()
    return tensors, {
        "numpy": [kind, position, has_gauss, gauss],
        "python": [version, list(internal), python_gauss],
    }


def load_random_state(
    generators: Mapping[str, torch.Generator], tensors: Mapping[str, Tensor], plain: Any
) -> None:
    """Set every random source to what `random_state` returned.

    Parameters
    ----------
    generators : mapping of str to torch.Generator
        torch generators by name; their states are replaced.
    tensors : mapping of str to Tensor
        The states as tensors, by source.
    plain : dict
        The rest of numpy's and Python's states.
    """
    torch.set_rng_state(tensors["torch"])
    kind, position, has_gauss, gauss = plain["numpy"]
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((kind, keys, position, has_gauss, gauss))  # noqa: NPY002
    version, internal, python_gauss = plain["python"]
    random.setstate((version, tuple(internal), python_gauss))
    for name, source in generators.items():
        source.set_state(tensors[f"generator/{name}"])
    for index in range(torch.cuda.device_count()):
        torch.cuda.set_rng_state(tensors[f"cuda/{index}"], index)


def seed_everything(seed: int) -> None:
    """Seed the global random sources of Python, numpy and torch, all of which RecBole draws from.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def _weights(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, value) for name, value in model.state_dict().items() if _is_tensor(value)]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _numbers(model: nn.Module) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path, module in model.named_modules():
        numbers = {
            name: value
            for name, value in vars(module).items()
            if type(value) in PLAIN and name != "training" and not name.startswith("_")
        }
        if numbers:
            found[path] = numbers
    return found
