"""A version of a data set holds all that its parent held, and what speaks for items since."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.config.compose import compose, typed
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.serving.feedback import Feedback
from experiments.serving.versions import Version, with_feedback

LATE = 1_900_000_000.0


def answer(key: str, item: str, kind: str = "click", **values: object) -> Feedback:
    given = {"key": key, "item": item, "kind": kind, "user": "u1", "time": LATE, **values}
    return Feedback(**given)  # type: ignore[arg-type]


def _prepared(version: Version, tmp_path: Path) -> Prepared:
    config = typed(compose(["dataset=tiny"])).dataset
    config = replace(config, name=version.name, source=str(version.folder))
    return prepare(config, data_dir=tmp_path / "prepared")


def _held(data: Prepared) -> Counter[tuple[str, str, float, float]]:
    assert data.ratings is not None
    assert data.timestamps is not None
    rows = zip(data.users, data.items, data.ratings, data.timestamps, strict=True)
    return Counter(
        (data.user_tokens[user], data.item_tokens[item], float(rating), float(time))
        for user, item, rating, time in rows
    )


def test_what_speaks_for_an_item_is_an_interaction_more(
    tiny_data: Prepared, tmp_path: Path
) -> None:
    records = [
        answer("a", "i1"),
        answer("b", "i2", "like", time=LATE + 1),
        answer("c", "i3", "rating", value=2, time=LATE + 2),
        answer("d", "i4", "dislike"),
        answer("e", "i5", "dismiss"),
        answer("f", "i999"),
        answer("g", "i7", user=None, session="s9", time=LATE + 3),
    ]
    version = with_feedback(tiny_data, records, tmp_path)
    assert (version.added, version.against, version.unknown) == (4, 2, 1)
    made = _prepared(version, tmp_path)
    assert _held(made) - _held(tiny_data) == Counter(
        {
            ("u1", "i1", 4.0, LATE): 1,
            ("u1", "i2", 5.0, LATE + 1): 1,
            ("u1", "i3", 2.0, LATE + 2): 1,
            ("session:s9", "i7", 4.0, LATE + 3): 1,
        }
    )
    assert not _held(tiny_data) - _held(made)
    user = made.user_id("u1")
    assert user is not None
    last = made.items[made.indptr[user + 1] - 3 : made.indptr[user + 1]]
    assert [made.item_tokens[item] for item in last] == ["i1", "i2", "i3"]


def test_users_and_items_are_known_as_before(tiny_data: Prepared, tmp_path: Path) -> None:
    made = _prepared(with_feedback(tiny_data, [answer("a", "i1")], tmp_path), tmp_path)
    for before, after in (
        (tiny_data.item_features, made.item_features),
        (tiny_data.user_features, made.user_features),
    ):
        own = before.columns[0]
        assert after.sort(own).equals(before.sort(own))
    titles = dict(zip(tiny_data.item_tokens, tiny_data.item_titles, strict=True))
    assert dict(zip(made.item_tokens, made.item_titles, strict=True)) == titles
    assert made.user_tokens == tiny_data.user_tokens


def test_a_version_is_named_by_its_parent_and_its_feedback(
    tiny_data: Prepared, tmp_path: Path
) -> None:
    one = with_feedback(tiny_data, [answer("a", "i1"), answer("b", "i2")], tmp_path)
    files = {path: path.stat().st_mtime_ns for path in one.folder.iterdir()}
    assert with_feedback(tiny_data, [answer("b", "i2"), answer("a", "i1")], tmp_path) == one
    assert files == {path: path.stat().st_mtime_ns for path in one.folder.iterdir()}
    other = with_feedback(tiny_data, [answer("a", "i1")], tmp_path)
    assert other.hash != one.hash
    assert other.name.startswith("tiny-")


def test_answers_against_everything_make_no_version(tiny_data: Prepared, tmp_path: Path) -> None:
    with pytest.raises(PaddockError, match="1 speak against their item, 1 are of unknown"):
        with_feedback(tiny_data, [answer("a", "i1", "dislike"), answer("b", "x")], tmp_path / "v")
    assert not (tmp_path / "v").exists()
