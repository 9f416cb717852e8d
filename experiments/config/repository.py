"""Hydra's repository of YAML files and dataclasses, in which nothing is read or merged twice.

Kept is what follows from the content of files: a file that was written anew is read anew.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import DictConfig

MOST = 256
"""Merged configurations that are kept, of about 100 kB each; after so many it begins anew."""

_read: dict[tuple[Any, ...], tuple[Any, ConfigResult]] = {}
_merged: dict[tuple[Any, ...], tuple[Any, DictConfig]] = {}


class Repository(ConfigRepository):
    """Loads what Hydra's repository loads, the same content once; nobody may change it.

    Parameters
    ----------
    config_search_path : ConfigSearchPath
        Where Hydra looks for YAML files.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Hydra means to set other sources in the copy; a deep one copies the whole ConfigStore.
        copied = copy.copy(self)
        copied.sources = list(self.sources)
        return copied

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A file or dataclass of the search path, None if there is none."""
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        if source is None:
            return None
        content = _content(source, config_path)
        # A dataclass's node is told by its identity, which stands as long as the node is held.
        told = content if isinstance(content, bytes) else id(content)
        key = (source.scheme(), source.provider, source.path, config_path, told)
        if key not in _read:
            loaded = super().load_config(config_path)
            assert loaded is not None
            _read[key] = content, loaded
        return _read[key][1]


def _content(source: ConfigSource, config_path: str) -> Any:
    """What a source holds under a name: the bytes of a file, the node of the ConfigStore."""
    scheme = source.scheme()
    if scheme == "file":
        return (Path(source.path) / source._normalize_file_name(config_path)).read_bytes()
    if scheme == "structured":
        return _node(config_path)
    # Files of an installed package, which stand as long as this process runs.
    assert scheme == "pkg", scheme
    return b""


def _node(config_path: str) -> Any:
    try:
        return ConfigStore.instance()._load(ConfigSource._normalize_file_name(config_path))
    except ConfigLoadError:
        return None


class _Copies:
    """A repository whose configurations may be changed."""

    def __init__(self, repository: IConfigRepository) -> None:
        self._repository = repository

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)

    def load_config(self, config_path: str) -> ConfigResult | None:
        loaded = self._repository.load_config(config_path)
        if loaded is None:
            return None
        copied = copy.copy(loaded)
        copied.config = copy.deepcopy(loaded.config)
        return copied


def merged_once(
    defaults: Sequence[ResultDefault],
    repository: IConfigRepository,
    merge: Callable[[list[ResultDefault], Any], DictConfig],
) -> DictConfig:
    """The files of a defaults list, merged, before overrides change values.

    Parameters
    ----------
    defaults : sequence of ResultDefault
    repository : IConfigRepository
        Over a `Repository`.
    merge : callable
        Hydra's own way, which may change what the repository gives it.
    """
    # Hydra holds a file against a dataclass of the same name, if there is one.
    parts = [
        (repository.load_config(str(each.config_path)), _node(str(each.config_path)))
        for each in defaults
    ]
    key = tuple(
        (each.config_path, each.package, each.primary, id(loaded), id(node))
        for each, (loaded, node) in zip(defaults, parts, strict=True)
    )
    if key not in _merged:
        if len(_merged) >= MOST:
            _merged.clear()
        # With the parts, whose identities are not given to others so long.
        _merged[key] = parts, merge(list(defaults), _Copies(repository))
    return copy.deepcopy(_merged[key][1])
