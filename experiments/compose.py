"""Composing a configuration from overrides, and explaining why it cannot be composed."""

import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.config import Config
from experiments.errors import PaddockError
from experiments.validate import nearest

CONF = Path(__file__).resolve().parent.parent / "conf"

ConfigStore.instance().store(name="schema", node=Config)


def loosened(overrides: Sequence[str]) -> list[str]:
    """The overrides with `model.key=` as `++model.key=`.

    A model's keys are checked against what its class reads, not against what its YAML happens to
    spell out, so that Hydra must let them pass.
    """
    return [re.sub(r"^(?=model\.[^=]+=)", "++", override) for override in overrides]


def compose(overrides: Sequence[str], *, name: str = "config") -> DictConfig:
    """The configuration that `run.py` would compose from these overrides.

    Raises
    ------
    PaddockError
        If it cannot be composed.
    """
    # Inside a run Hydra is at work already; its state is set aside and put back.
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            return hydra_compose(name, overrides=loosened(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise PaddockError(explain(error)) from error
    finally:
        GlobalHydra.instance().hydra = running


def typed(config: DictConfig) -> Config:
    """The configuration as dataclasses, interpolations resolved.

    Raises
    ------
    PaddockError
        If a mandatory value is missing, or a key was added that the schema does not have.
    """
    _refuse_added(config, Config, "")
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise PaddockError(f"{missing[0]} is missing: add {missing[0]}=... to the command")
    try:
        result = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise PaddockError(explain(error)) from error
    assert isinstance(result, Config)
    return result


def _refuse_added(node: DictConfig, schema: Any, path: str) -> None:
    known = {field.name: field.type for field in fields(schema)}
    for key in map(str, node):
        full = f"{path}{key}"
        if key not in known:
            raise PaddockError(f"{full}: there is no such key; {nearest(full, _known_keys())}")
        if is_dataclass(known[key]) and not OmegaConf.is_missing(node, key):
            _refuse_added(node[key], known[key], f"{full}.")


def explain(error: Exception) -> str:
    """One sentence for a composition error: the key or group at fault, and the nearest known."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = " ".join(str(error).split())
    key = getattr(cause, "full_key", None)
    reason = " ".join(str(cause).split()).partition(" full_key:")[0]
    if found := re.search(r"Could not override '([^']+)'", text):
        wanted = found[1]
        if "not in struct" in reason or "not in '" in reason or "No match" in text:
            return f"{wanted}: there is no such key; {nearest(wanted, _known_keys())}"
        return f"{wanted}: {reason}"
    if found := re.search(r"Could not find '([^'/]+)/([^']+)'", text):
        group, choice = found[1], found[2]
        return f"{group}={choice}: there is no such file; {nearest(choice, choices(group))}"
    if found := re.search(r"You must specify '([^']+)'", text):
        return f"{found[1]} is missing: choose one of {', '.join(choices(found[1]))}"
    if found := re.search(r"Could not override '?([\w/]+)'?\. No match in the defaults list", text):
        return f"{found[1]}: there is no such group; {nearest(found[1], groups())}"
    if key:
        return f"{key}: {reason}"
    return text.partition(" See https")[0]


def groups() -> list[str]:
    return sorted(path.name for path in CONF.iterdir() if path.is_dir())


def choices(group: str) -> list[str]:
    """The YAML files of a group, by name."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def _known_keys() -> tuple[str, ...]:
    schema = OmegaConf.to_container(OmegaConf.structured(Config))
    known: list[str] = [*groups()]

    def walk(node: Any, path: str) -> None:
        if path:
            known.append(path)
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))

    walk(schema, "")
    for name, section in _sections().items():
        walk(section, name)
    return tuple(dict.fromkeys(known))


def _sections() -> dict[str, Any]:
    from experiments.config import DatasetConfig, ProtocolConfig, TrackingConfig

    kinds = {"dataset": DatasetConfig, "protocol": ProtocolConfig, "tracking": TrackingConfig}
    return {name: OmegaConf.to_container(OmegaConf.structured(k)) for name, k in kinds.items()}
