"""The hash of what a component computes: its file and those of its package that it imports.

The hash is of the syntax trees without docstrings, so that comments, formatting and docs change
nothing, and any statement does.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

from experiments.config.declared import imported_files


def source_hash(file: Path, module: str, *, within: str) -> str:
    """The hash of a module and of all that it imports, directly or not, within a package.

    Parameters
    ----------
    file : Path
    module : str
        Its full name.
    within : str
        A package: imports from elsewhere do not count.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    trees = {name: tree_hash(path) for name, path in imported_sources(file, module, within).items()}
    content = hashlib.sha256()
    for digest in sorted(trees.values()):
        content.update(digest.encode())
    return content.hexdigest()


def imported_sources(file: Path, module: str, within: str) -> dict[str, Path]:
    """Module -> file, of the module itself and of all that it imports within a package."""
    found: dict[str, Path] = {}
    waiting = [(module, file)]
    while waiting:
        name, path = waiting.pop()
        if name in found:
            continue
        found[name] = path
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                waiting += [
                    (imported, source)
                    for imported, source in imported_files(node, file=path, package=package)
                    if imported.startswith(f"{within}.")
                ]
    return found


def tree_hash(file: Path) -> str:
    """The hash of a file's syntax tree, the same in every version of Python."""
    return _hash_of_text(file.read_text(encoding="utf-8"))


@cache
def _hash_of_text(text: str) -> str:
    return hashlib.sha256(canonical(ast.parse(text)).encode()).hexdigest()


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def canonical(node: ast.AST) -> str:
    """A syntax tree as text: kinds of nodes and their fields, what is empty left out.

    `ast.dump` differs between versions of Python in the fields that it shows.
    """
    fields = []
    for name, value in sorted(ast.iter_fields(node)):
        if value is None or value == [] or name in ("ctx", "type_comment", "kind"):
            continue
        if name == "body" and isinstance(value, list):
            value = _without_docstring(node, value)
        if isinstance(value, list):
            shown = "[" + ",".join(_shown(each) for each in value) + "]"
        else:
            shown = _shown(value)
        fields.append(f"{name}={shown}")
    return f"{type(node).__name__}({','.join(fields)})"


def _shown(value: object) -> str:
    return canonical(value) if isinstance(value, ast.AST) else repr(value)


def _without_docstring(node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
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
