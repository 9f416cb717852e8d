"""The frozen networks of A-LLMRec, and its two kinds of small trained networks.

D width of the backbone, J joint width, T width of a text embedding, H width of the language model,
N items (padding included), B batch, L length, H last items.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from models.allmrec.backbone import UNTRAINED, Backbone
from models.allmrec.frozen_llm import FrozenLLM

PARTS = "parts"
"""Key of the config that holds the frozen networks; it is no hyper-parameter."""
CANDIDATES = "candidates"
"""Field of an interaction: the items that the prompt names, in its order."""

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """The frozen networks and the items' texts.

    Attributes
    ----------
    backbone : Backbone
        The frozen recommender.
    texts_NT : Tensor
        Sentence embeddings of the items, shape (N, T).
    titles : sequence of str
        Title of each item, the padding's first.
    interactions_N : Tensor
        Training interactions of each item, shape (N,).
    llm : callable or None
        Loads the language model at the first call and returns it; None where there is none.
    llm_width : int or None
        H, known before the language model is loaded.
    text_encoder : nn.Module or None
        Computes the sentence embeddings from item ids, if it is trained with the model; all other
        parts are frozen.
    """

    backbone: Backbone
    texts_NT: Tensor
    titles: Sequence[str]
    interactions_N: Tensor
    llm: Callable[[], FrozenLLM] | None = None
    llm_width: int | None = None
    text_encoder: nn.Module | None = None


class Autoencoder(nn.Module):
    """A linear layer with a sigmoid into the joint space, and a linear layer back (section 3.1).

    Parameters
    ----------
    width : int
        Width of the input.
    joint : int
        J.
    """

    def __init__(self, width: int, joint: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(width, joint)
        self.decoder = nn.Linear(joint, width)

    def encode(self, values: Tensor) -> Tensor:
        """Values in the joint space.

        Parameters
        ----------
        values : Tensor
            Shape (..., width).

        Returns
        -------
        Tensor
            Shape (..., J), from 0 to 1.
        """
        return self.encoder(values).sigmoid()

    def decode(self, joint: Tensor) -> Tensor:
        """The reconstructed values.

        Parameters
        ----------
        joint : Tensor
            Shape (..., J).

        Returns
        -------
        Tensor
            Shape (..., width).
        """
        return self.decoder(joint)


class AverageUser(nn.Module):
    """The mean of the user states that were trained on, saved with the weights.

    Parameters
    ----------
    width : int
        D.
    """

    state_D: Tensor
    seen: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("state_D", torch.zeros(width))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, states_BD: Tensor) -> None:
        """Include more states in the mean.

        Parameters
        ----------
        states_BD : Tensor
            User states, shape (B, D).
        """
        self.seen += len(states_BD)
        self.state_D += (states_BD - self.state_D).sum(0) / self.seen


class UntilChanged(Generic[Made]):
    """Caches a value computed from a module's weights until one of them changes."""

    def __init__(self) -> None:
        self._kept: tuple[list[int], Made] | None = None

    def __call__(self, make: Callable[[], Made], module: nn.Module) -> Made:
        # torch counts the changes of a tensor: a step and a load both add one.
        version = [weight._version for weight in (*module.parameters(), *module.buffers())]
        if self._kept is None or self._kept[0] != version:
            self._kept = (version, make())
        return self._kept[1]


def projection(width: int, to: int, activation: nn.Module) -> nn.Sequential:
    """Two layers into the language model's input space, with Xavier-normal weights (section 3.2).

    Parameters
    ----------
    width : int
        Width of the input.
    to : int
        H.
    activation : nn.Module
        Between the layers.
    """
    layers = nn.Sequential(nn.Linear(width, to), nn.LayerNorm(to), activation, nn.Linear(to, to))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
    return layers


def similarity(states_BD: Tensor, items_BD: Tensor, *, dot: bool) -> Tensor:
    """Similarity of users and items: the paper's product, or the mean of the authors' code.

    Parameters
    ----------
    states_BD : Tensor
        User states, shape (B, D).
    items_BD : Tensor
        Item embeddings, shape (B, D).
    dot : bool
        Whether the products of the entries are added up; otherwise they are averaged.

    Returns
    -------
    Tensor
        Shape (B,).
    """
    products_BD = states_BD * items_BD
    return products_BD.sum(1) if dot else products_BD.mean(1)


def last_items(items_BL: Tensor, lengths_B: Tensor, n: int) -> Tensor:
    """The last n items of each row, oldest first, padded with 0 in front.

    Parameters
    ----------
    items_BL : Tensor
        Item ids in time order, shape (B, L), padded with 0 on the right.
    lengths_B : Tensor
        Items of each row, shape (B,).
    n : int
        H, the items to take.

    Returns
    -------
    Tensor
        Shape (B, H).
    """
    places_BH = lengths_B[:, None] + torch.arange(-n, 0, device=items_BL.device)
    return items_BL.gather(1, places_BH.clamp(min=0)) * (places_BH >= 0)


def bytes_of(identity: str) -> Tensor:
    """A SHA-256 as a tensor, so that it can be a buffer of a model.

    Parameters
    ----------
    identity : str
        64 hexadecimal digits.

    Returns
    -------
    Tensor
        uint8, shape (32,).
    """
    return torch.tensor(list(bytes.fromhex(identity)), dtype=torch.uint8)


def one_of(key: str, value: object, known: tuple[str, ...]) -> str:
    """The value of a key, if it is one of the known ones.

    Parameters
    ----------
    key : str
        Name of the key, for the message.
    value : object
        Its value.
    known : tuple of str
        All possible values.

    Raises
    ------
    ValueError
        If the value is unknown.
    """
    if value not in known:
        raise ValueError(f"{key} must be one of {', '.join(known)}, not {value!r}")
    return str(value)


class TrainedOn:
    """Weights that name the recommender and the language model they were trained on.

    Stands before RecBole's class among the bases; the model has `llm`, and calls `name_networks`.
    """

    llm: FrozenLLM
    backbone_id: Tensor
    register_buffer: Callable[..., None]

    def name_networks(self) -> None:
        """Add the two names to the weights, as bytes; the recommender's is not known yet."""
        self.register_buffer("backbone_id", bytes_of(UNTRAINED))
        self.register_buffer("llm_id", bytes_of(self.llm.config_hash))

    def load_state_dict(self, state: Mapping[str, Any], *given: Any, **named: Any) -> Any:
        """As of any module.

        Parameters
        ----------
        state : mapping of str to Tensor
            What learned, and the two names.
        *given, **named
            As torch takes them.

        Raises
        ------
        ValueError
            It was trained on another language model.
        """
        if not torch.equal(state["llm_id"].cpu(), bytes_of(self.llm.config_hash)):
            raise ValueError(
                f"the weights were trained on another language model than {self.llm.name}"
            )
        return super().load_state_dict(state, *given, **named)  # type: ignore[misc]

    def use_backbone(self, identity: str) -> None:
        """Load the weights of an identity into the frozen recommender.

        Parameters
        ----------
        identity : str
            64 hexadecimal digits.
        """
        self.backbone_id.copy_(bytes_of(identity))
