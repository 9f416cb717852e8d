"""All components by kind and name: Paddock's own, then those of plug-ins.

Models and strategies are found by their configuration classes, which are read without importing what
stands beside them (`experiments.components.declared`). Components that are one function are found by
importing their module. Nothing else keeps a list of components.
"""

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from experiments.components.declared import declared_in
from experiments.components.plugins import Plugin, loaded_plugins
from experiments.components.source_hash import source_hash
from experiments.errors import PaddockError
from experiments.paths import MODELS, ROOT
from paddock import (
    Callback,
    ListMeasure,
    Metric,
    ModelConfig,
    Reader,
    ReportSection,
    Schema,
    Split,
    StrategyConfig,
)

FUNCTIONS: dict[type, tuple[str, str]] = {
    Split: ("split", "experiments.protocol.splits"),
    Metric: ("metric", "experiments.evaluation.metrics"),
    ListMeasure: ("list measure", "experiments.evaluation.beyond_accuracy"),
    Reader: ("reader", "experiments.data.readers"),
    ReportSection: ("report section", "reports.sections"),
}
"""Declaration of a function -> what it is called, and the module or package that holds ours."""

STRATEGIES = "experiments.training.strategies"


@dataclass(frozen=True, kw_only=True)
class Component:
    """One component: its declaration and where its code is.

    Attributes
    ----------
    kind : str
        "model", "strategy", "split", "metric", "list measure", "reader" or "report section".
    name : str
        As a configuration names it.
    declaration : object
        A configuration class, or the declaration of a function.
    module, attribute : str
        What is imported to use it.
    file : Path
        The module's file.
    within : str
        The package whose files count as part of its source where it imports them.
    plugin : Plugin or None
        The plug-in that brings it; None for Paddock's own.
    """

    kind: str
    name: str
    declaration: Any
    module: str
    attribute: str
    file: Path
    within: str
    plugin: Plugin | None = None

    def load(self) -> Any:
        """The class or function itself; its file is imported.

        Raises
        ------
        PaddockError
            If a plug-in's file cannot be imported, or lacks it.
        """
        try:
            return getattr(importlib.import_module(self.module), self.attribute)
        except Exception as error:
            if self.plugin is None:
                raise
            raise PaddockError(
                f"{self.file}: the {self.kind} {self.name} cannot be imported "
                f"({type(error).__name__}: {error})"
            ) from error

    @property
    def source(self) -> str:
        """The hash of its source, and of what it imports within its package."""
        return source_hash(self.file, self.module, within=self.within)


def models() -> Mapping[str, Component]:
    """The models that are declared: those of models/ and of plug-ins."""
    return _classes("model", ModelConfig, loaded_plugins())


def strategies() -> Mapping[str, Component]:
    """The training strategies."""
    return _classes("strategy", StrategyConfig, loaded_plugins())


def functions(kind: type) -> Mapping[str, Component]:
    """The components that are one function.

    Parameters
    ----------
    kind : type
        `Split`, `Metric`, `ListMeasure`, `Reader` or `ReportSection`.
    """
    return _functions(kind, loaded_plugins())


def callbacks() -> list[type[Callback]]:
    """The callback classes of plug-ins, which every run has."""
    found = []
    for plugin in loaded_plugins():
        for module, path in plugin.modules().items():
            if not re.search(r"\bCallback\b", path.read_text(encoding="utf-8")):
                continue
            own = [
                value
                for value in vars(_imported(module, path)).values()
                if isinstance(value, type)
                and issubclass(value, Callback)
                and value.__module__ == module
            ]
            for value in own:
                _check_callback(value, path)
            found += own
    return found


def _check_callback(made: type[Callback], path: Path) -> None:
    """Refuse a method that a run could not call.

    Raises
    ------
    PaddockError
        Naming the file, the class and the method.
    """
    for name, method in vars(made).items():
        declared = getattr(Callback, name, None)
        if not name.startswith("on_"):
            continue
        if declared is None:
            known = [each for each in vars(Callback) if each.startswith("on_")]
            raise PaddockError(
                f"{path}: {made.__name__}.{name} is never called; a callback has {', '.join(known)}"
            )
        parameters = list(inspect.signature(declared).parameters)
        try:
            inspect.signature(method).bind(*parameters)
        except TypeError as error:
            raise PaddockError(
                f"{path}: {made.__name__}.{name} must take ({', '.join(parameters)}): {error}"
            ) from error


