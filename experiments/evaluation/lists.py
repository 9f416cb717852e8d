"""Lists that another system recommended, read from a file and scored like a model.

What a list does not hold stands behind all that it holds, and a target that it does not hold behind
everything: no item is hit that nobody recommended. Items of equal score or rank tie, and ties count in
expectation, as everywhere.

Dimensions: B users of a block, N items and the padding (column 0), R rows of the lists.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from experiments.config.values import nearest
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.evaluation.evaluate import RankingTask
from experiments.evaluation.scores import Ints, on_device
from experiments.protocol.sequences import Sequences, by_user, sorted_distinct

FORMATS = (".csv", ".tsv", ".inter", ".parquet", ".trec", ".run")

_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "query_id", "qid"),
    "item": ("item", "item_id", "itemid", "doc_id", "docid"),
    "score": ("score", "prediction"),
    "rank": ("rank",),
}
"""What is read -> the names of its column, RecBole's and those of others."""

_TREC = ("user", "q0", "item", "rank", "score", "tag")
_BEHIND = -float(2**24 - 1)
"""Of an item that a list does not hold: below every place, and a whole number in float32."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lists:
    """The lists of a file, by the ids of a data set.

    Attributes
    ----------
    items : Sequences
        One row a user id, (n_users + 1), the items in the order of their places.
    places_R : float32, (R,)
        Place of each item in its list, from 1; equal for items that tie.
    """

    items: Sequences
    places_R: NDArray[np.float32]

    @property
    def hash(self) -> str:
        """SHA-256 of who is recommended what in which order; of the data set's ids."""
        made = sha256(b"lists 1\n")
        for array in (self.items.indptr, self.items.items, self.places_R):
            made.update(np.ascontiguousarray(array).tobytes())
        return made.hexdigest()


class ListScorer:
    """A scorer whose scores are places of lists, the first one the highest.

    Parameters
    ----------
    lists : Lists
    targets : Sequences
        Of the phase: those that a list does not hold score minus infinity.
    n_items : int
        The padding left out.
    """

    full = True

    def __init__(self, lists: Lists, *, targets: Sequences, n_items: int) -> None:
        self._lists, self._targets, self._n_items = lists, targets, n_items
        rows = np.arange(len(lists.places_R), dtype=np.int32)
        self._rows = Sequences(indptr=lists.items.indptr, items=rows)

    def score(self, users_B: Ints) -> torch.Tensor:
        """Scores of all items, (B, N + 1)."""
        scores_BN = torch.full((len(users_B), self._n_items + 1), _BEHIND)
        cpu = scores_BN.device
        targets, listed = self._targets.take(users_B), self._lists.items.take(users_B)
        users_T, items_T = on_device(cpu, targets.row_of_item(), targets.items)
        scores_BN[users_T, items_T] = -torch.inf
        users_R, items_R = on_device(cpu, listed.row_of_item(), listed.items)
        places_R = self._lists.places_R[self._rows.take(users_B).items]
        scores_BN[users_R, items_R] = -torch.from_numpy(places_R)
        return scores_BN


def read_lists(path: Path, data: Prepared) -> Lists:
    """Read a file of lists.

    Parameters
    ----------
    path : Path
        Columns user, item, and rank or score: .csv, .tsv, RecBole's .inter, .parquet; or TREC's run
        format (.trec, .run). Where both stand, the score counts, as for trec_eval.
    data : Prepared
        Whose ids the file uses.

    Raises
    ------
    PaddockError
        The file cannot be read; a cell is empty or no finite number; a user or an item is none of the
        data set's; a pair of them stands twice.
    """
    rows = _rows(path)
    users, items = (
        _numbered(path, rows, column, tokens, data.name)
        for column, tokens in (("user", data.user_tokens), ("item", data.item_tokens))
    )
    rows = rows.with_columns(user=users, item=items)
    _refuse(
        path, rows, rows.select("user", "item").is_duplicated(), "the pair of user and item twice"
    )
    # The item's id orders ties, so that the hash is of the lists and not of the file.
    rows = rows.with_columns(place=pl.col("order").rank("dense").over("user").cast(pl.Float32))
    rows = rows.sort("user", "place", "item")
    user_R = rows["user"].to_numpy()
    return Lists(
        items=by_user(user_R, rows["item"].to_numpy(), data.n_users),
        places_R=rows["place"].to_numpy(),
    )


