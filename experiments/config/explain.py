"""Why a configuration cannot be composed, in one sentence."""

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import chain
from typing import Any, cast

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from experiments.components.registry import strategies
from experiments.config.groups import choices, groups
from experiments.config.schema import Config, RankingConfig
from experiments.config.values import named, nearest
from experiments.errors import PaddockError

RANKINGS = "protocol.rankings"
NO_RANKING = (
    "there is no such ranking; a protocol's rankings are listed in its file in conf/protocol/"
)

AUTO = "+tuned=auto"
"""Stands for the configuration that tune.py found best: conf/tuned/<dataset>/<protocol>/<model>.yaml."""


@contextmanager
def explained(schema: type[Config] = Config) -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise in the block into one sentence.

    Parameters
    ----------
    schema : type
        The dataclass of the root file.

    Raises
    ------
    PaddockError
        In their place.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise PaddockError(explain(error, schema=schema)) from error


def explain(error: Exception, *, schema: type[Config] = Config) -> str:
    """One sentence for a composition error: the key or group at fault, and the nearest known.

    Parameters
    ----------
    error : Exception
        Hydra's or OmegaConf's.
    schema : type
        The dataclass of the root file.
    """
    text = " ".join(str(error).split()).partition(" See https")[0]
    if isinstance(error, OverrideParseException):
        reason = text.removeprefix(f"Error parsing override '{error.override}'").strip()
        return f"{error.override}: cannot be read as KEY=VALUE ({reason}); quote special characters"
    if found := re.search(r"Ambiguous value for argument '(.+?)' 1\.", text):
        key, _, value = found[1].partition("=")
        return f"{found[1]}: several values make a grid: add -m; a list is written {key}=[{value}]"
    return _missing_file(text) or _wrong_value(error, text, schema)


def _missing_file(text: str) -> str:
    """The sentence for a YAML file that is not there; "" for another error."""
    if found := re.search(r"Could not find 'tuned/([^']+)'", text):
        return _no_tuned(found[1])
    if found := re.search(
        r"Could not find '([^']+)/([^'/]*)' Available options in '[^']+': ", text
    ):
        known = text[found.end() :].partition(" Config search path")[0].split()
        return f"{found[1]}={found[2]}: there is no such file; {nearest(found[2], known)}"
    if found := re.search(r"You must specify '([^']+)'", text):
        return f"{found[1]} is missing: choose one of {', '.join(choices(found[1]))}"
    return ""


def _wrong_value(error: Exception, text: str, schema: type[Config]) -> str:
    """The sentence for a key that there is not, or a value that it does not take."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    reason = _reason(cause)
    key = getattr(cause, "full_key", None) or ""
    if found := re.search(r"Could not override '([^']+)'", text):
        return _unknown_key(found[1], key, text, schema)
    if found := re.search(r"Error merging override \+*([^=]+)=(.*)", text):
        # OmegaConf gives a full path only of what is there already.
        if found[1].startswith(f"{RANKINGS}.") and key and "." not in key:
            return f"{found[1]}: {NO_RANKING}"
        return f"{found[1]}={found[2].partition(' Value ')[0]}: {reason}"
    return f"{key}: {reason}" if key else text


def _unknown_key(wanted: str, key: str, text: str, schema: type[Config]) -> str:
    if part := re.fullmatch(r"(\w+)@model\.(\w+)", wanted):
        return f"{part[2]} is part of no such model; choose one with it: model=a_llmrec"
    if wanted == "tuned":
        return f"tuned is added to a configuration: write {AUTO}"
    if "Did you mean" in text:
        return text
    if key and wanted.startswith(f"{key}.") and key.startswith(f"{RANKINGS}."):
        return f"{wanted}: {NO_RANKING}"
    return f"{wanted}: there is no such key; {near_key(wanted, schema=schema)}"


def _no_tuned(option: str) -> str:
    """What to do about a tuned configuration that is not there."""
    if option.count("/") != 2:
        return f"+tuned={option}: there is no such file in conf/tuned/; write {AUTO}"
    dataset, protocol, model = option.split("/")
    return (
        f"{AUTO}: there is no conf/tuned/{option}.yaml; tune it first: "
        f"python tune.py model={model} dataset={dataset} protocol={protocol}"
    )


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


def near_key(wanted: str, *, schema: type[Config] = Config) -> str:
    """A hint for an unknown key: one beside it, one of the same name elsewhere, or what there is.

    Parameters
    ----------
    wanted : str
        The key's full path.
    schema : type of Config
        The dataclass of the root file.
    """
    if wanted.startswith("hydra."):
        launcher = wanted.startswith("hydra.launcher.")
        return "it comes with hydra/launcher=joblib" if launcher else "Hydra has none"
    parent, _, name = wanted.rpartition(".")
    family = re.sub(rf"^{RANKINGS}\.[^.]+", f"{RANKINGS}.*", parent)
    known = _known_keys(cast(Any, schema))
    around = [key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == family]
    prefix = f"{parent}." if parent else ""
    if difflib.get_close_matches(name, around, n=1, cutoff=0.6):
        return nearest(name, around, prefix=prefix)
    if elsewhere := [key for key in known if key.rpartition(".")[2] == name]:
        return f"did you mean {elsewhere[0]}?"
    if around:
        where = f"{parent} holds" if parent else "there are"
        return f"{where} {named(name, around)}"
    return near_key(parent, schema=schema) if parent else named(name, known)


@cache
def _known_keys(root: Any) -> tuple[str, ...]:
    known: list[str] = []

    def walk(schema: Any, path: str) -> None:
        for field in fields(schema):
            full = f"{path}{field.name}"
            known.append(full)
            if is_dataclass(field.type):
                walk(field.type, f"{full}.")

    walk(root, "")
    walk(RankingConfig, f"{RANKINGS}.*.")
    keys = [component.declaration.keys for component in strategies().values()]
    known += [f"model.{key}" for key in dict.fromkeys(chain(*keys))]
    return tuple(dict.fromkeys([*known, *groups()]))
