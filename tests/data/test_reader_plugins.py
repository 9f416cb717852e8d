"""A reader of a plug-in: run, edited and run again, each time in a process of its own."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import fork_server

ROOT = Path(__file__).parents[2]
PLUGIN = '''"""Logs of one line a visit: user > item @ time."""

import polars as pl

from experiments.data.readers.table import Table, Tables, line_error
from paddock import reader

from .clock import SECONDS


@reader("visits")
def read_visits(sources, columns, required, settings):
    """Logs of visits."""
    rows = []
    for number, line in enumerate(sources.inter.read_text().splitlines(), start=1):
        user, _, rest = line.partition(" > ")
        item, at, time = rest.partition(" @ ")
        if not at:
            raise line_error(sources.inter, number, "no visit; write user > item @ time")
        rows.append((user, item, str(SECONDS * int(time))))
    cells = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    types = {"user_id": "token", "item_id": "token", "timestamp": "time"}
    inter = Table(path=sources.inter, types=types, cells=cells, line_of=lambda row: row + 1)
    return Tables(inter, None, None)
'''
CODE = """
import json, sys
from experiments.components.plugins import load_plugins
from experiments.config.schema import DatasetConfig
from experiments.data.prepare import prepare
from experiments.errors import PaddockError
load_plugins([sys.argv[1]])
dataset = DatasetConfig(name="log", source=sys.argv[2], format=sys.argv[4])
try:
    made = prepare(dataset, data_dir=sys.argv[3])
    print(json.dumps({
        "folder": made.path.name,
        "users": made.user_tokens,
        "rows": [made.users.tolist(), made.items.tolist(), made.timestamps.tolist()],
    }))
except PaddockError as error:
    print(json.dumps({"error": str(error)}))
"""


class Log:
    """A plug-in's folder, a log, and what preparing the one by the other gives."""

    def __init__(self, folder: Path) -> None:
        self.plugin = folder / "visits"
        self.plugin.mkdir()
        self.reader = self.plugin / "logs.py"
        self.clock = self.plugin / "clock.py"
        self.reader.write_text(PLUGIN, encoding="utf-8")
        self.clock.write_text('"""The unit of the logs."""\n\nSECONDS = 60\n', encoding="utf-8")
        self.source = folder / "log.txt"
        self.source.write_text("ann > x @ 3\nbob > y @ 1\nann > y @ 2\n", encoding="utf-8")
        self.data_dir = folder / "prepared"

    def prepare(self, name: str = "visits") -> dict[str, Any]:
        places = [str(place) for place in (self.plugin, self.source, self.data_dir)]
        done = fork_server.run(
            [sys.executable, "-c", CODE, *places, name],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def edit(self, path: Path, old: str, new: str) -> None:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_edited_it_prepares_again(log: Log) -> None:
    made = log.prepare()
    assert made["users"] == ["[PAD]", "ann", "bob"]
    assert made["rows"] == [[1, 1, 2], [2, 1, 2], [120, 180, 60]]

    log.edit(log.reader, '"""Logs of visits."""', '"""Visits, by the line."""  # reworded')
    assert log.prepare()["folder"] == made["folder"]

    log.edit(log.reader, "user, item, str", "user.upper(), item, str")
    edited = log.prepare()
    assert edited["folder"] != made["folder"]
    assert edited["users"] == ["[PAD]", "ANN", "BOB"]

    # What the reader imports of its package is part of it.
    log.edit(log.clock, "60", "3600")
    again = log.prepare()
    assert again["folder"] not in (made["folder"], edited["folder"])
    assert again["rows"][2] == [7200, 10800, 3600]


def test_its_errors_are_those_of_users(log: Log) -> None:
    log.source.write_text("ann > x @ 3\nbob\n", encoding="utf-8")
    assert log.prepare()["error"] == f"{log.source}, line 2: no visit; write user > item @ time"
    log.edit(log.reader, "return Tables(inter, None, None)", "return inter")
    log.source.write_text("ann > x @ 3\n", encoding="utf-8")
    error = log.prepare()["error"]
    assert error.startswith(f"{log.reader}: the reader visits gives Table; ")


def test_an_unknown_format_names_it_among_the_others(log: Log) -> None:
    error = log.prepare("visit")["error"]
    assert "dataset.format: 'visit' is unknown; the nearest is 'visits'; the formats are" in error
    for name in ("amazon", "atomic", "csv", "json", "movielens", "steam", "visits"):
        assert name in error.partition("the formats are")[2]


def test_two_readers_of_one_name_are_refused(log: Log) -> None:
    log.edit(log.reader, '@reader("visits")', '@reader("csv")')
    error = log.prepare("csv")["error"]
    assert f"{log.reader} brings the reader csv" in error
    assert "delimited.py" in error