@dataclass(frozen=True, kw_only=True)
class Measurable:
    """What lists can be measured by.

    Attributes
    ----------
    task : RankingTask
        The protocol's, without the rankings and the measures that the lists say nothing about.
    notes : tuple of str
        What a reader must know, each a clause.
    """

    task: RankingTask
    notes: tuple[str, ...]


def measurable(lists: Lists, task: RankingTask) -> Measurable:
    """What of a protocol's task lists can be measured by.

    A ranking of candidates is measured where the lists hold every candidate of every target. That of
    all items is measured unless the lists hold candidates alone, which somebody chose with the targets in
    hand. Coverage and the like are measured of lists as long as the longest cut-off.

    Parameters
    ----------
    lists : Lists
    task : RankingTask
        What the protocol asks of the test.

    Raises
    ------
    PaddockError
        No scored user has a list, or no ranking can be measured.
    """
    users = task.users
    given = int(np.count_nonzero(lists.items.lengths[users]))
    if given == 0:
        raise PaddockError(f"none of the {len(users)} {task.phase} users has a list")
    notes = (
        [] if given == len(users) else [f"{len(users) - given} of {len(users)} users have no list"]
    )
    lacking = {name: _lacking(lists, task, name) for name in task.candidates}
    alone = bool(lacking) and _holds_candidates_alone(lists, task)
    rankings = {}
    for name, ranking in task.rankings.items():
        if ranking.candidates is not None and lacking[name]:
            notes.append(f"{name} is not measured: {lacking[name]} of its candidates have no score")
        elif ranking.candidates is None and alone:
            notes.append(f"{name} is not measured: the lists hold candidates alone")
        else:
            rankings[name] = ranking
    if not rankings:
        raise PaddockError(f"nothing can be measured: {'; '.join(notes)}")
    notes += _short(lists, task := replace(task, rankings=rankings))
    if any("shorter" in note for note in notes):
        task = replace(task, beyond=())
    return Measurable(task=task, notes=tuple(notes))


def _short(lists: Lists, task: RankingTask) -> list[str]:
    """That lists end before the longest cut-off of a ranking of all items."""
    cutoffs = [max(each.cutoffs) for each in task.rankings.values() if each.candidates is None]
    if not cutoffs:
        return []
    usable = _usable(lists, task)[task.users]
    short = int(np.count_nonzero(usable < max(cutoffs)))
    if not short:
        return []
    return [
        f"{short} lists are shorter than {max(cutoffs)}, so that coverage and the like are left out"
    ]


def _usable(lists: Lists, task: RankingTask) -> NDArray[np.int64]:
    """Items of each user's list that the history does not hold: int64, (n_users + 1,)."""
    split, masked = task.split, task.split.masked(task.phase)
    listed = _pairs(lists.items.row_of_item(), lists.items.items, split.n_items)
    known = np.isin(listed, _pairs(masked.row_of_item(), masked.items, split.n_items))
    return lists.items.lengths - np.bincount(
        lists.items.row_of_item()[known], minlength=len(lists.items)
    )


def _lacking(lists: Lists, task: RankingTask, ranking: str) -> int:
    """How many pairs of user and candidate have no score."""
    wanted = _candidate_pairs(task, [ranking])
    listed = _pairs(lists.items.row_of_item(), lists.items.items, task.split.n_items)
    return int(np.count_nonzero(~np.isin(wanted, listed)))


def _holds_candidates_alone(lists: Lists, task: RankingTask) -> bool:
    listed = _pairs(lists.items.row_of_item(), lists.items.items, task.split.n_items)
    scored = np.isin(lists.items.row_of_item(), task.users)
    return bool(np.isin(listed[scored], _candidate_pairs(task, list(task.candidates))).all())


def _candidate_pairs(task: RankingTask, rankings: Sequence[str]) -> Ints:
    pairs = []
    for name in rankings:
        given = task.candidates[name]
        users_T = np.repeat(given.users, given.items_TC.shape[1])
        pairs.append(_pairs(users_T, given.items_TC.ravel(), task.split.n_items))
    return sorted_distinct(np.concatenate(pairs))


def _pairs(users: NDArray[np.integer], items: NDArray[np.integer], n_items: int) -> Ints:
    return users.astype(np.int64) * (n_items + 1) + items


