"""Products of a data set's texts that are made once and kept beside it, each by the hash of what makes it."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.files import atomic_folder, hash_of
from experiments.integrity import Damaged, check, read_sealed, say_once, stated, write_sealed
from experiments.locks import lock

_SEALED = "kept.json"


def kept(folder: Path, content: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """The folder of a product, which is made where it is not there, or is damaged.

    Parameters
    ----------
    folder : Path
        Holds a folder for each product.
    content : mapping
        All that makes the product, plain.
    make : callable
        Writes the product's files into a folder.
    """
    place = folder / hash_of(content)[:20]
    if _whole(place):
        return place
    with lock(folder / f".{place.name}.lock"):
        if not _whole(place):
            shutil.rmtree(place, ignore_errors=True)
            with atomic_folder(place) as unfinished:
                make(unfinished)
                files = {path.name: stated(path) for path in sorted(unfinished.iterdir())}
                write_sealed(unfinished / _SEALED, {"content": dict(content), "files": files})
    return place


def _whole(place: Path) -> bool:
    if not place.is_dir():
        return False
    remedy = f"delete {place} and it is made again"
    try:
        for name, written in read_sealed(place / _SEALED, remedy=remedy)["files"].items():
            check(place / name, written, remedy=remedy)
    except Damaged as error:
        say_once(f"{error}. It is made again")
        return False
    return True
