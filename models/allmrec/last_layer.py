"""The last layer of a language model, computed at the positions that are read and nowhere else.

All that a position gives to others passes through the keys and values of the layers. So the last
layer's queries, its projection of the attention and its feed-forward part matter only where its
output is read, and that is a small part of a prompt.

B rows, L positions, P positions that are read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

OWN = frozenset({"q_proj", "o_proj", "out_proj", "mlp", "ffn", "feed_forward", "fc1", "fc2"})
"""Names that transformers gives to modules that see one position at a time, after keys and values."""


def own_modules(model: nn.Module, layers: int) -> list[nn.Module]:
    """The outermost modules of a model's last layer whose name is in `OWN`.

    Parameters
    ----------
    model : nn.Module
        The language model without its head.
    layers : int
        Number of its layers.

    Returns
    -------
    list of nn.Module
        Empty where the model has no list of that many layers.
    """
    stacks = (each for each in model.modules() if isinstance(each, nn.ModuleList))
    stack = next((each for each in stacks if len(each) == layers), None)
    return [] if stack is None else list(_outermost(stack[-1]))


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    for name, child in module.named_children():
        if name in OWN:
            yield child
        else:
            yield from _outermost(child)


@contextmanager
def reading(modules: list[nn.Module], read_BL: Tensor) -> Iterator[None]:
    """Let modules compute only at some positions within the block; elsewhere their output is 0.

    Parameters
    ----------
    modules : list of nn.Module
        Modules that treat every position by itself.
    read_BL : Tensor
        True at the positions to compute, shape (B, L).
    """
    places_P = read_BL.flatten().nonzero()[:, 0]
    shapes: dict[nn.Module, Any] = {}

    def gathered(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        shapes[module] = given[0].shape[:-1]
        return tuple(of_read(each) if isinstance(each, Tensor) else each for each in given)

    def of_read(given: Tensor) -> Tensor:
        # Rows and positions in one dimension or in two, as the module takes them.
        lead = (1,) * (given.dim() - 2)
        return given.reshape(-1, given.shape[-1])[places_P].view(*lead, len(places_P), -1)

    def scattered(module: nn.Module, given: tuple[Any, ...], output: Any) -> Any:
        if isinstance(
            output, tuple
        ):  # a mixture of experts also returns its routing, which is not read
            return (scattered(module, given, output[0]), *output[1:])
        output_PH = output.reshape(len(places_P), -1)
        full = output_PH.new_zeros(read_BL.numel(), output_PH.shape[1])
        return full.index_copy(0, places_P, output_PH).view(*shapes[module], -1)

    handles = [each.register_forward_pre_hook(gathered) for each in modules]
    handles += [each.register_forward_hook(scattered) for each in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
