"""Passwords are taken out of what Hydra composes, before Hydra or anybody else writes it down."""

from typing import Any

from omegaconf import Container, DictConfig, ListConfig, flag_override

from experiments.passwords import conceal_all


def conceal_composed(config: DictConfig) -> None:
    """Conceal the addresses in a composed configuration, which is changed.

    Interpolations are left as they are: what they bring is concealed when it is read.

    Parameters
    ----------
    config : DictConfig
        As composed from YAML files and overrides.
    """
    with flag_override(config, ["readonly", "struct"], False):
        _conceal(config)


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
