"""What A-LLMRec is made from, frozen all of it, and its two kinds of small networks.

D width of the backbone, J joint width, T width of a text embedding, H width of the language model,
N items (padding included), B batch, L length, H last items.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from models.allmrec.backbone import Backbone
from models.allmrec.frozen_llm import FrozenLLM

PARTS = "parts"
"""Key of the config under which the frozen networks come; it is no hyper-parameter."""
CANDIDATES = "candidates"
"""Field of an interaction: the items that the prompt names, in its order."""

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """The frozen networks and the items' texts; whoever makes the model puts them into its config.

    Attributes
    ----------
    texts_NT
        Sentence embeddings of the items.
    text_encoder
        What makes them from item ids, where it is to learn along; it alone is not frozen.
    titles
        By item, the padding's first.
    interactions_N
        Training interactions of each item.
    llm
        Gives the language model, which is loaded when it is first asked for; None where there is
        none.
    llm_width
        H, known before the language model is loaded.
    """

    backbone: Backbone
    texts_NT: Tensor
    titles: Sequence[str]
    interactions_N: Tensor
    llm: Callable[[], FrozenLLM] | None = None
    llm_width: int | None = None
    text_encoder: nn.Module | None = None


class Autoencoder(nn.Module):
    """To the joint space through a sigmoid, and back (section 3.1)."""

    def __init__(self, width: int, joint: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(width, joint)
        self.decoder = nn.Linear(joint, width)

    def encode(self, values: Tensor) -> Tensor:
        return self.encoder(values).sigmoid()

    def decode(self, joint: Tensor) -> Tensor:
        return self.decoder(joint)


class AverageUser(nn.Module):
    """The mean of the user states that were learned from, saved with the weights."""

    state_D: Tensor
    seen: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("state_D", torch.zeros(width))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, states_BD: Tensor) -> None:
        self.seen += len(states_BD)
        self.state_D += (states_BD - self.state_D).sum(0) / self.seen


class UntilChanged(Generic[Made]):
    """Keeps what was made of a module's weights until one of them changes."""

    def __init__(self) -> None:
        self._kept: tuple[list[int], Made] | None = None

    def __call__(self, make: Callable[[], Made], module: nn.Module) -> Made:
        # torch counts the changes of a tensor: a step and a load both add one.
        version = [weight._version for weight in (*module.parameters(), *module.buffers())]
        if self._kept is None or self._kept[0] != version:
            self._kept = (version, make())
        return self._kept[1]


def projection(width: int, to: int, activation: nn.Module) -> nn.Sequential:
    """Two layers to the width of the language model, their weights Xavier-normal (section 3.2)."""
    layers = nn.Sequential(nn.Linear(width, to), nn.LayerNorm(to), activation, nn.Linear(to, to))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
    return layers


def similarity(states_BD: Tensor, items_BD: Tensor, *, dot: bool) -> Tensor:
    """How near users and items are, (B,): the paper's product, or the mean of the authors' code."""
    products_BD = states_BD * items_BD
    return products_BD.sum(1) if dot else products_BD.mean(1)


def last_items(items_BL: Tensor, lengths_B: Tensor, n: int) -> Tensor:
    """The last n items of left-aligned rows, oldest first, 0 in front where there are fewer."""
    places_BH = lengths_B[:, None] + torch.arange(-n, 0, device=items_BL.device)
    return items_BL.gather(1, places_BH.clamp(min=0)) * (places_BH >= 0)


def bytes_of(identity: str) -> Tensor:
    """A SHA-256 in hexadecimal as a tensor, so that it is kept among the weights."""
    return torch.tensor(list(bytes.fromhex(identity)), dtype=torch.uint8)


def one_of(key: str, value: object, known: tuple[str, ...]) -> str:
    """The value, if it is known."""
    if value not in known:
        raise ValueError(f"{key} must be one of {', '.join(known)}, not {value!r}")
    return str(value)
