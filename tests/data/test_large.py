"""Preparation piece by piece: the same whatever fits into memory, and folders of Parquet files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from experiments.config.schema import DatasetConfig
from experiments.data.prepare import prepare
from experiments.errors import PaddockError

ROOT = Path(__file__).parents[2]


def interactions(rows: int) -> pl.DataFrame:
    random = np.random.default_rng(7)
    return pl.DataFrame(
        {
            "user_id": (150 * random.random(rows) ** 2).astype(np.int64),
            "item_id": (60 * random.random(rows) ** 2).astype(np.int64),
            "rating": random.integers(1, 11, rows) / 2,
            "timestamp": random.integers(0, 500, rows),
            "year": random.integers(2018, 2021, rows),
        }
    )


def dataset_of(source: Path, **changes: str) -> DatasetConfig:
    dataset = DatasetConfig(name="large", source=str(source), format="csv", **changes)
    dataset.columns.rating = "rating"
    return dataset


def content(dataset: DatasetConfig, data_dir: Path) -> dict[str, object]:
    """What was prepared, without what names its sources; the folder holds nothing else."""
    made = prepare(dataset, data_dir=data_dir)
    assert sorted(path.name for path in made.path.iterdir()) == [
        "interactions.arrow",
        "items.parquet",
        "manifest.json",
        "texts.parquet",
        "users.parquet",
    ]
    return {key: made.manifest[key] for key in ("hash", "files", "counts")}


class TestMemory:
    @pytest.fixture(scope="class")
    def source(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        path = tmp_path_factory.mktemp("source") / "large.csv"
        interactions(6000).write_csv(path)
        return path

    @pytest.mark.parametrize("core", [0, 40])
    def test_files_are_those_of_one_piece(
        self, core: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def made(memory: str | None, folder: str) -> dict[str, object]:
            dataset = dataset_of(source, **({"memory": memory} if memory else {}))
            dataset.filters.min_user_interactions = dataset.filters.min_item_interactions = core
            return content(dataset, tmp_path / folder)

        whole = made(None, "whole")
        # Blocks of 20 rows or so, ranges of 1000, 16 and less than one user's rows.
        monkeypatch.setattr("experiments.data.readers.delimited._BLOCK", 500)
        monkeypatch.setattr("experiments.data.write.PIECE_ROWS", 77)
        for memory in ("64KB", "1KB", "64"):
            assert made(memory, memory) == whole

    def test_rows_are_those_of_a_stable_sort(self, source: Path, tmp_path: Path) -> None:
        made = prepare(dataset_of(source, memory="20KB"), data_dir=tmp_path)
        frame = interactions(6000).with_row_index()
        frame = frame.with_columns(first=pl.col("index").min().over("user_id"))
        right = frame.sort("first", "timestamp", maintain_order=True)
        assert [made.item_tokens[item] for item in made.items] == [
            str(item) for item in right["item_id"]
        ]
        assert made.timestamps is not None
        assert made.timestamps.tolist() == right["timestamp"].to_list()

    def test_fraction_in_the_last_piece_makes_all_times_floats(
        self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("experiments.data.readers.delimited._BLOCK", 500)
        late = tmp_path / "late.csv"
        late.write_bytes(source.read_bytes() + b"1,1,5.0,7.25,2020\n")
        times = prepare(dataset_of(late), data_dir=tmp_path / "late").timestamps
        assert times is not None
        assert times.dtype == np.float64
        assert 7.25 in times
        large = tmp_path / "large.csv"
        large.write_bytes(source.read_bytes() + b"1,1,5.0,9007199254740993,2020\n")
        times = prepare(dataset_of(large), data_dir=tmp_path / "large").timestamps
        assert times is not None
        assert times.max() == 9007199254740993
        both = tmp_path / "both.csv"
        both.write_bytes(large.read_bytes() + 500 * b"1,1,5.0,7,2020\n" + b"1,1,5.0,7.25,2020\n")
        with pytest.raises(PaddockError, match=r"line 6002, column 'timestamp': .* too large"):
            prepare(dataset_of(both), data_dir=tmp_path / "both")

    def test_wrong_amounts(self, source: Path, tmp_path: Path) -> None:
        for amount in ("lots", "0", "-1GB", "2XB"):
            with pytest.raises(
                PaddockError, match=r"^dataset.memory: .* write it as 2GB or 512MB$"
            ):
                prepare(dataset_of(source, memory=amount), data_dir=tmp_path)
        assert not list(tmp_path.iterdir())

    def test_full_disk_leaves_nothing(self, source: Path, tmp_path: Path) -> None:
        # A limit of this process stands for a disk that is full: writing fails in the same way.
        code = f"""
