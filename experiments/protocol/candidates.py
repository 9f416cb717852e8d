"""The frozen candidate file: which items a target competes with, drawn once for every model.

Dimensions: T targets (rows of the file), C candidates of a row (the target included), M = C - 1
negatives, S rows drawn at a time.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from experiments import files
from experiments.errors import FailedError, PaddockError
from experiments.locks import lock
from experiments.protocol.random_bits import random_bits
from experiments.protocol.sequences import sorted_distinct
from experiments.protocol.split import Interactions, Phase, Split

# Rows drawn at a time. It bounds the memory, and since the generator is read in this rhythm it is
# part of what a seed means: another value draws other candidates.
_ROWS_AT_A_TIME = 8192
_META = b"paddock"
Meta = dict[str, str | int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """The candidates of every target of a phase, ordered by user.

    Attributes
    ----------
    users, targets : int32, (T,)
    items_TC : int32, (T, C)
        Each row holds its target once, at a random place, and items that the user never had.
    hash : str
        SHA-256 of the three arrays.
    """

    users: NDArray[np.int32]
    targets: NDArray[np.int32]
    items_TC: NDArray[np.int32]
    hash: str


def candidates(
    data: Interactions, split: Split, phase: Phase, *, size: int, seed: int, folder: Path
) -> Candidates:
    """Read the candidate file of the phase, after drawing and saving it if there is none.

    Parameters
    ----------
    data : Interactions
    split : Split
        Of the data.
    phase : "valid" or "test"
    size : int
        C, items of a row, the target included.
    seed : int
        Names the draw: the same seed and split give the same file on every machine.
    folder : Path
        Where the file is kept. Its name holds the phase, the size, the seed and the split's hash.

    Raises
    ------
    PaddockError
        If a user has too few items that he never had, or if a saved file is damaged.
    """
    if size < 2:
        raise PaddockError(f"a ranking of {size} candidates has nothing to rank; take 2 or more")
    path = Path(folder) / f"{phase}-c{size}-s{seed}-{split.hash[:16]}.parquet"
    meta: Meta = {"phase": phase, "size": size, "seed": seed, "split": split.hash}
    if not path.exists():
        with lock(path.with_suffix(".lock")):
            if not path.exists():
                _save(_draw(data, split, phase, size=size, seed=seed), path, meta)
    return _load(path, meta)


def _draw(data: Interactions, split: Split, phase: Phase, *, size: int, seed: int) -> Candidates:
    sequences = split.targets(phase)
    users = sequences.row_of_item().astype(np.int32)
    seen = _Seen(data)
    _check_enough(seen, users, size)
    bits = random_bits(seed, phase, split.hash)
    items_TC = np.empty((len(users), size), dtype=np.int32)
    for start in range(0, len(users), _ROWS_AT_A_TIME):
        chunk = slice(start, start + _ROWS_AT_A_TIME)
        ranks_SM = _distinct(bits, seen.n_unseen[users[chunk]], size - 1)
        negatives_SM = seen.unseen_items(users[chunk], ranks_SM)
        items_TC[chunk] = _insert(bits, negatives_SM, sequences.items[chunk])
    return Candidates(
        users=users,
        targets=sequences.items,
        items_TC=items_TC,
        hash=_hash(users, sequences.items, items_TC),
    )


class _Seen:
    """The items that each user has interacted with, in any part, and by them those he has not."""

    def __init__(self, data: Interactions) -> None:
        self._stride = data.n_items + 1
        keys = sorted_distinct(data.users.astype(np.int64) * self._stride + data.items)
        users, items = np.divmod(keys, self._stride)
        counts = np.bincount(users, minlength=data.n_users + 1)
        self.n_items = data.n_items
        self.n_unseen = data.n_items - counts
        self._starts = np.concatenate(([0], np.cumsum(counts)))
        # For every seen item the number of unseen ones below it. Inside a user it never falls, so
        # one search over all users finds how many seen items lie below the n-th unseen one.
        place = np.arange(len(keys)) - self._starts[users]
        self._unseen_below = users * self._stride + (items - 1 - place)

    def unseen_items(
        self, users_S: NDArray[np.integer], ranks_SM: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The item at each 0-based rank among a user's unseen items by ascending id."""
        wanted = users_S.astype(np.int64)[:, None] * self._stride + ranks_SM
        seen_below = np.searchsorted(self._unseen_below, wanted.ravel(), side="right")
        return 1 + ranks_SM + seen_below.reshape(wanted.shape) - self._starts[users_S][:, None]


def _check_enough(seen: _Seen, users: NDArray[np.int32], size: int) -> None:
    short = np.flatnonzero(seen.n_unseen[users] < size - 1)
    if len(short):
        user = int(users[short[0]])
        raise PaddockError(
            f"a ranking of {size} candidates needs {size - 1} items that the user never had, but "
            f"user {user} never had only {seen.n_unseen[user]} of {seen.n_items} items (so or "
            f"worse for {len(np.unique(users[short]))} users); take fewer candidates"
        )


