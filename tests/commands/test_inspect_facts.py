"""The facts of a data set against pandas and by hand, and its pictures."""

import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from experiments.commands.inspect import gini, inspect, table
from experiments.commands.inspect_pictures import plots
from experiments.data.prepare import prepare
from tests.data.samples import INTER, Write, dataset_of
from tests.data.test_prepare import composed


def test_by_hand(write: Write, data_dir: Path) -> None:
    dataset = dataset_of(write(INTER + b"ann\tx\t2\t31\n"))
    dataset.text.title = "title"
    facts = inspect(prepare(dataset, data_dir=data_dir))
    assert (facts["rows"], facts["users"], facts["items"]) == (6, 3, 3)
    assert facts["density"] == 5 / 9
    assert facts["repeated_interactions"] == 1
    assert facts["time"] == {"first": 5, "last": 31, "unit": None}
    assert facts["history_length"] == {
        "0": 1, "10": 1.2, "25": 1.5, "50": 2, "75": 2.5, "90": 2.8, "100": 3
    }  # fmt: skip
    assert facts["popularity"]["100"] == 3
    assert facts["head_share"] == 0.5
    assert facts["items_without_title"] == facts["items_without_text"] == 1
    assert json.loads(json.dumps(facts)) == facts


def test_movielens_against_pandas(tmp_path: Path) -> None:
    made = prepare(composed("ml-100k"), data_dir=tmp_path)
    frame = pd.DataFrame({"user": made.users, "item": made.items})
    facts = inspect(made)
    by_item = frame["item"].value_counts()
    for key, counts in (
        ("history_length", frame["user"].value_counts()),
        ("popularity", by_item),
    ):
        for percent, value in facts[key].items():
            assert value == pytest.approx(counts.quantile(int(percent) / 100))
    assert facts["head_share"] == pytest.approx(by_item.head(337).sum() / 100_000)
    assert facts["time"] == {
        "first": "1997-09-20T03:05:10+00:00",
        "last": "1998-04-22T23:10:38+00:00",
        "unit": "seconds",
    }
    assert facts["density"] == pytest.approx(100_000 / 943 / 1682)
    assert facts["repeated_interactions"] == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(sum))
def test_gini_is_half_the_relative_mean_difference(counts: list[int]) -> None:
    values = np.array(counts)
    differences = np.abs(values[:, None] - values[None, :]).mean()
    assert gini(values) == pytest.approx(differences / 2 / values.mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("time", "span"),
    [
        ("1588687728923", ("2020-05-05T14:08:48+00:00", "milliseconds")),
        ("1588687728", ("2020-05-05T14:08:48+00:00", "seconds")),
        ("3", (3, None)),
    ],
)
def test_units_of_time(
    time: str, span: tuple[object, str | None], write: Write, data_dir: Path
) -> None:
    inter = f"user_id:token\titem_id:token\ttimestamp:float\na\tb\t{time}\n"
    dataset = dataset_of(write(inter.encode(), None, None))
    dataset.columns.rating = None
    found = inspect(prepare(dataset, data_dir=data_dir))["time"]
    assert (found["first"], found["unit"]) == span


def test_without_times(write: Write, data_dir: Path) -> None:
    dataset = dataset_of(write())
    dataset.columns.time = None
    facts = inspect(prepare(dataset, data_dir=data_dir))
    assert facts["time"] is None
    assert "file order" in _printed(facts)


def test_table_tells_everything(write: Write, data_dir: Path) -> None:
    shown = _printed(inspect(prepare(dataset_of(write()), data_dir=data_dir)))
    for words in ("Rows", "Density", "History length", "Gini", "without title", "Repeated"):
        assert words in shown


def _printed(facts: dict[str, object]) -> str:
    stream = io.StringIO()
    Console(file=stream, width=120).print(table(facts))
    return stream.getvalue()


@pytest.mark.parametrize("rows", [1, 500])
def test_pictures(rows: int, prepared: Callable, tmp_path: Path) -> None:
    data, _ = prepared([list(range(1, 4 + user % 7)) for user in range(max(rows, 3))])
    paths = plots(data, tmp_path / "pictures")
    assert [path.name for path in paths] == ["history_length.svg", "popularity.svg"]
    for path in paths:
        text = path.read_text()
        assert ET.fromstring(text).tag.endswith("svg")
        assert data.name in text
    again = plots(data, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]