import resource, signal
from tests.data.test_large import dataset_of, prepare, Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
prepare(dataset_of(Path({str(source)!r})), data_dir=Path({str(tmp_path)!r}))
"""
        done = subprocess.run(
            [sys.executable, "-B", "-c", code],  # bytecode would be cut too
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "File too large" in done.stderr.splitlines()[-1], done.stderr
        assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


class TestParquetFolders:
    def test_parts_in_order_and_partitions_as_columns(self, tmp_path: Path) -> None:
        frame = interactions(3000)
        whole = tmp_path / "whole.parquet"
        folder = tmp_path / "parts"
        folder.mkdir()
        (folder / "_SUCCESS").write_bytes(b"")
        frame.write_parquet(whole)
        for number in range(12):
            pq.write_table(
                frame.slice(number * 250, 250).to_arrow(), folder / f"part-{number}.parquet"
            )
        expected = content(dataset_of(whole), tmp_path / "whole")
        assert content(dataset_of(folder), tmp_path / "folder") == expected

        by_year = frame.sort("year", maintain_order=True)
        by_year.write_parquet(tmp_path / "sorted.parquet")
        hive = tmp_path / "hive"
        pads.write_dataset(
            by_year.to_arrow(),
            hive,
            format="parquet",
            partitioning=["year"],
            partitioning_flavor="hive",
            use_threads=False,
        )
        assert sorted(path.name for path in hive.iterdir()) == [
            "year=2018",
            "year=2019",
            "year=2020",
        ]

        def of_year(source: Path) -> DatasetConfig:
            dataset = dataset_of(source)
            dataset.columns.rating = "year"
            return dataset

        expected = content(of_year(tmp_path / "sorted.parquet"), tmp_path / "sorted")
        assert content(of_year(hive), tmp_path / "hive-made") == expected

    def test_named_folder_beside_a_file_of_items(self, tmp_path: Path) -> None:
        frame = interactions(500)
        for number in range(2):
            path = tmp_path / "all" / "inter" / f"{number}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.slice(250 * number, 250).write_parquet(path)
        items = pl.DataFrame({"item_id": range(60), "title": [f"Item {i}" for i in range(60)]})
        items.write_parquet(tmp_path / "all" / "items.parquet")
        dataset = dataset_of(tmp_path / "all")
        dataset.files.inter, dataset.files.item = "inter", "items.parquet"
        dataset.text.title = "title"
        made = prepare(dataset, data_dir=tmp_path / "made")
        assert made.n_interactions == 500
        assert made.item_titles[made.item_id(7) or 0] == "Item 7"
        assert [each["file"] for each in made.manifest["sources"]] == [
            "0.parquet",
            "1.parquet",
            "items.parquet",
        ]

    def test_refusals(self, tmp_path: Path) -> None:
        def refused(source: Path, match: str) -> None:
            with pytest.raises(PaddockError, match=match):
                prepare(dataset_of(source), data_dir=tmp_path / "made")

        folder = tmp_path / "parts"
        folder.mkdir()
        refused(folder, r"it is empty")
        frame = interactions(100)
        frame.write_parquet(folder / "0.parquet")
        other = folder / "1.parquet"
        frame.cast({"item_id": pl.String}).write_parquet(other)
        refused(folder, r"1\.parquet, line 1, column 'item_id': its type is .*string.* it is int64")
        frame.drop("timestamp").write_parquet(other)
        refused(
            folder, r"1\.parquet, line 1, column 'timestamp': no such column, which .*0\.parquet"
        )
        other.write_bytes(b"PAR1 nothing")
        refused(folder, r"1\.parquet is no Parquet file")
        frame.with_columns(user_id=pl.when(pl.col("user_id") != 3).then("user_id")).write_parquet(
            other
        )
        row = int((frame["user_id"] == 3).arg_max() or 0) + 1
        refused(folder, rf"1\.parquet, line {row}, column 'user_id': '' is an empty id")
        deeper = folder / "year=2020" / "1.parquet"
        deeper.parent.mkdir()
        other.rename(deeper)
        frame.write_parquet(other)
        refused(folder, r"year=2020/1\.parquet: its folders name other columns")
        (folder / "more.csv").write_text("user_id,item_id\n")
        refused(folder, r"has no file 'of rows'")
        assert list((tmp_path / "made").glob("*/manifest.json")) == []


def test_zones_without_a_name_are_read_as_utc(tmp_path: Path) -> None:
    times = pa.array([1, 2, 3], pa.timestamp("s", "+02:00"))
    table = pa.table({"user_id": ["a", "b", "a"], "item_id": ["x", "y", "z"], "timestamp": times})
    pq.write_table(table, tmp_path / "zone.parquet")
    dataset = DatasetConfig(name="zone", source=str(tmp_path / "zone.parquet"), format="csv")
    made = prepare(dataset, data_dir=tmp_path / "made")
    assert made.timestamps is not None
    assert made.timestamps.tolist() == [1, 3, 2]
