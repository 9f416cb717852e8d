"""What prepare yields, against pandas and by hand."""

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from experiments.config.schema import DatasetConfig
from experiments.data import write as write_module
from experiments.data.filters import by_user_and_time, k_core
from experiments.data.prepare import dataset_name, prepare
from experiments.data.prepared import MANIFEST, Prepared, open_prepared
from experiments.errors import PaddockError
from experiments.paths import SHARE

from .samples import INTER, ITEM, USER, Write, dataset_of, folders

ROOT = Path(__file__).parents[2]


def composed(name: str) -> DatasetConfig:
    """A group file of conf/dataset on the schema, as Hydra hands it over."""
    own = OmegaConf.load(ROOT / "conf" / "dataset" / f"{name}.yaml")
    parents = [each for each in own.pop("defaults", ()) if each != "_self_"]
    below = composed(parents[0]) if parents else OmegaConf.structured(DatasetConfig)
    return OmegaConf.merge(below, own)


def last_items(made: Prepared) -> dict[str, str]:
    """The last item of each user, by tokens."""
    last = made.items[made.indptr[2:] - 1]
    return {
        user: made.item_tokens[item] for user, item in zip(made.user_tokens[1:], last, strict=True)
    }


@pytest.fixture(scope="module")
def ml100k(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(composed("ml-100k"), data_dir=tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def ml100k_frame() -> pd.DataFrame:
    spec = importlib.util.find_spec("recbole")
    folder = Path(spec.submodule_search_locations[0]) / "dataset_example" / "ml-100k"
    frame = pd.read_csv(folder / "ml-100k.inter", sep="\t", dtype={0: str, 1: str})
    return frame.rename(columns=lambda name: name.split(":")[0])


class TestMovieLens:
    def test_last_item_of_every_user_is_the_one_of_a_stable_sort(
        self, ml100k: Prepared, ml100k_frame: pd.DataFrame
    ) -> None:
        def expected(frame: pd.DataFrame) -> dict[str, str]:
            ordered = frame.sort_values("timestamp", kind="stable")
            return ordered.groupby("user_id")["item_id"].last().to_dict()

        assert ml100k_frame["timestamp"].dtype == np.int64
        right = expected(ml100k_frame)
        assert len(right) == 943
        assert last_items(ml100k) == right
        # Times read as float32 are what this guards against.
        coarse = expected(ml100k_frame.astype({"timestamp": np.float32}))
        assert sum(right[user] != coarse[user] for user in right) == 149

    def test_every_position_is_that_of_a_stable_sort(
        self, ml100k: Prepared, ml100k_frame: pd.DataFrame
    ) -> None:
        frame = ml100k_frame.copy()
        frame["user"] = pd.factorize(frame["user_id"])[0] + 1
        frame["item"] = pd.factorize(frame["item_id"])[0] + 1
        frame = frame.sort_values(["user", "timestamp"], kind="stable")
        np.testing.assert_array_equal(ml100k.users, frame["user"])
        np.testing.assert_array_equal(ml100k.items, frame["item"])
        np.testing.assert_array_equal(ml100k.timestamps, frame["timestamp"])
        np.testing.assert_array_equal(ml100k.ratings, frame["rating"])

    def test_shapes_and_types(self, ml100k: Prepared) -> None:
        assert (ml100k.n_users, ml100k.n_items, ml100k.n_interactions) == (943, 1682, 100_000)
        assert ml100k.users.dtype == ml100k.items.dtype == np.int32
        assert ml100k.timestamps.dtype == np.int64
        assert ml100k.ratings.dtype == np.float32
        assert ml100k.indptr.dtype == np.int64
        assert ml100k.indptr.shape == (945,)
        assert (ml100k.indptr[0], ml100k.indptr[1], ml100k.indptr[-1]) == (0, 0, 100_000)
        assert ml100k.item_features.height == len(ml100k.item_tokens) - 1 == 1682
        assert len(ml100k.item_titles) == len(ml100k.item_texts) == 1683

    def test_titles_and_texts(self, ml100k: Prepared) -> None:
        item = ml100k.item_id("1")
        assert ml100k.item_titles[item] == "Toy Story"
        assert ml100k.item_texts[item] == "Toy Story (1995): Animation Children's Comedy"
        assert ml100k.item_features.row(item - 1, named=True)["class"] == [
            "Animation",
            "Children's",
            "Comedy",
        ]
        assert not any("None" in text for text in ml100k.item_texts)

    def test_torch_is_not_imported(self, tmp_path: Path) -> None:
        code = (
            "import sys; from experiments.config.schema import DatasetConfig;"
            "from experiments.data.prepare import prepare;"
            f"prepare(DatasetConfig(source='recbole:ml-100k'), data_dir={str(tmp_path)!r});"
            "assert not {'torch', 'recbole'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


class TestSmall:
    def test_by_hand(self, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write())
        dataset.text.title = "title"
        dataset.text.template = "{title} ({year}): {price}"
        made = prepare(dataset, data_dir=data_dir)
        assert made.name == "small"
        assert made.user_tokens == ["[PAD]", "ann", "bob", "cid"]
        assert made.item_tokens == ["[PAD]", "x", "y", "z"]
        assert made.users.tolist() == [1, 1, 2, 2, 3]
        # bob's two rows are of the same time and stay in file order.
        assert made.items.tolist() == [2, 1, 2, 1, 3]
        assert made.timestamps.tolist() == [20, 30, 10, 10, 5]
        assert made.ratings.tolist() == [4, 5, 3, 1, 2]
        assert made.indptr.tolist() == [0, 0, 2, 4, 5]
        assert made.item_titles == ["", "The  Silent Harbour", "Red", ""]
        assert made.item_texts == ["", "The  Silent Harbour (1999): 1.5", "Red", "(2001): 7"]
        assert made.item_features.rows() == [
            ("x", ["The", "Silent", "Harbour"], 1.5, [0.5, 1.0, -2.0], "1999"),
            ("y", ["Red"], None, [1.0, 2.0, 3.0], None),
            ("z", [], 7.0, [], "2001"),
        ]
        assert made.user_features.rows() == [("ann", 40.0), ("bob", None), ("cid", 20.0)]
        assert list(made.feature_types["item"].items()) == [
            ("item_id", "token"),
            ("title", "token_seq"),
            ("price", "float"),
            ("vector", "float_seq"),
            ("year", "token"),
        ]
        assert (made.user_id("bob"), made.item_id("unused"), made.item_id("[PAD]")) == (
            2,
            None,
            None,
        )

    def test_without_item_and_user_files(self, write: Write, data_dir: Path) -> None:
        made = prepare(dataset_of(write(item=None, user=None)), data_dir=data_dir)
        assert made.item_titles == made.item_texts == [""] * 4
        assert made.item_features.rows() == [("x",), ("y",), ("z",)]
        assert made.feature_types == {
            "item": {"item_id": "token"},
            "user": {"user_id": "token"},
        }

    def test_without_times_the_file_order_counts(self, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write())
        dataset.columns.time = None
        dataset.columns.rating = None
        made = prepare(dataset, data_dir=data_dir)
        assert made.timestamps is None
        assert made.ratings is None
        assert made.items.tolist() == [1, 2, 2, 1, 3]

    def test_large_times_are_exact(self, write: Write, data_dir: Path) -> None:
        nanoseconds = 1_700_000_000_123_456_789
        lines = [f"u\ti{i}\t{nanoseconds - i}" for i in range(3)]
        header = "user_id:token\titem_id:token\ttimestamp:float"
        dataset = dataset_of(write("\n".join([header, *lines]).encode(), None, None))
        dataset.columns.rating = None
        made = prepare(dataset, data_dir=data_dir)
        assert made.timestamps.tolist() == [nanoseconds - 2, nanoseconds - 1, nanoseconds]
        assert made.items.tolist() == [3, 2, 1]

    def test_times_with_fractions(self, write: Write, data_dir: Path) -> None:
        made = prepare(dataset_of(write(INTER.replace(b"\t20\n", b"\t31.5\n"))), data_dir=data_dir)
        assert made.timestamps.dtype == np.float64
        assert made.items[:2].tolist() == [1, 2]

    def test_filtered_items_have_no_id(self, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write())
        dataset.filters.min_rating = 2.5
        made = prepare(dataset, data_dir=data_dir)
        assert made.user_tokens == ["[PAD]", "ann", "bob"]
        assert made.item_tokens == ["[PAD]", "x", "y"]
        assert made.item_features["item_id"].to_list() == ["x", "y"]
        counts = made.manifest["counts"]
        assert counts["rows_read"] == 5
        assert counts["rows_below_min_rating"] == 2
        assert counts["rows_kept"] == 3

    def test_ids_follow_the_first_appearance_in_the_file(
        self, write: Write, data_dir: Path
    ) -> None:
        # z appears first, in a row that the filter drops, and a later row of z is kept.
        inter = INTER.replace(b"ann\tx\t5\t30", b"ann\tz\t0\t30\nann\tx\t5\t30")
        dataset = dataset_of(write(inter))
        dataset.filters.min_rating = 1
        assert prepare(dataset, data_dir=data_dir).item_tokens == ["[PAD]", "z", "x", "y"]

    def test_unicode(self, write: Write, data_dir: Path) -> None:
        title = "기생충 🐴 e\u0301\u2028naïve"
        item = ITEM.replace(b"Red", title.encode())
        dataset = dataset_of(write(INTER.replace(b"bob", "준호".encode()), item, None))
        dataset.text.title = "title"
        dataset.text.template = "«{title}»"
        made = prepare(dataset, data_dir=data_dir)
        assert made.item_titles[2] == title
        assert made.item_texts[2] == f"«{title}»"
        assert made.user_id("준호") == 2

    @pytest.mark.parametrize("kind", ["pattern[1]*", "빈 칸"])
    def test_odd_folder_names(self, kind: str, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write(name=kind))
        made = prepare(dataset, data_dir=data_dir / "[x]*")
        assert made.n_interactions == 5
        assert open_prepared(made.path).item_tokens == ["[PAD]", "x", "y", "z"]

    def test_omegaconf_and_relative_source(
        self, write: Write, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write()
        monkeypatch.chdir(folder.parent)
        dataset = OmegaConf.structured(DatasetConfig(source="small"))
        assert OmegaConf.is_missing(dataset, "name")
        assert prepare(dataset, data_dir=data_dir).name == "small"

    def test_the_source_of_a_configuration_is_found_from_any_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        made = prepare(composed("tiny"), data_dir="prepared")
        assert made.n_users == 200
        # What is written stays in the working folder.
        assert made.path.resolve().parent == tmp_path / "prepared"
        # A source of that path in the working folder comes first.
        (tmp_path / "datasets" / "tiny").mkdir(parents=True)
        (tmp_path / "datasets" / "tiny" / "tiny.inter").write_bytes(INTER)
        dataset = composed("tiny")
        dataset.text.title = dataset.text.template = None
        assert prepare(dataset, data_dir="prepared").n_users == 3

    def test_missing_source_names_both_places(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "datasets" / "mine").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(PaddockError) as caught:
            prepare(DatasetConfig(name="", source="datasets/mime"), data_dir=tmp_path)
        for place in (tmp_path, SHARE):
            assert str(place / "datasets" / "mime") in str(caught.value)
        assert "it holds mine" in str(caught.value)

    def test_prefix(self, write: Write, data_dir: Path) -> None:
        folder = write()
        elsewhere = folder.rename(folder.parent / "elsewhere")
        dataset = dataset_of(elsewhere)
        assert prepare(dataset, data_dir=data_dir).name == "elsewhere"
        shutil.copy(elsewhere / "small.inter", elsewhere / "other.inter")
        with pytest.raises(PaddockError, match=r"dataset.prefix"):
            prepare(dataset, data_dir=data_dir)
        dataset.prefix = "other"
        assert prepare(dataset, data_dir=data_dir).n_items == 3


class TestHash:
    def test_equal_for_a_copy_elsewhere(self, write: Write, tmp_path: Path) -> None:
        folder = write()
        copied = shutil.copytree(folder, tmp_path / "else where" / "copy")
        first = prepare(dataset_of(folder), data_dir=tmp_path / "a")
        second = prepare(dataset_of(copied), data_dir=tmp_path / "b")
        assert first.hash == second.hash
        assert str(tmp_path) not in (second.path / MANIFEST).read_text()

    def test_known_value(self, ml100k: Prepared) -> None:
        # Equal on every machine and under every version of the libraries.
        assert ml100k.hash == ML100K_HASH

    @pytest.mark.parametrize(
        ("kind", "old", "new"),
        [
            ("inter", b"ann\ty\t4\t20", b"ann\ty\t4\t40"),
            ("inter", b"ann\ty\t4\t20", b"ann\ty\t5\t20"),
            ("inter", b"ann\ty\t4\t20", b"ann\tx\t4\t20"),
            ("item", b"Red", b"Blue"),
            ("item", b"1 2 3", b"1 2 4"),
            ("item", b"1 2 3\t", b"1 2 3\t0"),
            ("item", b"price:float", b"price:token"),
            ("user", b"\t40", b"\t41"),
            ("user", b"\t40", b"\t0"),
        ],
    )
    def test_changes_with_the_content(
        self, kind: str, old: bytes, new: bytes, write: Write, data_dir: Path
    ) -> None:
        good = {"inter": INTER, "item": ITEM, "user": USER}
        changed = {**good, kind: good[kind].replace(old, new)}
        assert changed != good
        folder = write()
        dataset = dataset_of(folder)
        dataset.text.title = "title"
        before = prepare(dataset, data_dir=data_dir)
        (folder / f"small.{kind}").write_bytes(changed[kind])
        after = prepare(dataset, data_dir=data_dir)
        assert after.hash != before.hash
        assert after.path != before.path

    def test_missing_is_not_zero_nor_empty(self, write: Write, data_dir: Path) -> None:
        none = prepare(dataset_of(write(name="none")), data_dir=data_dir)
        user = USER.replace(b"bob\t", b"bob\t0")
        zero = prepare(dataset_of(write(user=user, name="zero")), data_dir=data_dir)
        assert none.hash != zero.hash

    def test_items_that_nobody_uses_do_not_count(self, write: Write, data_dir: Path) -> None:
        full = prepare(dataset_of(write(name="full")), data_dir=data_dir)
        item = b"\n".join(line for line in ITEM.split(b"\n") if b"unused" not in line)
        less = prepare(dataset_of(write(item=item, name="less")), data_dir=data_dir)
        assert full.hash == less.hash

    def test_text_settings_count(self, write: Write, data_dir: Path) -> None:
        dataset = dataset_of(write())
        plain = prepare(dataset, data_dir=data_dir)
        dataset.text.title = "title"
        titled = prepare(dataset, data_dir=data_dir)
        assert plain.hash != titled.hash
        # Without a template the title is the text.
        assert titled.item_texts == titled.item_titles


class TestReuse:
    def test_second_call_does_not_parse(
        self, write: Write, data_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dataset = dataset_of(write())
        first = prepare(dataset, data_dir=data_dir)
        monkeypatch.setattr(write_module, "read_tables", pytest.fail)
        assert prepare(dataset, data_dir=data_dir).path == first.path
        assert len(folders(data_dir)) == 1

    def test_opens_without_its_source(self, write: Write, data_dir: Path) -> None:
        folder = write()
        path = prepare(dataset_of(folder), data_dir=data_dir).path
        shutil.rmtree(folder)
        assert open_prepared(path).items.tolist() == [2, 1, 2, 1, 3]

    def test_interactions_are_memory_mapped(self, ml100k: Prepared) -> None:
        before = pa.total_allocated_bytes()
        again = open_prepared(ml100k.path)
        for array in (again.users, again.items, again.timestamps, again.ratings):
            assert array.base is not None
            assert not array.flags.owndata
            assert not array.flags.writeable
            assert _mapped_file(array.ctypes.data) == str(ml100k.path / "interactions.arrow")
        assert pa.total_allocated_bytes() - before < 10_000

    def test_everything_is_loaded_when_it_is_used(self, ml100k: Prepared) -> None:
        again = open_prepared(ml100k.path)
        its_own = {each.name for each in fields(Prepared)}
        assert set(vars(again)) == its_own
        assert again.n_items == 1682
        assert set(vars(again)) == its_own

    def test_incomplete_folder_is_refused_and_prepared_again(
        self, write: Write, data_dir: Path
    ) -> None:
        dataset = dataset_of(write())
        path = prepare(dataset, data_dir=data_dir).path
        (path / MANIFEST).unlink()
        with pytest.raises(PaddockError, match=MANIFEST):
            open_prepared(path)
        assert prepare(dataset, data_dir=data_dir).path == path


def _mapped_file(address: int) -> str | None:
    """The file that the kernel maps at an address."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    for line in maps.read_text().splitlines():
        bounds, *_, name = line.split(maxsplit=5)
        start, stop = (int(bound, 16) for bound in bounds.split("-"))
        if start <= address < stop:
            return name
    return None


def _naive_core(frame: pd.DataFrame, min_user: int, min_item: int) -> list[int]:
    """One user or item at a time, until none is below its minimum."""
    while True:
        for column, minimum in (("user", min_user), ("item", min_item)):
            counts = frame[column].value_counts()
            poor = counts[counts < minimum]
            if len(poor):
                frame = frame[frame[column] != poor.index[0]]
                break
        else:
            return frame.index.tolist()


class TestCore:
    @given(
        pairs=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=60),
        min_user=st.integers(0, 5),
        min_item=st.integers(0, 5),
    )
    @settings(max_examples=150, deadline=None)
    def test_equals_the_naive_fixed_point(
        self, pairs: list[tuple[int, int]], min_user: int, min_item: int
    ) -> None:
        frame = pd.DataFrame(pairs, columns=["user", "item"], dtype=np.int64)
        users, items = frame["user"].to_numpy(), frame["item"].to_numpy()
        user_rows, item_rows = k_core(
            lambda: [(users[:20], items[:20]), (users[20:], items[20:])],
            users=8,
            items=8,
            min_user_interactions=min_user,
            min_item_interactions=min_item,
        )
        core = _naive_core(frame, min_user, min_item)
        assert np.flatnonzero((user_rows[users] > 0) & (item_rows[items] > 0)).tolist() == core
        assert user_rows.tolist() == np.bincount(users[core], minlength=8).tolist()
        assert item_rows.tolist() == np.bincount(items[core], minlength=8).tolist()

    def test_movielens(self, ml100k: Prepared, ml100k_frame: pd.DataFrame, tmp_path: Path) -> None:
        dataset = composed("ml-100k")
        dataset.filters.min_rating = 4
        dataset.filters.min_user_interactions = 20
        dataset.filters.min_item_interactions = 10
        made = prepare(dataset, data_dir=tmp_path)
        frame = ml100k_frame[ml100k_frame["rating"] >= 4]
        while True:
            users = frame.groupby("user_id")["item_id"].transform("size") >= 20
            items = frame.groupby("item_id")["user_id"].transform("size") >= 10
            if (users & items).all():
                break
            frame = frame[users & items]
        assert made.n_interactions == len(frame)
        assert set(made.user_tokens[1:]) == set(frame["user_id"])
        assert set(made.item_tokens[1:]) == set(frame["item_id"])


class TestOrder:
    @given(
        rows=st.lists(st.tuples(st.integers(0, 5), st.integers(-(2**63), 2**63 - 1)), max_size=40),
        coarse=st.sampled_from([1, 2**20, 2**61]),
        kind=st.sampled_from([np.int64, np.float64]),
    )
    @settings(max_examples=150, deadline=None)
    def test_equals_a_stable_sort_by_two_keys(
        self, rows: list[tuple[int, int]], coarse: int, kind: type
    ) -> None:
        users = np.array([user for user, _ in rows], dtype=np.int32)
        times = np.array([time // coarse for _, time in rows], dtype=kind)
        order = by_user_and_time(users, times)
        assert order.tolist() == np.lexsort((times, users)).tolist()
        assert by_user_and_time(users, None).tolist() == np.argsort(users, kind="stable").tolist()


class TestNames:
    @pytest.mark.parametrize(
        ("name", "source", "expected"),
        [
            ("mine", "recbole:ml-100k", "mine"),
            ("", "recbole:ml-100k", "ml-100k"),
            ("???", "/data/books/", "books"),
            ("", "/data/my books (2)", "my-books-2"),
        ],
    )
    def test_default_is_the_last_part(self, name: str, source: str, expected: str) -> None:
        assert dataset_name(DatasetConfig(name=name, source=source)) == expected

    @pytest.mark.parametrize("path", sorted((ROOT / "conf" / "dataset").glob("*.yaml")))
    def test_group_files_open_with_their_command_and_fit_the_schema(self, path: Path) -> None:
        assert path.read_text().startswith(f"# python run.py dataset={path.stem} ")
        assert composed(path.stem).columns.user == "user_id"


def test_texts_tidy_only_where_something_is_missing(write: Write, data_dir: Path) -> None:
    item = ITEM.replace(b"Nobody Saw It", b"Odd ()  one :").replace(b"unused", b"w")
    inter = INTER + b"ann\tw\t3\t50\n"
    dataset = dataset_of(write(inter, item))
    dataset.text.template = "Title: {title}, price {price} [{year}]"
    made = prepare(dataset, data_dir=data_dir)
    assert made.item_texts[made.item_id("w")] == "Title: Odd ()  one :, price 2 [1980]"
    assert made.item_texts[made.item_id("y")] == "Title: Red, price"
    dataset.text.template = "By {year}"
    assert prepare(dataset, data_dir=data_dir).item_texts[made.item_id("y")] == ""


def test_features_are_polars_frames(ml100k: Prepared) -> None:
    assert isinstance(ml100k.user_features, pl.DataFrame)
    assert ml100k.user_features.columns[0] == "user_id"


ML100K_HASH = "e7fd64fa542371fa2027d437f7159c93011f8c83dd99bf63c74573a37d36f372"
