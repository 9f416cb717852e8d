"""Files that are either whole or absent, and content hashes."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.errors import FailedError
from experiments.failures import of_system


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
    with naming(target):
        folder = _temporary_folder(target)
    temporary = folder / target.name
    try:
        with naming(target):
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system in the block name the file that it is about.

    Writing to a full disk fails without a name, libraries wrap the error in words of their own, and the
    name of a temporary place would mean nothing to anyone.

    Parameters
    ----------
    path : Path
        The file or folder that is read or written.

    Raises
    ------
    OSError
        With `path` as its file.
    """
    try:
        yield
    except Exception as error:
        of = of_system(error)
        if of is None:
            raise
        if of.filename is None or f"{path.parent}/.{path.name}." in f"{of.filename}":
            raise OSError(of.errno, of.strerror, str(path)) from error
        raise


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that takes its name when the block succeeds.

    An existing `target` is replaced. Callers that share `target` between processes hold a `lock`.

    Parameters
    ----------
    target : Path
        The folder to write.
    """
    with naming(target):
        temporary = _temporary_folder(target)
    try:
        with naming(target):
            yield temporary
            temporary.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_folder(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))


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

    Raises
    ------
    FailedError
        If it is damaged.
    """
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FailedError(f"{source} is damaged: it is not valid JSON ({error})") from error


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
