"""Prepare a data set: find its prepared form, or make it.

What was prepared before is found without the libraries that read files (`experiments.data.write`), whose
import takes longer than all else of it.
"""

import glob
import shutil
from pathlib import Path
from typing import Any

from experiments import files
from experiments.data import prepared
from experiments.data.prepared import Prepared, open_prepared
from experiments.data.readers.formats import check_format, reader_settings
from experiments.data.sources.find import Sources, dataset_name, find_sources
from experiments.errors import PaddockError
from experiments.locks import lock

__all__ = ["dataset_name", "prepare"]


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
    sources = find_sources(dataset, data_dir=data_dir, progress=progress)
    recipe = _recipe(dataset, sources)
    folder = data_dir / f"{recipe['name']}-{files.hash_of(recipe)[:12]}"
    if not (folder / prepared.MANIFEST).is_file():
        with lock(data_dir / f".{folder.name}.lock"):
            if not (folder / prepared.MANIFEST).is_file():
                from experiments.data.write import write

                _sweep(folder)
                with files.atomic_folder(folder) as unfinished:
                    write(recipe, sources, unfinished)
    return open_prepared(folder)


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
        "format": prepared.FORMAT,
        "name": dataset_name(dataset),
        "licence": dataset.licence or "",
        "sources": [
            {"file": path.name, "sha256": files.sha256_of_file(path), "bytes": path.stat().st_size}
            for path in sources.present
        ],
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


def _sweep(folder: Path) -> None:
    """Remove what a killed preparation of the same folder left; the caller holds its lock."""
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
