"""A store of made-up runs, and reports of it."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.synthetic_store import Fake, make_store
from reports import __main__ as reports_main
from reports.options import parse
from reports.read import read
from reports.render import files
from reports.summarise import summarise
from reports.write import write_folder

SEEDS = (1, 2, 3)


def board() -> list[Fake]:
    """Three models that compare, and a run of each kind that does not."""
    fakes = [
        Fake(model=model, seed=seed, quality=quality, seconds=seconds, epochs=4)
        for model, quality, seconds in (("pop", 0.1, 0.5), ("bpr", 0.3, 4), ("sasrec", 0.7, 100))
        for seed in SEEDS
    ]
    other = {"paddock.candidates_c20_test_hash": "f" * 64}
    return [
        *fakes,
        Fake(model="ract", seed=1, status="RUNNING"),
        Fake(model="ract", seed=2, status="FAILED"),
        Fake(model="ease", seed=1, quality=0.9, tags={"paddock.dirty": "true"}),
        Fake(model="itemknn", seed=1, quality=0.9, tags=other),
        Fake(model="bpr", seed=1, quality=0.9),
    ]


@dataclass(frozen=True)
class Made:
    """A report that was made."""

    folder: Path
    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    def row(self, label: str) -> dict[str, Any]:
        (found,) = [row for row in self.summary["rows"] if row["label"] == label]
        return found


Report = Callable[..., Made]
Stored = Callable[..., str]


@pytest.fixture(scope="session")
def stored(empty_store: Path) -> Stored:
    """Log runs into a store in a folder, whose schema is copied; its address is returned."""

    def make(folder: Path, fakes: Sequence[Fake]) -> str:
        shutil.copy(empty_store, folder / "mlflow.db")
        return make_store(folder, fakes)

    return make


@pytest.fixture(scope="session")
def store(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a store that holds `board()` on ml-100k."""
    return stored(tmp_path_factory.mktemp("store"), board())


@pytest.fixture
def report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Report:
    """`python -m reports` in this process."""

    def make(uri: str, *words: str) -> Made:
        argv = ["reports", f"tracking.uri={uri}", f"out={tmp_path}", "name=made", *words]
        monkeypatch.setattr("sys.argv", argv)
        capsys.readouterr()
        code = 0
        try:
            reports_main.main()
        except SystemExit as end:
            code = int(end.code or 0)
        told = capsys.readouterr()
        return Made(tmp_path / "made", code, told.out, told.err)

    return make


@pytest.fixture(scope="session")
def board_report(store: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The report of `board()` as it comes without further words, made once for who only reads it."""
    folder = tmp_path_factory.mktemp("board") / "made"
    options = parse([f"tracking.uri={store}"])
    summary = summarise(read(options), options)
    write_folder(folder, files(summary))
    return Made(folder, 0, "", "")


@pytest.fixture(scope="session")
def fakes() -> list[Fake]:
    return board()
