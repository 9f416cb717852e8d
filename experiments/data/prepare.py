"""Prepare a data set: find its prepared form, or make it.

What was prepared before is found without the libraries that read files (`experiments.data.write`), whose
import takes longer than all else of it.
"""

import glob
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments import files
from experiments.data import prepared
from experiments.data.prepared import Prepared, open_prepared
from experiments.data.readers.formats import check_format, reader_settings
from experiments.data.sources.find import Sources, dataset_name, find_sources, setting
from experiments.data.sources.joined import join_file, join_recipe
from experiments.errors import PaddockError
from experiments.integrity import Damaged, say_once
from experiments.locks import lock
from experiments.memory import bytes_of, free_bytes

__all__ = ["dataset_name", "prepare"]

TEXT_COLUMNS = ("item", "text", "kind", "author")
"""Of `dataset.texts`."""

MEMORY = 10**9
"""Bytes that rows may take while they are sorted, where `dataset.memory` does not say it; more is hardly faster."""


def prepare(dataset: Any, *, data_dir: Path | str, progress: bool = True) -> Prepared:
    """The prepared form of a data set, made unless the same sources and settings made it before.

    Parameters
    ----------
    dataset : DatasetConfig
        Or an OmegaConf node of that type.
    data_dir : Path or str
        Holds one folder a product, named `<name>-<12 hexadecimal digits>`, and what is downloaded.
    progress : bool
        Whether downloads show a bar on the terminal.

    Raises
    ------
    PaddockError
        When a source is missing or malformed, or the filters leave nothing.
    """
    data_dir = Path(data_dir)
    check_format(dataset.format)
    said = setting(dataset, "memory")
    memory = bytes_of(str(said), "dataset.memory") if said else None
    join = join_recipe(dataset.join)
    join_path = None if join is None else join_file(dataset.join)
    sources = find_sources(dataset, data_dir=data_dir, progress=progress)
    recipe = _recipe(dataset, sources)
    if join is not None and join_path is not None:
        recipe["join"] = {**join, "file": _stated(join_path.name, join_path)}
    folder = data_dir / f"{recipe['name']}-{files.hash_of(recipe)[:12]}"
    found = _whole(folder)
    if found is None:
        with lock(data_dir / f".{folder.name}.lock"):
            found = _whole(folder)
            if found is None:
                _sweep(folder)
                rows = memory or min(free_bytes() // 4, MEMORY)
                _make(recipe, sources, folder, rows, join_path)
    return found or open_prepared(folder)


def _whole(folder: Path) -> Prepared | None:
    """The prepared data set; None where there is none, or it is damaged, which a warning says."""
    if not (folder / prepared.MANIFEST).is_file():
        return None
    try:
        return open_prepared(folder)
    except Damaged as error:
        say_once(f"{error}. It is prepared again")
        return None


def _make(
    recipe: dict[str, Any], sources: Sources, folder: Path, memory: int, join: Path | None
) -> None:
    """Write the product, in the place of a damaged one if there is one; the caller holds the lock."""
    from experiments.data.write import write

    if not folder.exists():
        with files.atomic_folder(folder) as unfinished:
            write(recipe, sources, unfinished, memory=memory, join=join)
        return
    # Candidates, stages and embeddings lie beside the columns, each with a hash of its own: they stay.
    with TemporaryDirectory(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent) as made:
        write(recipe, sources, Path(made), memory=memory, join=join)
        (folder / prepared.MANIFEST).unlink(missing_ok=True)
        reviews = [prepared.REVIEWS] if "texts" in recipe else []
        for name in (*prepared.COLUMNS, *reviews, prepared.MANIFEST):
            (Path(made) / name).replace(folder / name)


def _recipe(dataset: Any, sources: Sources) -> dict[str, Any]:
    """Everything that makes the product, as plain content."""
    columns, filters, text = dataset.columns, dataset.filters, dataset.text
    if filters.min_rating is not None and not columns.rating:
        raise PaddockError(
            f"dataset.filters.min_rating is {filters.min_rating} but dataset.columns.rating names "
            f"no column; set it, or drop the filter"
        )
    reader = {} if dataset.format == "atomic" else {"reader": reader_settings(dataset)}
    return {
        **reader,
        **_texts_recipe(dataset, sources),
        "format": prepared.FORMAT,
        "name": dataset_name(dataset),
        "licence": dataset.licence or "",
        "sources": [_stated(name, path) for name, path in sources.files],
        "columns": {
            "user": columns.user,
            "item": columns.item,
            "time": columns.time or None,
            "rating": columns.rating or None,
        },
        "filters": {
            "min_rating": filters.min_rating,
            "min_user_interactions": filters.min_user_interactions or 0,
            "min_item_interactions": filters.min_item_interactions or 0,
        },
        "text": {"title": text.title or None, "template": text.template or None},
    }


def _texts_recipe(dataset: Any, sources: Sources) -> dict[str, Any]:
    """What makes the table of texts; nothing where there is none, so that all else keeps its name."""
    columns = {name: setting(dataset.texts, name) or None for name in TEXT_COLUMNS}
    if sources.texts is None:
        named = next((name for name, column in columns.items() if column), None)
        if named is not None:
            raise PaddockError(
                f"dataset.texts.{named}={columns[named]} is of a table of texts, and there is none; "
                f"name its file by dataset.files.texts=FILE"
            )
        return {}
    file = _stated(sources.texts.name, sources.texts)
    return {"texts": {"columns": columns, "encoding": dataset.csv.encoding, "file": file}}


def _stated(name: str, path: Path) -> dict[str, Any]:
    return {"file": name, "sha256": files.sha256_of_file(path), "bytes": path.stat().st_size}


def _sweep(folder: Path) -> None:
    """Remove what a killed preparation of the same folder left; the caller holds its lock."""
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
