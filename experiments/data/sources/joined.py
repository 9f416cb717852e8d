"""Where the table lies that items are joined with, and what a join is made of."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.errors import PaddockError

PACKAGE = "package:"
"""Begins a source that an installed package carries: package:NAME/PATH."""


def join_recipe(join: Any) -> dict[str, Any] | None:
    """What makes a join, as plain content without the file; None where `dataset.join` names no source.

    Parameters
    ----------
    join : JoinConfig
        Or an OmegaConf node of that type.

    Raises
    ------
    PaddockError
        Where a key is missing, or contradicts another.
    """
    if not join.source:
        return None
    for key in ("table", "title", "year", "item_title", "item_year"):
        if not getattr(join, key):
            raise PaddockError(
                f"dataset.join.{key} is null, and dataset.join.source={join.source} needs it: name a "
                f"{'table' if key == 'table' else 'column'}"
            )
    columns, lists = dict(join.columns), {name: int(most) for name, most in join.lists.items()}
    if not columns:
        raise PaddockError(
            "dataset.join.columns is empty: write NAME: COLUMN for each that is wanted"
        )
    for name, most in lists.items():
        if name not in columns:
            raise PaddockError(
                f"dataset.join.lists holds {name}, which dataset.join.columns does not: "
                f"choose of {', '.join(columns)}"
            )
        if most < 1:
            raise PaddockError(f"dataset.join.lists.{name}={most} must be at least 1")
    return {
        "table": join.table,
        "title": join.title,
        "year": join.year,
        "prefer": join.prefer or None,
        "item_title": join.item_title,
        "item_year": join.item_year,
        "columns": columns,
        "lists": lists,
        "template": join.template or None,
    }


def join_file(join: Any) -> Path:
    """The file that a join reads; a package that carries it is found and not imported.

    Parameters
    ----------
    join : JoinConfig
        With a source.

    Raises
    ------
    PaddockError
        Where the package or the file is not there, with the command that brings it.
    """
    source = str(join.source)
    if not source.startswith(PACKAGE):
        path = Path(source).expanduser()
        if not path.is_file():
            raise PaddockError(f"dataset.join.source={source}: there is no such file; name another")
        return path
    package, _, inside = source.removeprefix(PACKAGE).partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    places = (spec.submodule_search_locations if spec else None) or []
    found = next((Path(each) / inside for each in places if (Path(each) / inside).is_file()), None)
    if found is None:
        remedy = f"run {join.brought_by}" if join.brought_by else f"install the package {package}"
        raise PaddockError(
            f"dataset.join.source={source}: the package {package}, which holds this file, is not "
            f"installed: {remedy}"
        )
    return found
