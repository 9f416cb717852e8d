"""Archives unpacked into folders, with nothing written outside of them."""

import glob
import gzip
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from experiments import files
from experiments.errors import PaddockError
from experiments.locks import lock

MOST_MEMBERS = 100_000
_ZIP = (".zip",)
_TAR = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")
_GZIPPED_ATOMIC = (".inter.gz", ".item.gz", ".user.gz")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


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
        When the archive is damaged, or a member would be written outside of the folder or is no
        plain file; nothing is written then.
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
                    _check(archive)
                    with files.atomic_folder(target) as unfinished:
                        _extract(archive, unfinished)
                except _DAMAGED as error:
                    raise PaddockError(
                        f"{archive} is damaged or no archive ({error}); get it again"
                    ) from None
    inside = [path for path in target.iterdir() if path.name != "__MACOSX"]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else target


def _check(archive: Path) -> None:
    """Refuse an archive of which any member is not a plain file or folder inside of it."""
    name = archive.name.lower()
    members: list[tuple[str, bool]] = []
    if name.endswith(_ZIP):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                members.append((entry.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR)))
    elif name.endswith(_TAR):
        with tarfile.open(archive) as tar:
            members = [(entry.name, entry.isreg() or entry.isdir()) for entry in tar]
    if len(members) > MOST_MEMBERS:
        raise PaddockError(
            f"{archive} has {len(members)} members; unpack it yourself and name the folder"
        )
    for member, plain in members:
        # Windows reads backslashes and drive letters as parts of a path.
        path = PurePosixPath(member.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", member):
            raise PaddockError(
                f"{archive}: the member {member!r} would be written outside of the folder; "
                f"nothing is unpacked"
            )
        if not plain:
            raise PaddockError(
                f"{archive}: the member {member!r} is a link or a device; nothing is unpacked"
            )


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
            shutil.copyfileobj(packed, plain, 1 << 20)
