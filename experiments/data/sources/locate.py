"""Folders and files of data on this machine, found by what the configuration calls them."""

import importlib.util
import re
from pathlib import Path

from experiments.data.sources.unpack import is_archive
from experiments.errors import PaddockError
from experiments.paths import SHARE

CARRIED = "recbole:"
_ROWS = (".csv", ".tsv", ".parquet", ".json", ".jsonl", ".dat", ".txt")


def is_url(source: str) -> bool:
    """Whether a source is downloaded."""
    return source.startswith(("http://", "https://"))


def path_of(source: str) -> Path:
    """The absolute path that a source names, whether or not something is there.

    A relative one is of the working folder, or else of the checkout or installed package, where that
    has something of this path: the configurations in conf/ name the data sets beside that folder.

    Parameters
    ----------
    source : str
        A path, with or without "~".
    """
    place = Path(source).expanduser()
    carried = SHARE / place
    if not place.exists() and carried.exists():
        return carried.resolve()
    return place.resolve()


def local(source: str, *, files: bool) -> Path:
    """The folder or archive that `source` names, or the file where `files` allows one.

    Parameters
    ----------
    source : str
        A path; see `path_of`.
    files : bool
        Whether it may be a file that is no archive.

    Raises
    ------
    PaddockError
        When there is none, naming what is there.
    """
    place = path_of(source)
    if place.is_dir() or (place.is_file() and (files or is_archive(place.name))):
        return place
    if place.exists():
        raise PaddockError(f"dataset.source: {place} is a file; name the folder that holds it")
    parent = place.parent
    around = f"{parent}: {content(parent)}" if parent.is_dir() else f"nor is {parent}"
    kind = "a folder or file" if files else "a folder"
    missing = f"{place} is not there"
    carried = SHARE / Path(source).expanduser()
    if carried != place:
        missing += f", nor is {carried}"
    raise PaddockError(f"dataset.source: {source!r} is not {kind} ({missing}); {around}")


def find_file(folder: Path, name: str | None) -> Path | None:
    """The file of that name in the folder, or the first below it, gzipped or not.

    Without a name it is the only file of rows that the folder holds.

    Parameters
    ----------
    folder : Path
    name : str or None
        Relative to the folder.

    Returns
    -------
    Path or None
        None where there is none, or without a name several.
    """
    if name is None:
        rows = files_of_rows(folder)
        return rows[0] if len(rows) == 1 else None
    last = Path(name).name
    bare = last.removesuffix(".gz")
    for candidate in (folder / name, folder / last, folder / bare, folder / f"{bare}.gz"):
        if candidate.is_file():
            return candidate
    below = [path for wanted in (last, bare, f"{bare}.gz") for path in folder.rglob(wanted)]
    below = [path for path in below if path.is_file()]
    return min(below, key=lambda path: (len(path.parts), path)) if below else None


def files_of_rows(folder: Path) -> list[Path]:
    """The files in a folder that hold rows by their names, sorted."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name.removesuffix(".gz").endswith(_ROWS)
    ]


def parquet_parts(folder: Path) -> list[Path]:
    """The Parquet files in and below a folder, in the order of their paths, part-2 before part-10.

    Names that begin with a dot or an underscore are left out, as other readers of such folders do.

    Parameters
    ----------
    folder : Path
    """

    def plain(path: Path) -> bool:
        return not any(part[0] in "._" for part in path.relative_to(folder).parts)

    def order(path: Path) -> list[tuple[int, str]]:
        pieces = re.split(r"(\d+)", str(path.relative_to(folder)))
        return [(int(piece) if piece.isdecimal() else -1, piece) for piece in pieces]

    found = (path for path in folder.rglob("*.parquet") if path.is_file() and plain(path))
    return sorted(found, key=order)


def carried_folder(name: str) -> Path:
    """The folder of a data set that the installed recbole package carries.

    Raises
    ------
    PaddockError
        Where it carries none of that name, naming those that it does.
    """
    # The package is only located: importing it would load torch.
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise PaddockError(f"dataset.source: {CARRIED}{name} needs the package recbole installed")
    examples = Path(spec.submodule_search_locations[0]) / "dataset_example"
    known = sorted(path.name for path in examples.glob("*") if path.is_dir())
    if name not in known:
        raise PaddockError(
            f"dataset.source: recbole carries no data set {name!r}; it carries {', '.join(known)}"
        )
    return examples / name


def content(folder: Path) -> str:
    """The end of an error message: what a folder holds."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if not names:
        return "it is empty"
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"it holds {', '.join(names[:20])}{more}"
