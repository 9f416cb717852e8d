"""Whether a file still holds what was written: sizes, hashes and sealed JSON.

A sealed file is JSON whose last key, `seal`, is the SHA-256 of everything before it. It is whole in one
rename, which a file with a list of hashes beside it is not.
"""

import hashlib
import json
import logging
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from experiments.errors import FailedError
from experiments.files import atomic_path, sha256_of_file

_log = logging.getLogger(__name__)

Stated = Mapping[str, Any]
"""What a file held when it was written: `bytes`, its size, and `sha256`, of its content."""

MOST_BYTES = 2**28
"""Of a sealed file, which holds names and numbers."""

_END = re.compile(rb',\n  "seal": "([0-9a-f]{64})"\n}\n\Z')

_BEYOND_64_BITS = re.compile(rb": -?[0-9]{19}")
"""Begins what may be such an integer, in a file of `write_sealed`."""


class Damaged(FailedError):
    """A file of Paddock's own does not hold what was written to it."""


def stated(path: Path) -> dict[str, Any]:
    """The size and the hash of a file, to be written down beside it.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        `bytes` and `sha256`.
    """
    return {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}


def check(path: Path, written: Stated, *, remedy: str, largest: int | None = None) -> None:
    """Compare a file with what was stated of it.

    Parameters
    ----------
    path : Path
        The file.
    written : mapping
        What `stated` gave when it was written.
    remedy : str
        What to do about damage; the end of the message.
    largest : int, optional
        Bytes above which a file's size alone is compared.

    Raises
    ------
    Damaged
        The file is missing, or its size or its content is another.
    """
    try:
        size = _size(path, remedy=remedy)
        if size != written["bytes"]:
            raise Damaged(
                f"{path} is damaged: {size} bytes, but {written['bytes']} were written; {remedy}"
            )
        if (largest is None or size <= largest) and sha256_of_file(path) != written["sha256"]:
            raise Damaged(f"{path} is damaged: its content is not what was written; {remedy}")
    except OSError as error:
        why = "missing" if isinstance(error, FileNotFoundError) else f"unreadable ({error})"
        raise Damaged(f"{path} is {why}; {remedy}") from error


def write_sealed(target: Path, content: Mapping[str, Any], *, of: str = "") -> None:
    """Write a JSON file that tells whether it was changed since.

    Parameters
    ----------
    target : Path
        The file; its folder is made if needed.
    content : mapping of str to object
        Plain content, not empty; a key `seal` is replaced.
    of : str
        What the content belongs to; the seal holds for nothing else.
    """
    plain = {key: value for key, value in content.items() if key != "seal"}
    text = json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False)
    body = text.encode().removesuffix(b"\n}")
    with atomic_path(target) as temporary:
        temporary.write_bytes(body + f',\n  "seal": "{_seal(body, of)}"\n}}\n'.encode())


def read_sealed(source: Path, *, remedy: str, of: str = "", needed: bool = False) -> dict[str, Any]:
    """The content of a sealed JSON file, without its seal.

    Parameters
    ----------
    source : Path
        The file.
    remedy : str
        What to do about damage; the end of the message.
    of : str
        What the content belongs to, as it was written.
    needed : bool
        Whether a file without a seal, as earlier versions wrote it, is refused.

    Raises
    ------
    Damaged
        The file is missing, no JSON object, or another than was written.
    """
    try:
        if _size(source, remedy=remedy) > MOST_BYTES:
            raise Damaged(f"{source} is larger than any that Paddock writes; {remedy}")
        raw = source.read_bytes()
        content = _parsed(raw)
    except FileNotFoundError:
        raise Damaged(f"{source} is missing; {remedy}") from None
    except OSError as error:
        raise Damaged(f"{source} is unreadable ({error}); {remedy}") from error
    except ValueError as error:
        raise Damaged(f"{source} is damaged: it is not valid JSON ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise Damaged(f"{source} does not hold a JSON object; {remedy}")
    end = _END.search(raw)
    if end is None:
        if needed or "seal" in content:
            raise Damaged(f"{source} is damaged: it was edited or lost its seal; {remedy}")
        return content
    if end[1].decode() != _seal(raw[: end.start()], of):
        raise Damaged(f"{source} is damaged: its content is not what was written; {remedy}")
    del content["seal"]
    return content


@cache
def say_once(message: str) -> None:
    """Warn, the first time that the process says this.

    Parameters
    ----------
    message : str
        One sentence.
    """
    _log.warning("%s", message)


@cache
def say_unchecked(kind: str) -> None:
    """Say that a product has no hashes to check, once for each kind of product.

    Parameters
    ----------
    kind : str
        "a run folder", "a prepared data set" or "a checkpoint".
    """
    _log.warning("%s that is read was made by an earlier version, without hashes to check", kind)


def _parsed(raw: bytes) -> Any:
    """JSON by orjson, which is several times as fast, and by Python where that takes more.

    Python takes NaN, which a metric may be, and keeps integers beyond 64 bits.
    """
    if not _BEYOND_64_BITS.search(raw):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(raw)
    return json.loads(raw)


def _size(path: Path, *, remedy: str) -> int:
    """Bytes of a file; reading a pipe or a device might never end."""
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise Damaged(f"{path} is no file, but a folder, a pipe or a device; {remedy}")
    return facts.st_size


def _seal(body: bytes, of: str) -> str:
    return hashlib.sha256(of.encode() + b"\n" + body).hexdigest()
