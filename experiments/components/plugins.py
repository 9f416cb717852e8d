"""Plug-ins: folders and packages that bring components, configurations and callbacks of their own.

`plugins=[folder or package]` names them on a command line; a package that is installed with an entry
point of the group `paddock.plugins` is always there. A folder's files are imported as modules of
`paddock_plugins.<folder>`, so that they import each other relatively (from .layers import Layer).
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from experiments.errors import PaddockError

GROUP = "paddock.plugins"
NAMESPACE = "paddock_plugins"

_loaded: dict[str, "Plugin"] = {}


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One plug-in.

    Attributes
    ----------
    given : str
        As the command or the entry point names it.
    package : str
        The name under which its modules are imported.
    folder : Path
        Where they lie.
    """

    given: str
    package: str
    folder: Path

    @property
    def conf(self) -> Path | None:
        """Its folder of configurations, if it has one."""
        path = self.folder / "conf"
        return path if path.is_dir() else None

    def modules(self) -> dict[str, Path]:
        """Module -> file, of all its modules."""
        found = {}
        for path in sorted(self.folder.rglob("*.py")):
            parts = path.relative_to(self.folder).with_suffix("").parts
            outside = parts[0] in ("tests", "conf", "build", "dist")
            if outside or any(part.startswith(".") for part in parts) or parts[-1] == "setup":
                continue
            inner = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((self.package, *inner))] = path
        return found


def loaded_plugins() -> tuple[Plugin, ...]:
    """Those with an entry point, then those that were loaded by name, in order."""
    return (*_installed(), *_loaded.values())


def load_plugins(given: Iterable[str]) -> None:
    """Load plug-ins by folder or package; those loaded before stay.

    Parameters
    ----------
    given : iterable of str
        Folders or packages. Plug-ins that are loaded already stay.

    Raises
    ------
    PaddockError
        If there is no such folder or package.
    """
    for name in given:
        key = absolute_plugin(name)
        if key not in _loaded and all(plugin.given != name for plugin in _installed()):
            _loaded[key] = _from_folder(name) if _is_folder(name) else _from_package(name)


def _is_folder(name: str) -> bool:
    return "/" in name or "\\" in name or _folder(name).is_dir()


def absolute_plugin(name: str) -> str:
    """The name of a plug-in with a folder's path made absolute.

    Parameters
    ----------
    name : str
        A folder or a package.
    """
    return str(_folder(name)) if _is_folder(name) else name


def _folder(name: str) -> Path:
    return Path(name).expanduser().resolve()


def _from_folder(name: str) -> Plugin:
    folder = _folder(name)
    if not folder.is_dir():
        raise PaddockError(f"plugins holds {name}: there is no such folder")
    package = f"{NAMESPACE}.{folder.name.replace('-', '_').replace('.', '_')}"
    if not package.rpartition(".")[2].isidentifier():
        raise PaddockError(f"plugins holds {name}: rename the folder to a name of Python")
    if any(other.package == package for other in _loaded.values()):
        raise PaddockError(f"plugins holds two folders that are called {folder.name}")
    namespace = sys.modules.setdefault(NAMESPACE, _package(NAMESPACE, ()))
    made = _package(package, (str(folder),))
    init = folder / "__init__.py"
    if init.is_file():
        spec = importlib.util.spec_from_file_location(
            package, init, submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[package] = made
        try:
            spec.loader.exec_module(made)
        except Exception as error:
            del sys.modules[package]
            raise PaddockError(
                f"plugins holds {name}: {init} cannot be imported ({type(error).__name__}: {error})"
            ) from error
    sys.modules[package] = made
    setattr(namespace, package.rpartition(".")[2], made)
    return Plugin(given=name, package=package, folder=folder)


def _package(name: str, path: tuple[str, ...]) -> ModuleType:
    """An empty package whose modules lie in these folders."""
    made = ModuleType(name)
    made.__path__ = list(path)
    made.__spec__ = ModuleSpec(name, None, is_package=True)
    made.__spec__.submodule_search_locations = list(path)
    return made


def _from_package(name: str, *, given: str | None = None) -> Plugin:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise PaddockError(
            f"plugins holds {name}: there is no folder and no installed package of that name"
        )
    if not spec.submodule_search_locations:
        raise PaddockError(f"plugins holds {name}, which is a module: name a package or a folder")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return Plugin(given=given or name, package=name, folder=folder)


@cache
def _installed() -> tuple[Plugin, ...]:
    """The plug-ins of installed packages, by their entry points."""
    found = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return tuple(_from_package(point.module, given=point.name) for point in found)


def plugin_folders(given: Iterable[str]) -> list[Path]:
    """The conf/ folders of the installed plug-ins and of the given ones, which are loaded first.

    Parameters
    ----------
    given : iterable of str
        Folders or packages.
    """
    load_plugins(given)
    return [plugin.conf for plugin in loaded_plugins() if plugin.conf is not None]
