"""Which interaction trains, which one validates, which one tests.

Dimensions: R interactions (rows), B users of a block.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from experiments.components.registry import functions
from experiments.config.protocol_keys import check_split
from experiments.config.schema import ProtocolConfig
from experiments.errors import PaddockError
from experiments.protocol.random_bits import random_bits
from experiments.protocol.sequences import Sequences, by_user, sorted_distinct
from experiments.protocol.splits.parts import TEST, TRAIN, VALID, Interactions, Parts, Phase
from paddock import Split as Declaration

__all__ = [
    "TEST",
    "TRAIN",
    "VALID",
    "Interactions",
    "Phase",
    "Sequences",
    "Split",
    "Unseen",
    "split_interactions",
]

PART_OF: dict[str, int] = {"valid": VALID, "test": TEST}


class Unseen(NamedTuple):
    """What a phase asks for that training never showed, and of how many.

    Attributes
    ----------
    users, of_users : int
        Users with a target who have no training interaction, and all users with a target.
    items, of_items : int
        Different items among the targets that have no training interaction, and all of them.
    targets, of_targets : int
        Targets that are such items, and all targets.
    """

    users: int
    of_users: int
    items: int
    of_items: int
    targets: int
    of_targets: int

    @property
    def many(self) -> bool:
        """Whether they are at least one in a hundred users or targets, which is worth a warning."""
        return 100 * self.users >= self.of_users or 100 * self.targets >= self.of_targets

    def __str__(self) -> str:
        return (
            f"{self.users} of {self.of_users} users and {self.items} of {self.of_items} items "
            f"({self.targets} of {self.of_targets} targets) are not in training; all stay in"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Interactions and the part that each belongs to.

    Attributes
    ----------
    row_users, row_items : int32, (R,)
        As in the prepared data: grouped by user, in time order.
    part : int8, (R,)
        0 train, 1 valid, 2 test, 3 in no part, -1 in histories alone.
    parts_hash : str
        Of the data, the split's name and `part`; equal on every machine.
    hash : str
        Of the same and of who is scored.
    scored_users : int | None
        Of the users with a target, so many are scored in each phase, those of the least random
        number; None: all.
    bits_U : uint64, (n_users + 1,), or None
        A random number of every user id.
    holds_users_out : bool
        Whether users are held out of training whole: then no history knows the valid part.
    """

    name: str
    n_users: int
    n_items: int
    row_users: NDArray[np.int32]
    row_items: NDArray[np.int32]
    part: Parts
    hash: str
    parts_hash: str
    scored_users: int | None = None
    bits_U: NDArray[np.uint64] | None = None
    holds_users_out: bool = False
    _made: dict[tuple[str, str], Sequences] = field(default_factory=dict, init=False, repr=False)

    def rows(self, part: int) -> NDArray[np.int64]:
        """Row numbers of one part (TRAIN, VALID or TEST), ascending: int64, (R of the part,)."""
        return np.flatnonzero(self.part == part)

    @property
    def train_users(self) -> NDArray[np.int32]:
        """User of each training interaction."""
        return self.row_users[self.part == TRAIN]

    @property
    def train_items(self) -> NDArray[np.int32]:
        """Item of each training interaction."""
        return self.row_items[self.part == TRAIN]

    def training(self) -> Sequences:
        """The training items of every user, in time order: one row a user id, (n_users + 1)."""
        if ("training", "valid") not in self._made:
            self._made["training", "valid"] = by_user(
                self.train_users, self.train_items, self.n_users
            )
        return self._made["training", "valid"]

    def history(self, phase: Phase) -> Sequences:
        """What is known of every user when the phase is scored, in time order.

        The train rows for "valid"; the train and valid rows for "test". Where the split is not by
        time (random), that may hold what happened after a target. Of users who are held out of training it
        is what the split gives of them, in both phases.

        Parameters
        ----------
        phase : "valid" or "test"

        Returns
        -------
        Sequences
            One row a user id, (n_users + 1).

        Raises
        ------
        PaddockError
            For a phase that is neither "valid" nor "test"; so do the other methods.
        """
        return self._once("history", phase, self._history)

    def targets(self, phase: Phase) -> Sequences:
        """The phase's items of every scored user, in time order; an item that repeats counts once.

        Parameters
        ----------
        phase : "valid" or "test"

        Returns
        -------
        Sequences
            One row a user id, (n_users + 1), empty for those that are not scored.
        """
        return self._once("targets", phase, self._targets)

    def masked(self, phase: Phase) -> Sequences:
        """The items that no target competes with: every user's history without his targets.

        Parameters
        ----------
        phase : "valid" or "test"

        Returns
        -------
        Sequences
            One row a user id, (n_users + 1); each item once, by ascending id.
        """
        return self._once("masked", phase, self._masked)

    def users(self, phase: Phase) -> NDArray[np.int64]:
        """Ids of the users that have a target in the phase and are scored, ascending: int64, (U,).

        Parameters
        ----------
        phase : "valid" or "test"
        """
        return np.flatnonzero(self.targets(phase).lengths)

    def refitted(self) -> "Split":
        """The same interactions with the valid part in training, for a model that is trained again.

        It has no valid part; targets and histories of the test are those of this split.
        """
        content = hashlib.sha256(f"{self.parts_hash}\ntrain and valid".encode())
        scored = hashlib.sha256(f"{self.hash}\ntrain and valid".encode())
        return replace(
            self,
            part=np.where(self.part == VALID, TRAIN, self.part).astype(self.part.dtype),
            parts_hash=content.hexdigest(),
            hash=scored.hexdigest(),
        )

    def unseen(self, phase: Phase) -> Unseen:
        """How many users and items the phase asks for although training never showed them."""
        targets, users = self.targets(phase), self.users(phase)
        new_users = np.bincount(self.train_users, minlength=self.n_users + 1)[users] == 0
        is_new = np.bincount(self.train_items, minlength=self.n_items + 1)[targets.items] == 0
        items = targets.items.astype(np.int64)
        return Unseen(
            users=int(new_users.sum()),
            of_users=len(users),
            items=len(sorted_distinct(items[is_new])),
            of_items=len(sorted_distinct(items)),
            targets=int(is_new.sum()),
            of_targets=len(items),
        )

    def _once(self, what: str, phase: Phase, make: Callable[[Phase], Sequences]) -> Sequences:
        # Validation asks for the same sequences every epoch, and they cost a pass over all rows.
        if phase not in PART_OF:
            raise PaddockError(f"phase {phase!r} is unknown; a phase is valid or test")
        if (what, phase) not in self._made:
            self._made[what, phase] = make(phase)
        return self._made[what, phase]

    def _history(self, phase: Phase) -> Sequences:
        known = self.part < (VALID if self.holds_users_out else PART_OF[phase])
        return by_user(self.row_users[known], self.row_items[known], self.n_users)

    def _targets(self, phase: Phase) -> Sequences:
        rows = self.rows(PART_OF[phase])
        if self.scored_users is not None and self.bits_U is not None:
            able = np.unique(self.row_users[rows])
            chosen = able[np.argsort(self.bits_U[able], kind="stable")[: self.scored_users]]
            rows = rows[np.isin(self.row_users[rows], chosen)]
        users = self.row_users[rows]
        if np.any(users[1:] == users[:-1]):
            _, first = np.unique(self._keys(users, self.row_items[rows]), return_index=True)
            rows = rows[np.sort(first)]
        return by_user(self.row_users[rows], self.row_items[rows], self.n_users)

    def _masked(self, phase: Phase) -> Sequences:
        history, targets = self.history(phase), self.targets(phase)
        keys = sorted_distinct(self._keys(history.row_of_item(), history.items))
        target_keys = self._keys(targets.row_of_item(), targets.items)
        at = np.searchsorted(keys, target_keys)
        again = at[np.append(keys, -1)[at] == target_keys]
        keys = np.delete(keys, again)
        users, items = np.divmod(keys, self.n_items + 1)
        return by_user(users, items.astype(np.int32), self.n_users)

    def _keys(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> NDArray[np.int64]:
        """One number per pair of user and item, in the order of user, then item."""
        return users.astype(np.int64) * (self.n_items + 1) + items


def split_interactions(data: Interactions, protocol: ProtocolConfig) -> Split:
    """Split the data as `protocol.split` says.

    Parameters
    ----------
    data : Interactions
        Of R interactions.
    protocol : ProtocolConfig
        The split, its settings, and how many users are scored.

    Raises
    ------
    PaddockError
        For an unknown split, settings that it cannot work with, or one that leaves no user to train
        on, to validate or to test.
    """
    check_split(protocol)
    name = protocol.split
    component = functions(Declaration)[name]
    assert len(data.indptr) == data.n_users + 2, "indptr runs over the user ids 0 to n_users"
    part = component.load()(data, protocol)
    _check(name, data, part)
    content = hashlib.sha256(f"{data.hash}\n{name}\n".encode())
    content.update(np.ascontiguousarray(part).data)
    split = Split(
        name=name,
        n_users=data.n_users,
        n_items=data.n_items,
        row_users=data.users,
        row_items=data.items,
        part=part,
        hash=content.hexdigest(),
        parts_hash=content.hexdigest(),
        holds_users_out=component.declaration.holds_users_out,
    )
    wanted = protocol.scored_users
    if wanted is None or all(len(split.users(phase)) <= wanted for phase in get_args(Phase)):
        return split
    content.update(f"\n{wanted} users".encode())
    bits_U = random_bits("scored users", data.hash).random_raw(data.n_users + 1)
    return replace(split, hash=content.hexdigest(), scored_users=wanted, bits_U=bits_U)


def _check(name: str, data: Interactions, part: Parts) -> None:
    starts = data.indptr[:-1][np.diff(data.indptr) > 0]
    counts = {
        # A byte a row: the users of the rows would be eight.
        label: np.count_nonzero(np.logical_or.reduceat(part == number, starts))
        for label, number in (("train", TRAIN), ("valid", VALID), ("test", TEST))
    }
    empty = [label for label, count in counts.items() if count == 0]
    if empty:
        found = ", ".join(f"{count} in {label}" for label, count in counts.items())
        raise PaddockError(
            f"protocol.split {name!r} leaves no user in {' and '.join(empty)}: of "
            f"{data.n_users} users with {len(data.users)} interactions there are {found}; "
            f"take more data or loosen dataset.filters"
        )
