"""The folder of a trial is one worker's alone, also where containers share the folder of a study."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.tuning.scratch import scratch

ROOT = Path(__file__).parents[2]

HOLD = """
import os, sys
from pathlib import Path
from experiments.tuning.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "weights").write_text("a trial's")
    print(os.getpid(), folder.name, flush=True)
    input()
    assert (folder / "weights").read_text() == "a trial's"
"""

CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc")
"""Processes are numbered from 1, as in a container."""


def held(parent: Path, *around: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*around, sys.executable, "-c", HOLD, str(parent)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_workers_in_containers_have_folders_of_their_own(tmp_path: Path) -> None:
    try:
        subprocess.run([*CONTAINER, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to a space of process numbers (unshare --pid)")
    first = held(tmp_path, *CONTAINER)
    pid, name = said(first)
    second = held(tmp_path, *CONTAINER)
    again, other = said(second)
    assert (pid, again) == ("1", "1")
    assert name != other
    with scratch(tmp_path) as third:
        assert {each.name for each in third.parent.iterdir()} == {name, other, third.name}
    for process in (first, second):
        process.communicate("\n")
        assert process.returncode == 0
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_killed_worker_left_is_removed(tmp_path: Path) -> None:
    process = held(tmp_path)
    _, name = said(process)
    process.kill()
    process.communicate()
    assert (tmp_path / "scratch" / name / "weights").exists()
    with scratch(tmp_path) as folder:
        assert list(folder.parent.iterdir()) == [folder]
