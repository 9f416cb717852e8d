"""Which interaction trains, which one validates, which one tests.

Dimensions: R interactions (rows), B users of a block.
"""

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from experiments.config import ProtocolConfig
from experiments.errors import PaddockError

TRAIN, VALID, TEST = 0, 1, 2
Phase = Literal["valid", "test"]
_PART_OF: dict[str, int] = {"valid": VALID, "test": TEST}


class Interactions(Protocol):
    """What the protocol reads of a prepared data set.

    Rows are grouped by user, ascending, and in time order inside a user; ids start at 1, because 0
    is the padding. The rows of user u are indptr[u]:indptr[u + 1].
    """

    @property
    def users(self) -> NDArray[np.int32]: ...
    @property
    def items(self) -> NDArray[np.int32]: ...
    @property
    def indptr(self) -> NDArray[np.int64]: ...
    @property
    def n_users(self) -> int: ...
    @property
    def n_items(self) -> int: ...
    @property
    def hash(self) -> str: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences:
    """Items by row, stored back to back; a row is a user id unless `take` chose the rows.

    Attributes
    ----------
    indptr : int64, (rows + 1,)
        The items of row r are items[indptr[r]:indptr[r + 1]]. For rows that are user ids there are
        n_users + 1 of them, and row 0, the padding, is empty.
    items : int32
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Items of each row."""
        return np.diff(self.indptr)

    def of(self, row: int) -> NDArray[np.int32]:
        """The items of one row, in order."""
        return self.items[self.indptr[row] : self.indptr[row + 1]]

    def row_of_item(self) -> NDArray[np.int64]:
        """The row of every entry of `items`."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows_B: NDArray[np.integer]) -> "Sequences":
        """The given rows, in the given order, as rows 0 to B - 1."""
        starts, lengths = self.indptr[rows_B], self.indptr[np.asarray(rows_B) + 1]
        lengths = lengths - starts
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        positions = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        return Sequences(indptr=indptr, items=self.items[positions])


def sorted_distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every number once, ascending: `np.unique` through a sort, which beats its hashing tenfold."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), dtype=bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def _sequences(users: NDArray[np.integer], items: NDArray[np.int32], n_users: int) -> Sequences:
    """Rows grouped by user, ascending, as one sequence per user id."""
    counts = np.bincount(users, minlength=n_users + 1)
    return Sequences(indptr=np.concatenate(([0], np.cumsum(counts))), items=items)


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Interactions and the part that each belongs to.

    Attributes
    ----------
    row_users, row_items : int32, (R,)
        As in the prepared data: grouped by user, in time order.
    part : int8, (R,)
        0 train, 1 valid, 2 test.
    hash : str
        Of the data, the split's name and `part`; equal on every machine.
    """

    name: str
    n_users: int
    n_items: int
    row_users: NDArray[np.int32]
    row_items: NDArray[np.int32]
    part: NDArray[np.int8]
    hash: str
    _made: dict[tuple[str, str], Sequences] = field(default_factory=dict, init=False, repr=False)

    def rows(self, part: int) -> NDArray[np.int64]:
        """Row numbers of one part (TRAIN, VALID or TEST), ascending."""
        return np.flatnonzero(self.part == part)

    @property
    def train_users(self) -> NDArray[np.int32]:
        return self.row_users[self.part == TRAIN]

    @property
    def train_items(self) -> NDArray[np.int32]:
        return self.row_items[self.part == TRAIN]

    def history(self, phase: Phase) -> Sequences:
        """What is known of every user when the phase is scored, in time order.

        The train rows for "valid"; the train and valid rows for "test".
        """
        return self._once("history", phase, self._history)

    def targets(self, phase: Phase) -> Sequences:
        """The phase's items of every user, in time order; an item that repeats counts once."""
        return self._once("targets", phase, self._targets)

    def masked(self, phase: Phase) -> Sequences:
        """The items out of competition: every user's history without his targets.

        Each item once, by ascending id.
        """
        return self._once("masked", phase, self._masked)

    def users(self, phase: Phase) -> NDArray[np.int64]:
        """Ids of the users that have a target in the phase, ascending."""
        return np.flatnonzero(self.targets(phase).lengths)

    def _once(self, what: str, phase: Phase, make: Callable[[Phase], Sequences]) -> Sequences:
        # Validation asks for the same sequences every epoch, and they cost a pass over all rows.
        if phase not in _PART_OF:
            raise PaddockError(f"phase {phase!r} is unknown; a phase is valid or test")
        if (what, phase) not in self._made:
            self._made[what, phase] = make(phase)
        return self._made[what, phase]

    def _history(self, phase: Phase) -> Sequences:
        known = self.part < _PART_OF[phase]
        return _sequences(self.row_users[known], self.row_items[known], self.n_users)

    def _targets(self, phase: Phase) -> Sequences:
        rows = self.rows(_PART_OF[phase])
        users = self.row_users[rows]
        if np.any(users[1:] == users[:-1]):
            _, first = np.unique(self._keys(users, self.row_items[rows]), return_index=True)
            rows = rows[np.sort(first)]
        return _sequences(self.row_users[rows], self.row_items[rows], self.n_users)

    def _masked(self, phase: Phase) -> Sequences:
        history, targets = self.history(phase), self.targets(phase)
        keys = sorted_distinct(self._keys(history.row_of_item(), history.items))
        target_keys = self._keys(targets.row_of_item(), targets.items)
        at = np.searchsorted(keys, target_keys)
        again = at[np.append(keys, -1)[at] == target_keys]
        keys = np.delete(keys, again)
        users, items = np.divmod(keys, self.n_items + 1)
        return _sequences(users, items.astype(np.int32), self.n_users)

    def _keys(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> NDArray[np.int64]:
        """One number per pair of user and item, in the order of user, then item."""
        return users.astype(np.int64) * (self.n_items + 1) + items


def split_interactions(data: Interactions, protocol: ProtocolConfig) -> Split:
    """Split the data as `protocol.split` says.

    Raises
    ------
    PaddockError
        For an unknown split, or one that leaves no user to train on, to validate or to test.
    """
    name = protocol.split
    if name not in SPLITS:
        nearest = difflib.get_close_matches(name, SPLITS, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; known: {', '.join(SPLITS)}"
        raise PaddockError(f"protocol.split: {name!r} is unknown{hint}")
    assert len(data.indptr) == data.n_users + 2, "indptr runs over the user ids 0 to n_users"
    part = SPLITS[name](data, protocol).astype(np.int8)
    _check(name, data, part)
    content = hashlib.sha256(f"{data.hash}\n{name}\n".encode())
    content.update(part.tobytes())
    return Split(
        name=name,
        n_users=data.n_users,
        n_items=data.n_items,
        row_users=data.users,
        row_items=data.items,
        part=part,
        hash=content.hexdigest(),
    )


def _check(name: str, data: Interactions, part: NDArray[np.int8]) -> None:
    counts = {
        label: np.count_nonzero(np.bincount(data.users[part == number]))
        for label, number in (("train", TRAIN), ("valid", VALID), ("test", TEST))
    }
    empty = [label for label, count in counts.items() if count == 0]
    if empty:
        told = ", ".join(f"{count} in {label}" for label, count in counts.items())
        raise PaddockError(
            f"protocol.split {name!r} leaves no user in {' and '.join(empty)}: of "
            f"{data.n_users} users with {len(data.users)} interactions there are {told}; "
            f"take more data or loosen dataset.filters"
        )


def _leave_one_out(data: Interactions, protocol: ProtocolConfig) -> NDArray[np.int8]:
    """The last interaction tests, the one before validates, all others train.

    A user with fewer than three interactions only trains, for nothing would be left of him to
    train on.
    """
    after = data.indptr[data.users + 1] - 1 - np.arange(len(data.users))
    part = np.select([after == 0, after == 1], [TEST, VALID], TRAIN)
    part[np.diff(data.indptr)[data.users] < 3] = TRAIN
    return part.astype(np.int8)


SPLITS: dict[str, Callable[[Interactions, ProtocolConfig], NDArray[np.int8]]] = {
    "loo": _leave_one_out,
}
