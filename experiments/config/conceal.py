"""Passwords are taken out of all that Hydra composes, before Hydra or anybody else writes it down."""

from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import Container, DictConfig, ListConfig, flag_override

from experiments.passwords import conceal_all

_load = ConfigLoaderImpl.load_configuration


def _load_concealed(self: ConfigLoaderImpl, *args: Any, **options: Any) -> DictConfig:
    config = _load(self, *args, **options)
    with flag_override(config, ["readonly", "struct"], False):
        _conceal(config)
    return config


def install() -> None:
    """Let Hydra compose configurations without passwords, in this process.

    No callback of Hydra's comes before multirun.yaml and .hydra/config.yaml for what a YAML file holds.
    """
    setattr(ConfigLoaderImpl, "load_configuration", _load_concealed)  # noqa: B010


def _conceal(node: Container) -> None:
    if node._is_none() or node._is_missing() or node._is_interpolation():
        return
    assert isinstance(node, DictConfig | ListConfig)
    for key in range(len(node)) if isinstance(node, ListConfig) else list(node):
        child: Any = node._get_node(key)
        if isinstance(child, Container):
            _conceal(child)
        elif isinstance(held := child._value(), str) and (shown := conceal_all(held)) != held:
            child._set_value(shown)
