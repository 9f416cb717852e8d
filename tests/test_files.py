"""Files that are whole or absent, locks between processes, content hashes."""

import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import Timeout

from experiments.files import (
    atomic_folder,
    atomic_path,
    hash_of,
    read_json,
    sha256_of_file,
    write_json,
    write_text,
)
from experiments.locks import holder, lock

ROOT = Path(__file__).parents[1]


class Interrupted(Exception):
    pass


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _interrupt_file(target: Path) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise Interrupted


def _interrupt_folder(target: Path) -> None:
    with atomic_folder(target) as temporary:
        (temporary / "half").write_text("half")
        raise Interrupted


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "file.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert _names(target.parent) == ["file.txt"]


def test_a_file_is_replaced_at_once_and_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "before")
    with target.open() as reader:
        write_text(target, "after")
        assert reader.read() == "before"
    assert target.read_text() == "after"


@pytest.mark.parametrize("before", [None, "before"])
def test_an_exception_leaves_the_file_as_it_was(tmp_path: Path, before: str | None) -> None:
    target = tmp_path / "file.txt"
    if before is not None:
        target.write_text(before)
    with pytest.raises(Interrupted):
        _interrupt_file(target)
    assert _names(tmp_path) == ([] if before is None else ["file.txt"])
    assert before is None or target.read_text() == before


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "made"
    for content in ("one", "two"):
        with atomic_folder(target) as temporary:
            (temporary / content).write_text(content)
        assert _names(target) == [content]
    assert _names(tmp_path) == ["made"]


@pytest.mark.parametrize("before", [False, True])
def test_an_exception_leaves_the_folder_as_it_was(tmp_path: Path, before: bool) -> None:
    target = tmp_path / "made"
    if before:
        write_text(target / "kept", "kept")
    with pytest.raises(Interrupted):
        _interrupt_folder(target)
    assert _names(tmp_path) == (["made"] if before else [])
    assert not before or _names(target) == ["kept"]


KILLED = """
import sys, time
from pathlib import Path
from experiments.files import atomic_folder, atomic_path
target = Path(sys.argv[2])
with (atomic_path if sys.argv[1] == "file" else atomic_folder)(target) as temporary:
    half = temporary if sys.argv[1] == "file" else temporary / "half"
    half.write_text("half")
    half.with_name(".tmp0f3a").write_text("what the writer makes beside its file")
    print("writing", flush=True)
    time.sleep(600)
"""


def _killed_while_writing(kind: str, target: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, kind, str(target)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_kill_leaves_nothing_under_the_name(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "made"
    _killed_while_writing(kind, target)
    assert not target.exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".made.")
    assert left.name.endswith(".tmp")


def test_a_kill_leaves_the_old_content(tmp_path: Path) -> None:
    file, folder = tmp_path / "a" / "made", tmp_path / "b" / "made"
    write_text(file, "before")
    write_text(folder / "inner", "before")
    _killed_while_writing("file", file)
    _killed_while_writing("folder", folder)
    assert file.read_text() == "before"
    assert (folder / "inner").read_text() == "before"
    assert _names(folder) == ["inner"]


HOLDER = """
import sys, time
from pathlib import Path
from experiments.locks import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_excludes_another_process_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        while not path.exists():
            assert holder.poll() is None
            time.sleep(0.01)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Timeout), lock(path, timeout=0.1):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with lock(path, timeout=30):
        pass


WAITER = """
import sys
from pathlib import Path
from experiments.locks import lock
for path in sys.argv[1:]:
    with lock(Path(path)):
        print("held", flush=True)
"""


def test_who_waits_for_a_lock_says_for_whom(tmp_path: Path) -> None:
    """Of a killed holder's note nothing is left to the next one."""
    path = tmp_path / "lock"

    def start(code: str, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", code, str(path), *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    first = start(HOLDER, "tracking.uri=postgresql://me:secret@host/db")
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    waiter = start(WAITER)
    assert waiter.stderr is not None
    said = waiter.stderr.readline()
    first.kill()
    first.communicate()
    assert said.startswith(f"waiting for process {first.pid} on {socket.gethostname()} (")
    assert "tracking.uri=postgresql://me@host/db, since 20" in said
    assert "secret" not in said
    assert str(path) in said
    assert waiter.communicate() == ("held\n", "")
    assert _names(tmp_path) == ["lock"]

    # Left by a killed one, and held by one that could not write its own.
    Path(f"{path}.holder").write_text(
        json.dumps({"pid": first.pid, "host": socket.gethostname(), "command": "x", "since": 0})
    )
    assert holder(path) == "another process"
    Path(f"{path}.holder").write_text("{")
    assert holder(path) == "another process"


def test_json_round_trip(tmp_path: Path) -> None:
    content = {"b": [1, 2.5, None, True], "a": {"ü": "ß"}}
    write_json(tmp_path / "x.json", content)
    assert read_json(tmp_path / "x.json") == content
    assert (tmp_path / "x.json").read_text(encoding="utf-8").endswith("}\n")
    assert "ü" in (tmp_path / "x.json").read_text(encoding="utf-8")


def test_what_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    with atomic_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


def test_hash_knows_content_not_order() -> None:
    assert hash_of({"a": 1, "b": {"c": [1, 2], "d": None}}) == hash_of(
        {"b": {"d": None, "c": [1, 2]}, "a": 1}
    )
    different = [
        {"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": None}, {"a": True}, {"a": [1]}, {"b": 1}, {},
        {"a": [1, 2]}, {"a": [2, 1]}, {"a": {"b": 1}}, [1], "a", None,
    ]  # fmt: skip
    assert len({hash_of(content) for content in different}) == len(different)


def test_hash_is_the_same_everywhere() -> None:
    """A hash names folders on disk: this value must never change."""
    assert (
        hash_of({"b": [1, 2.5], "a": "ü"})
        == hashlib.sha256(b'{"a":"\\u00fc","b":[1,2.5]}').hexdigest()
    )


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
