"""The YAML files of conf/ by group, and those of plug-ins."""

from experiments.components.plugins import loaded_plugins
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
