"""The YAML files of conf/ by group, and those of plug-ins."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.components.plugins import loaded_plugins
from experiments.config.values import nearest
from experiments.errors import PaddockError
from experiments.paths import CONF

TUNING_GROUPS = ("search", "tuned")
"""Folders of conf/ that hold what tune.py reads and writes, and no choice of run.py."""


def groups() -> list[str]:
    """The groups that a run is made of."""
    folders = sorted(path.name for path in CONF.iterdir() if path.is_dir())
    return [folder for folder in folders if folder not in TUNING_GROUPS]


def choices(group: str) -> list[str]:
    """The YAML files of a group, by name.

    Parameters
    ----------
    group : str
        Name of the group, such as "model".
    """
    return sorted({path.stem for folder in _folders(group) for path in folder.glob("*.yaml")})


def values_of(group: str, name: str, *, key: str) -> dict[str, Any]:
    """The values of a YAML file of a group, interpolations left out.

    Parameters
    ----------
    group, name : str
    key : str
        Which key names the file, for an error.

    Raises
    ------
    PaddockError
        There is no such file.
    """
    found = [path for folder in _folders(group) if (path := folder / f"{name}.yaml").is_file()]
    if not found:
        raise PaddockError(f"{key}={name} is unknown: {nearest(name, choices(group))}")
    values = OmegaConf.to_container(OmegaConf.load(found[0]))
    assert isinstance(values, dict)
    return {str(each): value for each, value in values.items() if "${" not in str(value)}


def _folders(group: str) -> list[Path]:
    own = [plugin.conf for plugin in loaded_plugins() if plugin.conf is not None]
    return [folder / group for folder in (CONF, *own)]
