"""A version of a data set: what it held, and what its users answered since.

It is a folder of atomic files that is prepared like any data set, named by the hash of its parent and of the
feedback: the same of both is the same version.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.files import atomic_folder, hash_of, read_json, write_json
from experiments.serving.feedback import Feedback, feedback_hash

VERSION = "version.json"

MILLISECONDS = 1e11
"""A time above it counts milliseconds since 1970, not seconds."""

_AGAINST = ("dismiss", "dislike")


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of a data set on disk.

    Attributes
    ----------
    folder : Path
        Of atomic files; `dataset.source` of its configuration, whose columns are `user_id`, `item_id`,
        `rating` and `timestamp`, the last two where the parent has them.
    name : str
        "<parent>-<hash>".
    hash : str
        Of the parent's hash and that of the feedback.
    added, against, unknown : int
        Answers that became interactions; that spoke against their item, and became none; and that were of
        items which the parent does not know.
    """

    folder: Path
    name: str
    hash: str
    added: int
    against: int
    unknown: int


def with_feedback(data: Prepared, records: Sequence[Feedback], folder: Path) -> Version:
    """Write the version of a data set with feedback, unless it is there.

    A click, a like, and a rating that is not below the parent's `min_rating`, become interactions. Where the
    parent has ratings, a like counts as its greatest one and a click as its median. Somebody new becomes a
    user; nobody's earlier interactions change.

    Parameters
    ----------
    data : Prepared
        The parent.
    records : sequence of Feedback
        Each key once, as `FeedbackStore.read` gives them.
    folder : Path
        Where versions are kept, each in a folder of its name.

    Raises
    ------
    PaddockError
        None of the answers would become an interaction.
    """
    made = hash_of([data.hash, feedback_hash(records)])
    name = f"{data.name}-{made[:8]}"
    target = folder / name
    if not (target / VERSION).is_file():
        rows, counts = _rows(data, records)
        if not counts["added"]:
            raise PaddockError(
                f"none of {len(records)} answers becomes an interaction of {data.name}: "
                f"{counts['against']} speak against their item, {counts['unknown']} are of unknown items"
            )
        with atomic_folder(target) as unfinished:
            _write(data, rows, unfinished / name)
            content = {"hash": made, "parent": data.hash, "feedback": feedback_hash(records)}
            write_json(unfinished / VERSION, {**content, **counts})
    said = read_json(target / VERSION)
    counted = {key: said[key] for key in ("added", "against", "unknown")}
    return Version(folder=target, name=name, hash=made, **counted)


def _rows(data: Prepared, records: Sequence[Feedback]) -> tuple[pl.DataFrame, dict[str, int]]:
    """The feedback that becomes interactions, in the order of its times, and how much of it does."""
    least = data.manifest["filters"]["min_rating"]
    known = [each for each in records if data.item_id(each.item) is not None]
    kept = [each for each in known if _speaks_for(each, least)]
    columns: dict[str, Any] = {
        "user_id:token": [each.who for each in kept],
        "item_id:token": [each.item for each in kept],
    }
    if data.ratings is not None:
        columns["rating:float"] = np.array([_rating(each, data.ratings) for each in kept])
    if data.timestamps is not None:
        unit = 1000.0 if data.timestamps.max() > MILLISECONDS else 1.0
        times = unit * np.array([each.time for each in kept])
        columns["timestamp:float"] = times.astype(data.timestamps.dtype)
    counts = {
        "added": len(kept),
        "against": len(known) - len(kept),
        "unknown": len(records) - len(known),
    }
    return pl.DataFrame(columns), counts


def _speaks_for(answer: Feedback, least: float | None) -> bool:
    if answer.kind in _AGAINST:
        return False
    return answer.value is None or least is None or answer.value >= least


def _rating(answer: Feedback, ratings: np.ndarray) -> float:
    if answer.value is not None:
        return answer.value
    return float(ratings.max() if answer.kind == "like" else np.median(ratings))


def _write(data: Prepared, added: pl.DataFrame, stem: Path) -> None:
    """The three atomic files: the parent's rows first, so that its users and items are met first."""
    columns: dict[str, Any] = {
        "user_id:token": np.array(data.user_tokens, dtype=object)[data.users].tolist(),
        "item_id:token": np.array(data.item_tokens, dtype=object)[data.items].tolist(),
    }
    if data.ratings is not None:
        columns["rating:float"] = data.ratings.astype(np.float64)
    if data.timestamps is not None:
        columns["timestamp:float"] = data.timestamps
    _as_atomic(pl.concat([pl.DataFrame(columns), added]), stem.with_name(f"{stem.name}.inter"))
    users, types = data.user_features, data.feature_types
    new = sorted(set(added["user_id:token"]) - set(data.user_tokens[1:]))
    fresh = pl.DataFrame({users.columns[0]: new}, schema={users.columns[0]: pl.String})
    users = pl.concat([users, fresh], how="diagonal")
    for kind, frame in (("user", users), ("item", data.item_features)):
        own = f"{kind}_id"
        named = {
            column: f"{own if column == frame.columns[0] else column}:{types[kind][column]}"
            for column in frame.columns
        }
        _as_atomic(frame.rename(named), stem.with_name(f"{stem.name}.{kind}"))


def _as_atomic(frame: pl.DataFrame, path: Path) -> None:
    """Lists are parted by blanks; cells hold no tab, as they came from atomic cells or were checked like them."""
    lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
    frame = frame.with_columns(
        pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists
    )
    frame.write_csv(path, separator="\t", quote_style="never")
