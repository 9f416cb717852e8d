"""Preparing under a kill, and from two processes at once."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from experiments.config.schema import DatasetConfig
from experiments.data.prepare import prepare
from experiments.data.prepared import MANIFEST

from .samples import folders

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from experiments.config.schema import DatasetConfig
from experiments.data.prepare import prepare
made = prepare(DatasetConfig(name="", source=sys.argv[1]), data_dir=sys.argv[2])
print(made.hash, int(made.items.sum()))
"""


def _start(source: Path, data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(source), str(data_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that takes a while to prepare."""
    folder = tmp_path_factory.mktemp("large")
    random = np.random.RandomState(0)
    rows = 600_000
    pl.DataFrame(
        {
            "user_id:token": random.randint(0, 20_000, rows),
            "item_id:token": random.randint(0, 9_000, rows),
            "timestamp:float": random.randint(10**9, 2 * 10**9, rows),
        }
    ).write_csv(folder / "large.inter", separator="\t")
    return folder


def _unfinished(data_dir: Path) -> list[Path]:
    return list(data_dir.glob(".*.tmp"))


def test_a_killed_preparation_leaves_nothing_that_looks_complete(
    source: Path, tmp_path: Path
) -> None:
    process = _start(source, tmp_path)
    try:
        while not _unfinished(tmp_path) and process.poll() is None:
            time.sleep(0.001)
        process.kill()
    finally:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(_unfinished(tmp_path)) == 1
    assert [name for name in folders(tmp_path) if not name.startswith(".")] == []

    made = prepare(DatasetConfig(source=str(source)), data_dir=tmp_path)
    assert made.n_interactions == 600_000
    assert _unfinished(tmp_path) == []
    assert json.loads((made.path / MANIFEST).read_text())["hash"] == made.hash


def test_two_processes_at_once(source: Path, tmp_path: Path) -> None:
    answers = []
    processes = [_start(source, tmp_path) for _ in range(2)]
    for process in processes:
        answers.append(process.communicate()[0])
        assert process.returncode == 0
    assert answers[0] == answers[1] != ""
    assert len(folders(tmp_path)) == 1
