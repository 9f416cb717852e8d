"""The hash of what a component computes: its file and those that it imports of its package.

The hash is of the syntax trees without docstrings, so that comments, formatting and docs change
nothing, and any statement does.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from experiments.components.declared import imported_files
from experiments.errors import PaddockError
from experiments.paths import ROOT

OURS = ("models", "experiments.training", "paddock.layers")
"""Packages that models and strategies of plug-ins may build on, whose files count as well."""


def source_hash(file: Path, module: str, *, within: str) -> str:
    """The hash of a module and of all that it imports, directly or not, of certain packages.

    Parameters
    ----------
    file : Path
        The module's file.
    module : str
        Its full name.
    within : str
        Its package. Imports from it and from `OURS` count, others do not.

    Returns
    -------
    str
        64 hexadecimal digits; the same wherever the package lies, and whatever it is called.

    Raises
    ------
    PaddockError
        If one of the files cannot be parsed.
    """
    content = hashlib.sha256()
    for name, path in sorted(imported_sources(file, module, within).items()):
        inner = name.removeprefix(within) if _is_in(name, within) else name
        content.update(f"{inner} {tree_hash(path)}\n".encode())
    return content.hexdigest()


def imported_sources(file: Path, module: str, within: str) -> dict[str, Path]:
    """A module and all that it imports from `within` and from `OURS`, directly or not.

    Parameters
    ----------
    file : Path
        The module's file.
    module : str
        Its full name.
    within : str
        Its package.

    Returns
    -------
    dict of str to Path
        Module -> file.
    """
    found: dict[str, Path] = {}
    waiting = [(module, file)]
    while waiting:
        name, path = waiting.pop()
        if name in found:
            continue
        found[name] = path
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        for node in _imports(path.read_text(encoding="utf-8"), path):
            waiting += [
                (imported, source)
                for imported, source in _imported(node, path, package)
                if any(_is_in(imported, place) for place in (within, *OURS))
            ]
    return found


@cache
def _imports(text: str, file: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The imports of a source, which every run of a grid asks for."""
    walked = ast.walk(_parsed(text, file))
    return tuple(node for node in walked if isinstance(node, ast.Import | ast.ImportFrom))


def _imported(
    node: ast.Import | ast.ImportFrom, file: Path, package: str
) -> Iterator[tuple[str, Path]]:
    """The files that an import names, of the file's own top-level package and of ours."""
    yield from imported_files(node, file=file, package=package)
    for place in OURS:
        top = place.partition(".")[0]
        if top != package.partition(".")[0]:
            yield from imported_files(node, file=ROOT / top / "__init__.py", package=top)


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def tree_hash(file: Path) -> str:
    """The hash of a file's syntax tree, equal in every version of Python.

    Parameters
    ----------
    file : Path
        A Python file.
    """
    return hash_of_source(file.read_text(encoding="utf-8"), file)


@cache
def hash_of_source(text: str, file: Path) -> str:
    """The hash of a source's syntax tree.

    Parameters
    ----------
    text : str
        The source.
    file : Path
        Where it was read, for the message.

    Raises
    ------
    PaddockError
        If it cannot be parsed.
    """
    return hashlib.sha256(canonical(_parsed(text, file)).encode()).hexdigest()


def _parsed(text: str, file: Path) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise PaddockError(f"{file}, line {error.lineno}: {error.msg}") from error


def canonical(node: ast.AST) -> str:
    """A syntax tree as text: kinds of nodes and their fields, without empty fields and docstrings.

    `ast.dump` differs between versions of Python in the fields that it shows.

    Parameters
    ----------
    node : ast.AST
        The tree's root.
    """
    fields = []
    for name, value in sorted(ast.iter_fields(node)):
        if value is None or value == [] or name in ("ctx", "type_comment", "kind"):
            continue
        if name == "body" and isinstance(value, list):
            value = _without_docstring(value)
        if isinstance(node, ast.JoinedStr):
            # Python 3.12 parses an empty text behind a nested format.
            value = [each for each in value if getattr(each, "value", None) != ""]
        if isinstance(value, list):
            shown = "[" + ",".join(_shown(each) for each in value) + "]"
        else:
            shown = _shown(value)
        fields.append(f"{name}={shown}")
    return f"{type(node).__name__}({','.join(fields)})"


def _shown(value: object) -> str:
    # Which characters repr() escapes depends on the version's table of Unicode.
    return canonical(value) if isinstance(value, ast.AST) else ascii(value)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """The body without texts that stand alone: docstrings of modules, classes, functions, attributes."""
    return [
        each
        for each in body
        if not (
            isinstance(each, ast.Expr)
            and isinstance(each.value, ast.Constant)
            and isinstance(each.value.value, str)
        )
    ]
