"""Archives unpacked into folders, with nothing written outside of them."""

import glob
import gzip
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from experiments import files
from experiments.errors import PaddockError
from experiments.locks import lock

MOST_MEMBERS = 100_000
MOST_GROWTH = 200
"""Text shrinks to a tenth or so; what grows more than this, and beyond SMALL_BYTES, is a bomb."""
SMALL_BYTES = 1 << 30
LONGEST_NAME = 255
"""Bytes of one part of a path, on the usual file systems."""

_ZIP = (".zip",)
_TAR = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")
_GZIPPED_ATOMIC = (".inter.gz", ".item.gz", ".user.gz")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class _Member:
    name: str
    plain: bool
    folder: bool
    size: int


def is_archive(name: str) -> bool:
    """Whether the name is that of an archive; a gzipped file of rows is read as it is."""
    return name.lower().endswith((*_ZIP, *_TAR, *_GZIPPED_ATOMIC))


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive into a folder of its own below `folder`, once.

    Parameters
    ----------
    archive : Path
        An archive by its name (`is_archive`). An archive that was written anew is unpacked anew.
    folder : Path

    Returns
    -------
    Path
        The folder that holds the files: where all are in one folder of the archive, that one.

    Raises
    ------
    PaddockError
        When the archive is damaged, a member would be written outside of the folder, over another
        one or is no plain file, or all of them are too large; nothing is written then.
    """
    facts = archive.stat()
    key = files.hash_of([str(archive), facts.st_size, facts.st_mtime_ns])[:12]
    target = folder / f"{archive.name}-{key}"
    if not target.is_dir():
        with lock(folder / f".{target.name}.lock"):
            if not target.is_dir():
                for leftover in folder.glob(f".{glob.escape(target.name)}.*.tmp"):
                    shutil.rmtree(leftover, ignore_errors=True)
                try:
                    _check(archive, free=shutil.disk_usage(folder).free)
                    with files.atomic_folder(target) as unfinished:
                        _extract(archive, unfinished)
                except _DAMAGED as error:
                    raise PaddockError(
                        f"{archive} is damaged or no archive ({error}); get it again"
                    ) from None
                except OSError as error:
                    raise PaddockError(
                        f"{archive} cannot be unpacked into {folder}: {error.strerror or error}; "
                        f"nothing is kept"
                    ) from None
    inside = [path for path in target.iterdir() if path.name != "__MACOSX"]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else target


def _members(archive: Path) -> list[_Member]:
    name = archive.name.lower()
    members = []
    if name.endswith(_ZIP):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
                # zipfile reads no more than this of a member, whatever follows.
                members.append(_Member(entry.filename, plain, entry.is_dir(), entry.file_size))
    elif name.endswith(_TAR):
        with tarfile.open(archive) as tar:
            for each in tar:
                plain = each.isreg() or each.isdir()
                members.append(_Member(each.name, plain, each.isdir(), each.size))
    return members


def _check(archive: Path, *, free: int) -> None:
    """Refuse an archive of which any member is not a plain file or folder inside of it.

    So is one whose members lie over each other, or would fill the disk.
    """
    members = _members(archive)
    if len(members) > MOST_MEMBERS:
        raise PaddockError(
            f"{archive} has {len(members)} members; unpack it yourself and name the folder"
        )
    _check_size(archive, sum(each.size for each in members), free=free)
    for each in members:
        member = each.name
        # Windows reads backslashes and drive letters as parts of a path.
        path = PurePosixPath(member.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", member):
            raise PaddockError(
                f"{archive}: the member {member!r} would be written outside of the folder; "
                f"nothing is unpacked"
            )
        if not each.plain:
            raise PaddockError(
                f"{archive}: the member {member!r} is a link or a device; nothing is unpacked"
            )

    _check_names(archive, members)


def _check_size(archive: Path, size: int, *, free: int) -> None:
    growth = size / max(archive.stat().st_size, 1)
    if size > SMALL_BYTES and growth > MOST_GROWTH:
        raise PaddockError(
            f"{archive} would grow {growth:.0f} times, to {size / 1e9:.1f} GB; nothing is unpacked; "
            f"if that is right, unpack it yourself and name the folder"
        )
    if size > free:
        raise PaddockError(
            f"{archive} would take {size / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; make room, "
            f"or set data_dir to a folder of a larger disk"
        )


def _check_names(archive: Path, members: Sequence[_Member]) -> None:
    """Refuse names that no disk takes, and names that are one file on some disks."""
    taken: dict[str, str] = {}
    for each in members:
        path = PurePosixPath(each.name.replace("\\", "/"))
        longest = max(path.parts, key=lambda part: len(part.encode()), default="")
        if len(longest.encode()) > LONGEST_NAME:
            raise PaddockError(
                f"{archive}: the name of the member {longest[:40]!r}... has {len(longest)} letters, "
                f"more than a file may have; nothing is unpacked"
            )
        if each.folder:
            continue
        # Two names that differ by case or by the spelling of accents are one file on some disks.
        same = unicodedata.normalize("NFC", str(path)).casefold()
        if same in taken:
            raise PaddockError(
                f"{archive}: the members {taken[same]!r} and {each.name!r} would be one file; nothing "
                f"is unpacked; unpack it yourself and name the folder"
            )
        taken[same] = each.name


def _extract(archive: Path, folder: Path) -> None:
    name = archive.name.lower()
    if name.endswith(_ZIP):
        with zipfile.ZipFile(archive) as opened:
            try:
                opened.extractall(folder)
            except RuntimeError as error:
                raise PaddockError(f"{archive}: {error}; unpack it yourself") from None
    elif name.endswith(_TAR):
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    else:
        with gzip.open(archive) as packed, (folder / archive.stem).open("wb") as plain:
            while chunk := packed.read(1 << 20):
                plain.write(chunk)
                _check_size(archive, plain.tell(), free=plain.tell())
