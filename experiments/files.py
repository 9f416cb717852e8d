"""Files that are either whole or absent, locks between processes, and content hashes."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `target` when the block succeeds.

    It lies in a folder of its own beside `target`: safetensors and other writers make temporary
    files of theirs next to the file they are asked for, and a kill leaves those too.

    A reader never sees a half-written file, whenever the writer is killed. The bytes are flushed to
    the disk before the rename, so that a power cut leaves the old file or the new one.

    Parameters
    ----------
    target : Path
        The file to write.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    temporary = folder / target.name
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that takes its name when the block succeeds.

    An existing `target` is replaced. Callers that share `target` between processes hold a `lock`.

    Parameters
    ----------
    target : Path
        The folder to write.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write a UTF-8 text file as a whole.

    Parameters
    ----------
    target : Path
        The file; its folder is made if needed.
    text : str
        Its whole content.
    """
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, content: Any) -> None:
    """Write plain content as an indented JSON file, keys sorted.

    Parameters
    ----------
    target : Path
        The file; its folder is made if needed.
    content : object
        Dicts, lists, strings, numbers and None.
    """
    write_text(target, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(source: Path) -> Any:
    """The content of a JSON file.

    Parameters
    ----------
    source : Path
        A UTF-8 file.
    """
    return json.loads(source.read_text(encoding="utf-8"))


def lock(path: Path, *, timeout: float = -1) -> FileLock:
    """A lock between processes, which the system frees when its holder dies.

    Parameters
    ----------
    path : Path
        The lock file; its folder is made if needed.
    timeout : float
        Seconds to wait for the lock; -1 waits without end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=timeout)


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Parameters
    ----------
    path : Path
        The file.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_of(content: Any) -> str:
    """The SHA-256 of plain content, independent of the order of keys.

    Parameters
    ----------
    content : object
        Dicts, lists, strings, numbers and None.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
