"""Training that starts from the weights of a finished run, users and items matched by their ids.

U users, N items (both with padding).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from experiments.data.prepared import Prepared
from experiments.errors import PaddockError


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """The weights of a finished run.

    Attributes
    ----------
    source : str
        The run, as messages name it.
    tensors : mapping of str to Tensor
        As of `model_state`.
    users, items : sequence of str
        The ids of its rows, padding first.
    """

    source: str
    tensors: Mapping[str, Tensor]
    users: Sequence[str]
    items: Sequence[str]

    @torch.no_grad()
    def into(self, model: nn.Module, data: Prepared) -> None:
        """Give a fresh model these parameters.

        Rows of users and items go by their ids. Those that the weights do not know, buffers and counters stay as the
        model drew them.

        Parameters
        ----------
        model : nn.Module
        data : Prepared
            Whose users and items the model has.

        Raises
        ------
        PaddockError
            A parameter is missing, or has another shape that users and items do not explain.
        """
        places = {
            "user": places_of(data.user_tokens, self.users),
            "item": places_of(data.item_tokens, self.items),
        }
        known = {"user": len(self.users), "item": len(self.items)}
        for name, own in model.named_parameters():
            given = self.tensors.get(f"weight/{name}")
            if given is None or given.ndim != own.ndim:
                raise self._unlike(name, own, given)
            rows = [
                _rows(name, places, known, sizes)
                for sizes in zip(given.shape, own.shape, strict=True)
            ]
            if any(row is None for row in rows):
                raise self._unlike(name, own, given)
            found = [row for row in rows if row is not None]
            if not found:
                own.copy_(given)
                continue
            new, old = (np.ix_(*side) for side in zip(*found, strict=True))
            own[new] = given.to(own)[old]

    def _unlike(self, name: str, own: Tensor, given: Tensor | None) -> PaddockError:
        other = "none" if given is None else tuple(given.shape)
        return PaddockError(
            f"warm_start={self.source}: its {name} is {other}, that of this model {tuple(own.shape)}; start from "
            "a run of the same configuration"
        )


def places_of(tokens: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    """The place of each id in another list; 0 where it is not there.

    Parameters
    ----------
    tokens, known : sequence of str
        Padding first.
    """
    of: Mapping[str, int] = {str(token): place for place, token in enumerate(known)}
    return np.array([of.get(str(token), 0) for token in tokens], dtype=np.int64)


def _rows(
    name: str,
    places: Mapping[str, NDArray[np.int64]],
    known: Mapping[str, int],
    sizes: tuple[int, int],
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Which entries of an axis come from which; None where nothing explains its size."""
    given, own = sizes
    fitting = [side for side in places if known[side] == given and len(places[side]) == own]
    if len(fitting) > 1:
        # As many users as items: names tell them apart, those of autoencoders and of heads are of items.
        fitting = ["user" if "user" in name.lower() else "item"]
    if not fitting:
        every = np.arange(own)
        return (every, every) if given == own else None
    old = places[fitting[0]]
    new = np.flatnonzero(old)
    new = np.concatenate(([0], new))  # the padding's
    return new, old[new]
