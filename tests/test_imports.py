"""Which module may import which: the table, and the code held against it.

Imports within functions and under `if TYPE_CHECKING` count as those at a module's head do, and so
does a string that is a module's name, which is imported by that name somewhere.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = (
    "experiments.tuning",
    "experiments.commands",
    "experiments.talk",
    "experiments.serving",
    "experiments.evaluation",
    "experiments.training",
    "experiments.tracking",
    "experiments.language",
    "experiments.bridge",
    "models",
    "experiments.runs",
    "experiments.protocol",
    "experiments.config",
    "experiments.data",
    "experiments.components",
    "ground",
    "paddock",
)
"""From top to bottom; a module of the engine imports from its own floor and from lower ones.

The modules that lie in no folder of the engine (errors, files, ...) are its ground.
"""

REPORTS = (
    "paddock",
    "experiments.runs.compare",
    "experiments.runs.configuration",
    "experiments.config.metric_names",
    "ground",
)
"""What a report shares with the engine; for the rest it reads the tracking store."""

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    **{floor: FLOORS[number:] for number, floor in enumerate(FLOORS)},
    "models": ("models", "paddock"),
    "ground": ("ground",),
    "paddock": ("paddock",),
    "paddock.api": ("paddock", *FLOORS),
    "paddock.testing": ("paddock", *FLOORS),
    "paddock.__main__": (
        "experiments.commands.doctor",
        "experiments.commands.run",
        "experiments.commands.talk_page",
        "experiments.commands.ui",
        "experiments.tuning.cli",
        "reports.__main__",
    ),
    "reports": (*REPORTS, "reports"),
    "reports.plugins": (
        *REPORTS,
        "reports",
        "experiments.components.plugins",
        "experiments.components.registry",
    ),
    "run": ("experiments.commands.run",),
    "tune": ("experiments.tuning.cli",),
}
"""Unit -> the units and modules of this project that it imports. The longest unit that holds a
module counts for it; a unit stands for all modules in it."""

ONLY: dict[str, tuple[str, ...]] = {
    "models": ("implicit", "numpy", "recbole", "scipy", "threadpoolctl", "torch"),
    "paddock": (),
    "paddock.api": ("polars", "rich"),
    "paddock.layers": ("torch",),
    "paddock.testing": ("numpy", "pytest", "torch"),
    "run": (),
    "tune": (),
}
"""Unit -> the packages of others that it imports; units that are not named choose freely, but for
those in HOMES."""

HOMES: dict[str, tuple[str, ...]] = {
    "hydra": (
        "experiments.tuning",
        "experiments.commands",
        "experiments.config",
        "experiments.runs.identity",  # quotes values by the grammar of overrides
    ),
    "mlflow": (
        "experiments.tuning.tracking",
        "experiments.commands.logged",
        "experiments.serving.served_model",
        "experiments.tracking",
        "reports",
    ),
    "optuna": ("experiments.tuning", "reports"),
    "recbole": (
        "experiments.evaluation",
        "experiments.training",
        "experiments.language",
        "experiments.bridge",
        "models",
        "experiments.config.config_reads",  # where its classes' sources lie
        "experiments.config.make_recbole_models",  # writes the table of its models
    ),
    "streamlit": ("experiments.talk.page",),
    "torch": (
        "experiments.tuning",
        "experiments.commands",
        "experiments.serving",
        "experiments.evaluation",
        "experiments.training",
        "experiments.language",
        "experiments.bridge",
        "models",
        "paddock.layers",
        "ground",
        "paddock.testing",
    ),
    "peft": ("experiments.language.adapters",),
    "transformers": ("experiments.language",),
    "sqlglot": ("experiments.talk",),
    "vaderSentiment": ("experiments.talk",),
}
"""Package of others -> the only units that import it."""

EXCEPTIONS: dict[tuple[str, str], str] = {
    (
        "experiments.components.registry",
        name,
    ): "knows where each kind of component is declared, by name"
    for name in (
        "experiments.data.readers",
        "experiments.evaluation.beyond_accuracy",
        "experiments.evaluation.metrics",
        "experiments.protocol.splits",
        "experiments.training",
        "experiments.training.strategies",
        "reports.sections",
    )
} | {
    (
        "experiments.components.source_hash",
        "experiments.training",
    ): "a folder whose sources it hashes",
}
"""(module, what it imports) -> why, against the tables above. They make no circle either."""


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PACKAGES = ("experiments", "models", "reports", "paddock")
MODULES = {
    _module(path): path
    for pattern in ("run.py", "tune.py", *(f"{package}/**/*.py" for package in PACKAGES))
    for path in ROOT.glob(pattern)
}


@cache
def _imports(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """The modules of this project and the packages of others that a module imports."""
    ours, theirs = set(), set()
    for name in _named(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if name in MODULES:
            ours.add(name)
        elif name.partition(".")[0] not in PACKAGES:
            theirs.add(name.partition(".")[0])
    return frozenset(ours - {module}), frozenset(theirs - sys.stdlib_module_names)


def _named(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "a module is imported by its full name"
            assert node.level == 0, f"import {node.module} by its full name"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module
        elif (
            isinstance(node, ast.Constant)
            and node.value in MODULES
            # One word need not be a module's name: "models" may be a folder or a heading.
            and "." in node.value
        ):
            yield node.value


def _holds(unit: str, module: str) -> bool:
    if unit == "ground":
        head, _, rest = module.partition(".")
        return (
            head == "experiments" and MODULES[module].parent == ROOT / "experiments" and bool(rest)
        )
    return module == unit or module.startswith(f"{unit}.")


def _unit(table: dict[str, tuple[str, ...]], module: str) -> str | None:
    return max((unit for unit in table if _holds(unit, module)), key=len, default=None)


def _wrong(module: str) -> Iterator[str]:
    """What a module imports against the tables."""
    unit = _unit(MAY_IMPORT, module)
    assert unit is not None, f"{module} belongs to no floor: add it to FLOORS or move it"
    ours, theirs = _imports(module)
    yield from (name for name in ours if not any(_holds(each, name) for each in MAY_IMPORT[unit]))
    only = _unit(ONLY, module)
    for package in theirs:
        homes = HOMES.get(package)
        if (only is not None and package not in ONLY[only]) or (
            homes is not None and not any(_holds(home, module) for home in homes)
        ):
            yield package


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"experiments"}))
def test_a_module_imports_what_the_table_allows(module: str) -> None:
    assert {name for name in _wrong(module) if (module, name) not in EXCEPTIONS} == set()


def test_every_exception_is_one() -> None:
    """One that the code needs no more goes from the table."""
    assert {(module, name) for module, name in EXCEPTIONS if name not in _wrong(module)} == set()


def test_no_module_imports_itself_by_a_way_round() -> None:
    graph = {
        module: {name for name in _imports(module)[0] if (module, name) not in EXCEPTIONS}
        for module in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))
