"""Composing a configuration from overrides, and explaining why it cannot be composed."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.config import Config, RankingConfig
from experiments.errors import PaddockError
from experiments.hyperparameters import STRATEGY_KEYS
from experiments.values import named, nearest

CONF = Path(__file__).resolve().parent.parent / "conf"

RANKINGS = "protocol.rankings"
NO_RANKING = (
    "there is no such ranking; a protocol's rankings are listed in its file in conf/protocol/"
)

OPTIONAL_GROUP = "experiment"
"""The only group that may be left out."""

ConfigStore.instance().store(name="schema", node=Config)


def loosened(overrides: Sequence[str]) -> list[str]:
    """The overrides with `model.key=` as `++model.key=`.

    A model's keys are checked against what its class reads, not against what its YAML happens to
    spell out, so that Hydra must let them pass.

    Raises
    ------
    PaddockError
        If a group is given something else than a name.
    """
    for override in overrides:
        group, given, choice = override.lstrip("+").partition("=")
        # Hydra would merge the files of a list, and fails on a null with a traceback.
        nameless = choice in ("", "null") or choice.startswith(("[", "{"))
        if given and group in groups() and group != OPTIONAL_GROUP and nameless:
            raise PaddockError(f"{group}={choice} names no file; {nearest(choice, choices(group))}")
        if given and not group:
            raise PaddockError(f"{override}: there is no key before the '='")
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
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise PaddockError(f"{missing[0]} is missing: add {missing[0]}=... to the command")
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
            raise PaddockError(f"{full}: there is no such key; {near_key(full)}")
        if is_dataclass(known[key]) and not OmegaConf.is_missing(node, key):
            _refuse_added(node[key], known[key], f"{full}.")


def explain(error: Exception) -> str:
    """One sentence for a composition error: the key or group at fault, and the nearest known."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = " ".join(str(error).split()).partition(" See https")[0]
    if isinstance(error, OverrideParseException):
        reason = text.removeprefix(f"Error parsing override '{error.override}'").strip()
        return f"{error.override}: cannot be read as KEY=VALUE ({reason}); quote special characters"
    if found := re.search(r"Ambiguous value for argument '(.+?)' 1\.", text):
        key, _, value = found[1].partition("=")
        return f"{found[1]}: several values make a grid: add -m; a list is written {key}=[{value}]"
    if found := re.search(
        r"Could not find '([^']+)/([^'/]*)' Available options in '[^']+': ", text
    ):
        known = text[found.end() :].partition(" Config search path")[0].split()
        return f"{found[1]}={found[2]}: there is no such file; {nearest(found[2], known)}"
    if found := re.search(r"You must specify '([^']+)'", text):
        return f"{found[1]} is missing: choose one of {', '.join(choices(found[1]))}"
    reason = _reason(cause)
    key = getattr(cause, "full_key", None) or ""
    if found := re.search(r"Could not override '([^']+)'", text):
        wanted = found[1]
        if "Did you mean" in text:
            return text
        if key and wanted.startswith(f"{key}.") and key.startswith(f"{RANKINGS}."):
            return f"{wanted}: {NO_RANKING}"
        return f"{wanted}: there is no such key; {near_key(wanted)}"
    if found := re.search(r"Error merging override \+*([^=]+)=(.*)", text):
        # OmegaConf tells a full path only of what is there already.
        if found[1].startswith(f"{RANKINGS}.") and key and "." not in key:
            return f"{found[1]}: {NO_RANKING}"
        return f"{found[1]}={found[2].partition(' Value ')[0]}: {reason}"
    return f"{key}: {reason}" if key else text


def _reason(error: BaseException) -> str:
    """What OmegaConf has against a value, without its class names."""
    text = " ".join(str(error).split()).partition(" full_key:")[0]
    if re.search("is not Optional", text):
        return "it cannot be null"
    if re.search("is not a ListConfig", text):
        return "it must be a list, as in [a,b]"
    if re.search("Invalid type assigned", text):
        return "it holds keys of its own: set one of those"
    return text


def near_key(wanted: str) -> str:
    """A hint for an unknown key: a sibling, the same word elsewhere, or what there is around it."""
    if wanted.startswith("hydra."):
        launcher = wanted.startswith("hydra.launcher.")
        return "it comes with hydra/launcher=joblib" if launcher else "Hydra has none"
    parent, _, name = wanted.rpartition(".")
    family = re.sub(rf"^{RANKINGS}\.[^.]+", f"{RANKINGS}.*", parent)
    around = [key.rpartition(".")[2] for key in _known_keys() if key.rpartition(".")[0] == family]
    prefix = f"{parent}." if parent else ""
    if difflib.get_close_matches(name, around, n=1, cutoff=0.6):
        return nearest(name, around, prefix=prefix)
    if elsewhere := [key for key in _known_keys() if key.rpartition(".")[2] == name]:
        return f"did you mean {elsewhere[0]}?"
    if around:
        where = f"{parent} holds" if parent else "there are"
        return f"{where} {named(name, around)}"
    return near_key(parent) if parent else named(name, _known_keys())


def groups() -> list[str]:
    return sorted(path.name for path in CONF.iterdir() if path.is_dir())


def choices(group: str) -> list[str]:
    """The YAML files of a group, by name."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def _known_keys() -> tuple[str, ...]:
    known: list[str] = []

    def walk(schema: Any, path: str) -> None:
        for field in fields(schema):
            full = f"{path}{field.name}"
            known.append(full)
            if is_dataclass(field.type):
                walk(field.type, f"{full}.")

    walk(Config, "")
    walk(RankingConfig, f"{RANKINGS}.*.")
    known += [f"model.{key}" for key in dict.fromkeys(chain(*STRATEGY_KEYS.values()))]
    return tuple(dict.fromkeys([*known, *groups()]))
