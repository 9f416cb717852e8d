"""Lists for all users of a data set, block by block, into a file that is whole or absent.

B users of a block, N items (padding included), K length of a list.
"""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.errors import PaddockError
from experiments.evaluation.topk import topk
from experiments.files import atomic_path
from experiments.protocol.sequences import Sequences
from experiments.serving.filters import parse_where
from experiments.serving.recommender import Recommender
from experiments.visible import visible

CELLS = 1 << 23
"""Scores that are held at once; what is made of them takes some ten times their 32 MiB."""

MOST_USERS = 4096
"""Users of a block."""

COLUMNS = ("user", "rank", "item", "title", "score")


class Lists(NamedTuple):
    """The lists of some users: ids (B,), items (B, K), 0 where no more are left, and their scores."""

    users_B: NDArray[np.int64]
    items_BK: NDArray[np.int32]
    scores_BK: NDArray[np.float64]


def lists_of_all(
    recommender: Recommender,
    *,
    k: int,
    where: str | None = None,
    exclude: tuple[str, ...] = (),
    cells: int = CELLS,
) -> Iterator[Lists]:
    """The k best items of every user, without those that he had, in ascending order of users.

    Parameters
    ----------
    recommender : Recommender
    k : int
    where : str, optional
        A condition of item columns.
    exclude : tuple of str
        Ids or titles of items that nobody is recommended.
    cells : int
        Scores that are held at once.

    Yields
    ------
    Lists

    Raises
    ------
    PaddockError
        For a condition or an item that is not understood.
    """
    data = recommender.data
    left_N = np.ones(data.n_items + 1, dtype=bool)
    if where is not None:
        left_N[1:] = parse_where(where).mask(recommender.items)
    left_N[[recommender.resolve_title(each) for each in exclude]] = False
    left_N[0] = True  # the padding stays the first column
    kept_M = np.flatnonzero(left_N)
    place_N = np.where(left_N, np.cumsum(left_N) - 1, -1)
    size = max(1, min(MOST_USERS, cells // (data.n_items + 1)))
    histories = Sequences(indptr=data.indptr, items=data.items)
    for start in range(1, data.n_users + 1, size):
        users_B = np.arange(start, min(start + size, data.n_users + 1))
        scores_BM = recommender.scores_of_users(users_B)
        if len(kept_M) <= data.n_items:
            scores_BM = scores_BM[:, torch.from_numpy(kept_M).to(scores_BM.device)]
        had = _placed(histories.take(users_B), place_N)
        places_BK, scores_BK = topk(scores_BM, had, min(k, data.n_items))
        yield Lists(users_B, kept_M[places_BK].astype(np.int32), scores_BK)


def _placed(histories: Sequences, place_N: NDArray[np.int64]) -> Sequences:
    """Histories by the columns of the items that are left."""
    places = place_N[histories.items]
    inside = places > 0
    counts = np.bincount(histories.row_of_item()[inside], minlength=len(histories))
    indptr = np.concatenate(([0], np.cumsum(counts)))
    return Sequences(indptr=indptr, items=places[inside].astype(np.int32))


def write_lists(
    target: Path,
    recommender: Recommender,
    *,
    k: int,
    where: str | None = None,
    exclude: tuple[str, ...] = (),
    tick: Callable[[int], Any] = lambda users: None,
) -> int:
    """Write the lists of all users to a file: .parquet and .csv hold a row an item, .jsonl a line a user.

    Control characters of names and titles are spelled out. Until all is written, nothing stands there.

    Parameters
    ----------
    target : Path
        Its ending chooses the form.
    recommender, k, where, exclude
        As of `lists_of_all`.
    tick : callable
        Is told how many users were written.

    Returns
    -------
    int
        Items that were written.

    Raises
    ------
    PaddockError
        For another ending, and as `lists_of_all`.
    """
    writer = _WRITERS[ending(target)]
    data = recommender.data
    users = [visible(str(token)) for token in data.user_tokens]
    items = [visible(str(token)) for token in data.item_tokens]
    titles = [visible(title) for title in data.item_titles]
    count = 0
    with atomic_path(target) as temporary, writer(temporary) as write:
        for lists in lists_of_all(recommender, k=k, where=where, exclude=exclude):
            rows_R, places_R = np.nonzero(lists.items_BK)
            items_R = lists.items_BK[rows_R, places_R]
            write(
                {
                    "user": [users[user] for user in lists.users_B[rows_R]],
                    "rank": (places_R + 1).tolist(),
                    "item": [items[item] for item in items_R],
                    "title": [titles[item] for item in items_R],
                    "score": lists.scores_BK[rows_R, places_R].tolist(),
                }
            )
            count += len(items_R)
            tick(len(lists.users_B))
    return count


def ending(target: Path) -> str:
    """The ending of a file of lists.

    Raises
    ------
    PaddockError
        For one that is none of them.
    """
    if target.suffix not in _WRITERS:
        raise PaddockError(
            f"out={target} ends in none of {', '.join(_WRITERS)}, which say what is written"
        )
    return target.suffix


Write = Callable[[dict[str, list[Any]]], None]


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = (pa.string(), pa.int32(), pa.string(), pa.string(), pa.float64())
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
    with pq.ParquetWriter(path, schema) as stream:
        yield lambda columns: stream.write_table(pa.table(columns, schema))


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(COLUMNS)
        yield lambda columns: rows.writerows(zip(*columns.values(), strict=True))


@contextmanager
def _jsonl(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as stream:

        def write(columns: dict[str, list[Any]]) -> None:
            by_user: dict[str, list[dict[str, Any]]] = {}
            for user, *values in zip(*columns.values(), strict=True):
                item = dict(zip(COLUMNS[1:], values, strict=True))
                by_user.setdefault(user, []).append(item)
            for user, items in by_user.items():
                stream.write(json.dumps({"user": user, "items": items}, ensure_ascii=False) + "\n")

        yield write


_WRITERS = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
"""Ending -> what opens such a file and gives what writes columns of rows to it."""