def _rows(path: Path) -> pl.DataFrame:
    """The rows with the columns line, user and item as text, and order: the least comes first."""
    if path.suffix.lower() not in FORMATS:
        raise PaddockError(f"lists={path}: its name ends in none of {', '.join(FORMATS)}")
    if not path.is_file():
        raise PaddockError(f"lists={path} is no file")
    try:
        read = _read(path)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError, ValueError) as error:
        line = str(error).strip().splitlines()[0][:200]
        raise PaddockError(f"lists={path} cannot be read: {line}") from error
    if read.is_empty():
        raise PaddockError(f"lists={path} holds no row")
    columns = _columns(path, read)
    order = "score" if "score" in columns else "rank"
    rows = read.select(
        line=pl.int_range(pl.len()) + _first_line(path),
        user=pl.col(columns["user"]).cast(pl.String).str.strip_chars(),
        item=pl.col(columns["item"]).cast(pl.String).str.strip_chars(),
        order=pl.col(columns[order]).cast(pl.Float64, strict=False),
    )
    for column in ("user", "item"):
        _refuse(path, rows, rows[column].fill_null("") == "", f"no {column}")
    _refuse(
        path,
        rows,
        ~rows["order"].is_finite().fill_null(False),
        f"a {order} that is no finite number",
    )
    return rows if order == "rank" else rows.with_columns(order=-pl.col("order"))


def _read(path: Path) -> pl.DataFrame:
    match path.suffix.lower():
        case ".parquet":
            return pl.read_parquet(path, glob=False)
        case ".trec" | ".run":
            return _read_trec(path)
        case ".csv":
            return pl.read_csv(path, infer_schema=False, glob=False)
        case _:
            return pl.read_csv(
                path, infer_schema=False, glob=False, separator="\t", quote_char=None
            )


def _read_trec(path: Path) -> pl.DataFrame:
    """Six columns without a head, between them blanks or tabs."""
    lines = pl.Series("line", path.read_text(encoding="utf-8").splitlines())
    parts = lines.str.strip_chars().str.replace_all(r"\s+", "\t").str.split("\t")
    wrong = (parts.list.len() != len(_TREC)).arg_true()
    if len(wrong):
        raise ValueError(f"line {wrong[0] + 1} has not the six columns {' '.join(_TREC)}")
    return parts.list.to_struct(fields=list(_TREC)).struct.unnest()


def _columns(path: Path, read: pl.DataFrame) -> dict[str, str]:
    """What is read -> its column; RecBole's heads carry a type (`user_id:token`)."""
    plain = {name.partition(":")[0].strip().lower(): name for name in read.columns}
    found = {
        what: plain[name] for what, names in _NAMES.items() for name in names[::-1] if name in plain
    }
    if not {"user", "item"} <= found.keys() or not {"score", "rank"} & found.keys():
        raise PaddockError(
            f"lists={path} has the columns {', '.join(read.columns)[:200]}: name them user, item, and "
            "rank or score"
        )
    for what in ("user", "item"):
        if read[found[what]].dtype.is_float():
            raise PaddockError(f"lists={path}: column {found[what]} holds fractions, and no ids")
    return found


def _first_line(path: Path) -> int:
    return 2 if path.suffix.lower() in (".csv", ".tsv", ".inter") else 1


def _numbered(
    path: Path, rows: pl.DataFrame, column: str, tokens: Sequence[str], name: str
) -> pl.Series:
    """The ids of a column's tokens, int32, (R,)."""
    known = pl.DataFrame(
        {column: tokens[1:], "id": np.arange(1, len(tokens), dtype=np.int32)},
        schema={column: pl.String, "id": pl.Int32},
    )
    found = rows.select(column).join(known, on=column, how="left", maintain_order="left")["id"]
    unknown = found.is_null()

    def said(token: str) -> str:
        return f"{column} {token!r:.80}, which is not in {name}: {nearest(token, tokens[1:])}"

    _refuse(path, rows, unknown, lambda row: said(row[column]))
    return found


def _refuse(
    path: Path, rows: pl.DataFrame, wrong: pl.Series, said: str | Callable[[dict[str, str]], str]
) -> None:
    """Refuse a file for the first of the rows that are wrong."""
    places = wrong.arg_true()
    if not len(places):
        return
    row = rows.row(places[0], named=True)
    text = said if isinstance(said, str) else said(row)
    more = f" ({len(places)} such rows)" if len(places) > 1 else ""
    raise PaddockError(f"lists={path}, line {row['line']}: {text}{more}")