def strategy_config(name: str) -> type[StrategyConfig]:
    """The declaration of a strategy.

    Parameters
    ----------
    name : str
        Name of a known strategy.
    """
    config: type[StrategyConfig] = strategies()[name].declaration
    return config


@cache
def _classes(kind: str, base: type[Schema], plugins: tuple[Plugin, ...]) -> Mapping[str, Component]:
    found: dict[str, Component] = {}
    for module, path, within, plugin in _places(kind, plugins):
        for class_name, config in declared_in(path, module).items():
            if not issubclass(config, base):
                continue
            name = config.name() if issubclass(config, ModelConfig) else vars(config).get("name")
            if name is None:
                continue  # what several strategies extend
            # A folder's model is what its package offers; a file's stands in the file.
            init = path.with_name("__init__.py")
            package = kind == "model" and path.stem == "config" and init.is_file()
            component = Component(
                kind=kind,
                name=name,
                declaration=config,
                module=module.rpartition(".")[0] if package else module,
                attribute=class_name.removesuffix("Config"),
                file=init if package else path,
                within=within,
                plugin=plugin,
            )
            _add(found, component)
    return found


def _places(
    kind: str, plugins: tuple[Plugin, ...]
) -> Iterator[tuple[str, Path, str, Plugin | None]]:
    """Module, file, package and plug-in of every file that may hold a component of the kind."""
    if kind == "model":
        for path in sorted([*MODELS.glob("*.py"), *MODELS.glob("*/config.py")]):
            parts = path.relative_to(MODELS).with_suffix("").parts
            yield ".".join(("models", *parts)), path, "models", None
    else:
        folder = ROOT.joinpath(*STRATEGIES.split("."))
        for path in sorted(folder.glob("*.py")):
            yield f"{STRATEGIES}.{path.stem}", path, "experiments.training", None
    for plugin in plugins:
        for module, path in plugin.modules().items():
            yield module, path, plugin.package, plugin


@cache
def _functions(kind: type, plugins: tuple[Plugin, ...]) -> Mapping[str, Component]:
    label, ours = FUNCTIONS[kind]
    found: dict[str, Component] = {}
    for module, path in _own_modules(ours):
        for component in _in_module(kind, label, module, path, within="experiments", plugin=None):
            _add(found, component)
    pattern = re.compile(rf"\b{label.replace(' ', '_')}\(")
    for plugin in plugins:
        for module, path in plugin.modules().items():
            if not pattern.search(path.read_text(encoding="utf-8")):
                continue
            for component in _in_module(
                kind, label, module, path, within=plugin.package, plugin=plugin
            ):
                _add(found, component)
    return found


def _own_modules(name: str) -> Iterator[tuple[str, Path]]:
    """A module, or the modules of a package, with their files."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir():
        for file in sorted(path.glob("*.py")):
            if file.stem != "__init__":
                yield f"{name}.{file.stem}", file
    else:
        yield name, path.with_suffix(".py")


def _in_module(
    kind: type, label: str, module: str, path: Path, *, within: str, plugin: Plugin | None
) -> Iterator[Component]:
    for attribute, value in vars(_imported(module, path)).items():
        declaration = getattr(value, "declaration", None)
        if isinstance(declaration, kind) and inspect.getmodule(value) is not None:
            if getattr(value, "__module__", None) != module:
                continue
            yield Component(
                kind=label,
                name=declaration.name,  # type: ignore[attr-defined]
                declaration=declaration,
                module=module,
                attribute=attribute,
                file=path,
                within=within,
                plugin=plugin,
            )


def _imported(module: str, path: Path) -> Any:
    try:
        return importlib.import_module(module)
    except PaddockError:
        raise
    except Exception as error:
        if module.startswith(("experiments.", "reports.")):
            raise
        raise PaddockError(
            f"{path} cannot be imported ({type(error).__name__}: {error})"
        ) from error


def _add(found: dict[str, Component], component: Component) -> None:
    earlier = found.get(component.name)
    if earlier is not None:
        raise PaddockError(
            f"{component.file} brings the {component.kind} {component.name}, which "
            f"{earlier.file} brings already: rename one of them"
        )
    found[component.name] = component
