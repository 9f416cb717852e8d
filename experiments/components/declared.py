"""Configuration classes of components, read without importing what stands beside them.

A model's or a strategy's file imports torch and RecBole, which takes seconds; a configuration is
checked before that is paid for. Of such a file only the configuration classes are executed, with the
statements that bind the names that they use.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from experiments.errors import PaddockError
from paddock import ModelConfig, Schema, StrategyConfig

SUFFIX = "Config"


@cache
def declared_in(file: Path, module: str) -> Mapping[str, type[Schema]]:
    """The configuration classes that a file declares, by class name.

    Parameters
    ----------
    file : Path
        A Python file.
    module : str
        Its full name, for relative imports.

    Raises
    ------
    PaddockError
        If a declaration is wrong.
    """
    text = file.read_text(encoding="utf-8")
    if f"{SUFFIX}(" not in text:
        return {}
    try:
        tree = ast.parse(text, filename=str(file))
    except SyntaxError as error:
        raise PaddockError(f"{file}, line {error.lineno}: {error.msg}") from error
    wanted = [node for node in tree.body if isinstance(node, ast.ClassDef) and _is_config(node)]
    if not wanted:
        return {}
    package = module if file.stem == "__init__" else module.rpartition(".")[0]
    namespace: dict[str, Any] = {"__name__": module, "__package__": package, "__file__": str(file)}
    statements = _needed(tree, wanted, namespace, file=file, package=package)
    try:
        code = compile(ast.Module(body=statements, type_ignores=[]), str(file), "exec")
        exec(code, namespace)
    except Exception as error:
        raise PaddockError(
            f"{file}: its configuration cannot be read ({type(error).__name__}: {error}); a class "
            f"that is named ...{SUFFIX} may use declarations of paddock and plain values alone"
        ) from error
    found = {node.name: namespace[node.name] for node in wanted}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, type) and issubclass(value, ModelConfig | StrategyConfig)
    }


def _is_config(node: ast.ClassDef) -> bool:
    bases = [base.attr if isinstance(base, ast.Attribute) else _id(base) for base in node.bases]
    return node.name.endswith(SUFFIX) and any(base.endswith(SUFFIX) for base in bases)


def _id(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _needed(
    tree: ast.Module,
    wanted: list[ast.ClassDef],
    namespace: dict[str, Any],
    *,
    file: Path,
    package: str,
) -> list[ast.stmt]:
    """The statements that the classes need, in the file's order.

    A configuration class that another file declares is put into the namespace instead.
    """
    bound = {name: node for node in tree.body for name in _names_bound(node)}
    needed: set[ast.stmt] = set()
    waiting: list[ast.stmt] = list(wanted)
    while waiting:
        node = waiting.pop()
        if node in needed:
            continue
        needed.add(node)
        for inner in ast.walk(node):
            if not isinstance(inner, ast.Name) or inner.id not in bound:
                continue
            binding = bound[inner.id]
            if isinstance(binding, ast.ImportFrom):
                elsewhere = _declared_elsewhere(binding, inner.id, file=file, package=package)
                if elsewhere is not None:
                    namespace[inner.id] = elsewhere
                    continue
            waiting.append(binding)
    return [node for node in tree.body if node in needed]


def _names_bound(node: ast.stmt) -> Iterator[str]:
    """The names that a top-level statement binds."""
    match node:
        case ast.ClassDef() | ast.FunctionDef():
            yield node.name
        case ast.Import() | ast.ImportFrom():
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.Assign():
            for target in node.targets:
                yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _declared_elsewhere(
    node: ast.ImportFrom, name: str, *, file: Path, package: str
) -> type[Schema] | None:
    """The configuration class that an import names, where its file is beside this one."""
    if not name.endswith(SUFFIX):
        return None
    for module, path in imported_files(node, file=file, package=package):
        found = declared_in(path, module).get(name)
        if found is not None:
            return found
    return None


def imported_files(
    node: ast.Import | ast.ImportFrom, *, file: Path, package: str
) -> Iterator[tuple[str, Path]]:
    """The files beside `file`, within its top-level package, that an import may name.

    Parameters
    ----------
    node : ast.Import or ast.ImportFrom
        The import statement.
    file : Path
        The file that holds it.
    package : str
        The full name of the package that holds `file`.

    Yields
    ------
    module, path
    """
    if isinstance(node, ast.Import):
        targets = [alias.name for alias in node.names]
    else:
        base = node.module or ""
        if node.level:
            parents = package.split(".")
            above = ".".join(parents[: len(parents) - node.level + 1])
            base = f"{above}.{base}" if base else above
        targets = [base, *(f"{base}.{alias.name}" for alias in node.names)]
    for module in targets:
        path = _beside(module, file=file, package=package)
        if path is None:
            continue
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                yield module, candidate


def _beside(module: str, *, file: Path, package: str) -> Path | None:
    """Where a module's file is, without its ending; None where it is of another top-level package.

    The folder of a package need not bear its name: a plug-in's may hold a hyphen.
    """
    parts, known = module.split("."), package.split(".")
    shared = 0
    while shared < min(len(parts), len(known)) and parts[shared] == known[shared]:
        shared += 1
    if shared == 0:
        return None
    folder = file.parent
    for _ in known[shared:]:
        folder = folder.parent
    return folder.joinpath(*parts[shared:])
