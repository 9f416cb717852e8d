"""The YAML files of conf/ by group, and those of plug-ins."""

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
    folders = [CONF, *(plugin.conf for plugin in loaded_plugins() if plugin.conf is not None)]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def values_of(group: str, name: str, *, key: str) -> dict[str, Any]:
    """The values of a file of conf/, those with interpolations left out.

    Parameters
    ----------
    group, name : str
        Of the file, such as "text_encoder" and "minilm".
    key : str
        The key that names it, for the error.

    Raises
    ------
    PaddockError
        If the group has no such file.
    """
    known = choices(group)
    if name not in known:
        raise PaddockError(f"{key}={name} is unknown: {nearest(name, known)}")
    values = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))
    assert isinstance(values, dict)
    return {str(each): value for each, value in values.items() if "${" not in str(value)}