def _below(bits: np.random.Philox, bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """A uniform integer from 0 to bound - 1 for every bound.

    The remainder of 64 random bits: uneven by less than bound / 2**64.
    """
    raw = bits.random_raw(bounds.size).reshape(bounds.shape)
    return (raw % bounds.astype(np.uint64)).astype(np.int64)


def _distinct(bits: np.random.Philox, bounds_S: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """For every bound, n different integers from 0 to bound - 1 in uniformly random order.

    Repeats are drawn again. Only equality decides what is drawn again, hence no value is favoured,
    and neither is any order. Where n is more than half of the bound that would take long, and a
    whole shuffle costs little.
    """
    drawn_SM = np.empty((len(bounds_S), n), dtype=np.int64)
    dense = 2 * n > bounds_S
    if dense.any():
        drawn_SM[dense] = _shuffled(bits, bounds_S[dense], n)
    open_rows = np.flatnonzero(~dense)
    redraw = np.ones((len(open_rows), n), dtype=bool)
    while len(open_rows):
        drawn = drawn_SM[open_rows]
        bounds = np.broadcast_to(bounds_S[open_rows, None], drawn.shape)
        drawn[redraw] = _below(bits, bounds[redraw])
        drawn_SM[open_rows] = drawn
        redraw = _repeats(drawn)
        unfinished = redraw.any(axis=1)
        open_rows, redraw = open_rows[unfinished], redraw[unfinished]
    return drawn_SM


def _shuffled(bits: np.random.Philox, bounds_S: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The first n of 0 to bound - 1 in random order, for every bound."""
    width = int(bounds_S.max())
    keys = bits.random_raw(len(bounds_S) * width).reshape(len(bounds_S), width)
    # Past its bound a row's numbers get the highest key; the stable sort keeps them last.
    keys[np.arange(width) >= bounds_S[:, None]] = np.iinfo(np.uint64).max
    return np.argsort(keys, axis=1, kind="stable")[:, :n]


def _repeats(values_SM: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True where a value stands further left in its row already."""
    order = np.argsort(values_SM, axis=1, kind="stable")
    ordered = np.take_along_axis(values_SM, order, axis=1)
    repeats = np.zeros(values_SM.shape, dtype=bool)
    np.put_along_axis(repeats, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return repeats


def _insert(
    bits: np.random.Philox, negatives_SM: NDArray[np.int64], targets_S: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Put every target at a random place among its negatives."""
    rows, n = negatives_SM.shape
    place = _below(bits, np.full(rows, n + 1, dtype=np.int64))
    items_SC = np.empty((rows, n + 1), dtype=np.int64)
    is_target = np.arange(n + 1) == place[:, None]
    items_SC[is_target] = targets_S
    items_SC[~is_target] = negatives_SM.ravel()
    return items_SC


def _hash(*arrays: NDArray[np.int32]) -> str:
    content = hashlib.sha256()
    for array in arrays:
        content.update(f"{array.shape}\n".encode())
        content.update(np.ascontiguousarray(array, dtype="<i4").tobytes())
    return content.hexdigest()


def _save(drawn: Candidates, path: Path, meta: Meta) -> None:
    rows = pa.FixedSizeListArray.from_arrays(pa.array(drawn.items_TC.ravel()), meta["size"])
    table = pa.table({"user": drawn.users, "target": drawn.targets, "candidates": rows})
    text = json.dumps(meta | {"hash": drawn.hash}, sort_keys=True)
    table = table.replace_schema_metadata({_META: text.encode()})
    with files.atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def _load(path: Path, meta: Meta) -> Candidates:
    try:
        with pq.ParquetFile(path) as file:  # `read_table` would import pandas
            table = file.read()
        stated = json.loads((table.schema.metadata or {})[_META])
        users, targets = (_numbers(table[name].combine_chunks()) for name in ("user", "target"))
        # Not by `flatten`, which imports pyarrow.compute.
        flat = _numbers(table["candidates"].combine_chunks().values)
        items_TC = flat.reshape(len(users), -1)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise FailedError(
            f"{path}: the candidate file cannot be read ({error}); delete it and it is drawn again"
        ) from error
    found = _hash(users, targets, items_TC)
    if stated != meta | {"hash": found}:
        raise FailedError(
            f"{path}: the candidate file is damaged or belongs elsewhere: its content does not "
            f"match the hash stored in it; delete it and it is drawn again"
        )
    return Candidates(users=users, targets=targets, items_TC=items_TC, hash=found)


def _numbers(column: pa.Array) -> NDArray[np.int32]:
    # Not by `to_numpy`, which imports pandas.
    return np.from_dlpack(column).astype(np.int32)
