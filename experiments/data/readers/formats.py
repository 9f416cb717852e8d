"""The formats of data sets, each read by the reader of its name, of a plug-in too.

A reader is a function under `@paddock.reader(NAME)`; ours are the modules of this package. Known
releases have columns of their own names: user_id, item_id, rating, timestamp. For atomic, csv and json
files `dataset.columns.*` says what the files call them.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.components.plugins import loaded_plugins
from experiments.components.registry import functions
from experiments.data.sources.find import Sources
from experiments.errors import PaddockError
from paddock import Reader

if TYPE_CHECKING:
    from experiments.data.readers.table import Tables


def read_tables(recipe: Mapping[str, Any], sources: Sources) -> "Tables":
    """Read the files of one data set.

    Parameters
    ----------
    recipe : mapping
        Of `prepare`: the columns, and under "reader" the format where it is not atomic, with what
        its reader reads of the configuration.
    sources : Sources

    Raises
    ------
    PaddockError
        For a file that is malformed or lacks a column, naming the line and the column.
    """
    from experiments.data.readers.table import Tables

    columns: dict[str, str | None] = recipe["columns"]
    settings = recipe.get("reader", {"format": "atomic"})
    required = {
        column: f"dataset.columns.{role}" for role, column in columns.items() if column is not None
    }
    component = functions(Reader)[settings["format"]]
    tables = component.load()(sources, columns, required, settings)
    if not isinstance(tables, Tables):
        raise PaddockError(
            f"{component.file}: the reader {component.name} gives {type(tables).__name__}; let it "
            f"give Tables(interactions, items or None, users or None)"
        )
    return tables


def reader_settings(dataset: Any) -> dict[str, Any]:
    """The format, and what its reader reads of the configuration, as plain content.

    For a reader of a plug-in the hash of its source is part of it, so that an edited one reads again.

    Parameters
    ----------
    dataset : DatasetConfig
        Or an OmegaConf node of that type, of a format that there is.
    """
    settings: dict[str, Any] = {"format": dataset.format}
    plugin = None
    if not _is_ours(dataset.format):
        component = functions(Reader)[dataset.format]
        plugin = component.plugin
        if plugin is not None:
            settings["source"] = component.source
    if dataset.format == "csv" or plugin is not None:
        settings["csv"] = {
            "separator": dataset.csv.separator,
            "encoding": dataset.csv.encoding,
            "header": list(dataset.csv.header) if dataset.csv.header else None,
        }
    return settings


def check_format(name: str) -> None:
    """Refuse a format that no reader reads.

    Raises
    ------
    PaddockError
        Naming the nearest format, and all of them.
    """
    if _is_ours(name):
        return
    known = functions(Reader)
    if name not in known:
        from experiments.data.readers.table import nearest

        raise PaddockError(
            f"dataset.format: {name!r} is unknown; {nearest(name, known, what='formats')}"
        )


def _is_ours(name: str) -> bool:
    """Whether a reader of this package reads the format, which is known without importing it.

    The readers load polars, and what is prepared already is found without. Where there are plug-ins all
    are imported, so that two readers of one name are refused.
    """
    return not loaded_plugins() and name in own_formats()


@cache
def own_formats() -> frozenset[str]:
    """The formats of this package's readers, as their sources declare them."""
    sources = Path(__file__).parent.glob("*.py")
    return frozenset(
        name
        for source in sources
        for name in re.findall(r'^@reader\("([^"]+)"', source.read_text(encoding="utf-8"), re.M)
    )
