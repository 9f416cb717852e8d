"""Composing a configuration from overrides, and explaining why it cannot be composed."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast, overload

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from experiments.address import from_environment
from experiments.components.plugins import absolute_plugin, loaded_plugins, plugin_folders
from experiments.components.registry import strategies
from experiments.config.schema import Config, RankingConfig
from experiments.config.values import named, nearest
from experiments.errors import PaddockError
from experiments.paths import CONF, IN_CHECKOUT

RANKINGS = "protocol.rankings"
NO_RANKING = (
    "there is no such ranking; a protocol's rankings are listed in its file in conf/protocol/"
)

AUTO = "+tuned=auto"
"""Stands for the configuration that tune.py found best: conf/tuned/<dataset>/<protocol>/<model>.yaml."""
ANY = "+tuned=any"
"""The same where there is one, and the model's own values where there is none."""
TUNED = frozenset((AUTO, ANY))

TUNING_GROUPS = ("search", "tuned")
"""Folders of conf/ that hold what tune.py reads and writes, and no choice of run.py."""

PARTS = ("llm", "text_encoder")
"""Groups that a model is made with: they stand in the defaults of the model's YAML."""

_PART = re.compile(r"^(model\.backbone(?==(?!null$)\w)|llm|text_encoder)=")

OPTIONAL_GROUP = "experiment"
"""The only group that may be left out."""

Schema = TypeVar("Schema", bound=Config)

ConfigStore.instance().store(name="schema", node=Config)
OmegaConf.register_new_resolver("address", from_environment, replace=True)


def loosened(overrides: Sequence[str]) -> list[str]:
    """The overrides with `model.key=` as `++model.key=`, and so those of `search` and `grid_seeds`.

    A model's keys are checked against what its class reads, not against what its YAML happens to
    spell out, so that Hydra must let them pass; so are the keys of its search space. Those of
    `study.slurm` are checked by submitit.

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
    # A range may be declared by a key, where Hydra finds nothing to delete: null leaves it out.
    kept = [re.sub(r"^~search\.([^=]+)$", r"search.\1=null", each) for each in overrides]
    placed = [_PART.sub(_placed, override) for override in kept]
    return [
        re.sub(
            r"^(?=((model|search|grid_seeds|study\.slurm|protocol\.settings)\.[^=]+|grid_seeds)=)",
            "++",
            override,
        )
        for override in placed
    ]


def _placed(found: re.Match[str]) -> str:
    """A group that a model's YAML holds, under the name by which Hydra overrides it."""
    return (
        "model@model.backbone=" if found[1] == "model.backbone" else f"{found[1]}@model.{found[1]}="
    )


def compose(
    overrides: Sequence[str], *, name: str = "config", schema: type[Config] = Config
) -> DictConfig:
    """The configuration that `run.py` would compose from these overrides.

    Parameters
    ----------
    name, schema
        The root file in conf/ and its dataclass.

    Raises
    ------
    PaddockError
        If it cannot be composed.
    """
    if TUNED.intersection(overrides):
        overrides = settled(overrides)
    return _composed(overrides, name=name, schema=schema)


SEARCHPATH = "hydra.searchpath="


def with_plugins(overrides: Sequence[str]) -> list[str]:
    """The overrides with the conf/ folders of plug-ins where Hydra searches; the plug-ins are loaded.

    Plug-ins are those that are installed with an entry point, and those of `plugins=[...]`. Outside a
    checkout the working folder's own conf/ is searched too: tune.py writes its winners there.

    Raises
    ------
    PaddockError
        If there is no such plug-in.
    """
    asked = [each.partition("=")[2] for each in overrides if re.match(r"\+*plugins=", each)]
    given = [name.strip().strip("'\"") for name in ",".join(asked).strip("[] ").split(",")]
    folders = [f"file://{folder}" for folder in plugin_folders(filter(None, given))]
    own = Path.cwd() / "conf"
    if own.is_dir() and own.resolve() != CONF and not IN_CHECKOUT:
        folders.insert(0, f"file://{own}")
    if not folders:
        return list(overrides)
    places = _places([each for each in overrides if each.startswith(SEARCHPATH)])
    others = [each for each in overrides if not each.startswith(SEARCHPATH)]
    merged = [*places, *(folder for folder in folders if folder not in places)]
    return [*others, f"{SEARCHPATH}[{','.join(merged)}]"]


def _places(overrides: Sequence[str]) -> list[str]:
    listed = ",".join(each.removeprefix(SEARCHPATH).strip("[]") for each in overrides)
    return [place.strip() for place in listed.split(",") if place.strip()]


def given_places(overrides: Sequence[str]) -> tuple[str, ...]:
    """The override that says where else YAML files are, without the folders of plug-ins; or none."""
    own = {f"file://{plugin.conf}" for plugin in loaded_plugins()}
    places = _places([each for each in overrides if each.startswith(SEARCHPATH)])
    kept = [place for place in places if place not in own]
    return (f"{SEARCHPATH}[{','.join(kept)}]",) if kept else ()


def settled(overrides: Sequence[str]) -> list[str]:
    """The overrides with `+tuned=auto` (or any) as the file that tune.py wrote for what they compose to."""
    from experiments.data.sources.find import dataset_name

    others = [override for override in overrides if override not in TUNED]
    composed = _composed(others, name="config", schema=Config, return_hydra_config=True)
    chosen = composed.hydra.runtime.choices
    # Taken out as Hydra itself does; a copy without it would not be of the schema any more.
    with flag_override(composed, ["readonly", "struct"], False):
        del composed["hydra"]
    config = typed(composed)
    key = chosen.model if chosen.model != "recbole" else str(config.model["name"]).lower()
    option = f"{dataset_name(config.dataset)}/{config.protocol.name}/{key}"
    if ANY in overrides and not _is_there(f"tuned/{option}.yaml", others):
        return others
    return [*others, f"+tuned={option}"]


def _is_there(file: str, overrides: Sequence[str]) -> bool:
    """Whether a file is in conf/, or in a folder that the overrides let Hydra search."""
    places = _places([each for each in with_plugins(overrides) if each.startswith(SEARCHPATH)])
    folders = [CONF, *(Path(place.removeprefix("file://")) for place in places)]
    return any((folder / file).is_file() for folder in folders)


def _composed(
    overrides: Sequence[str], *, name: str, schema: type[Config], **options: Any
) -> DictConfig:
    # Inside a run Hydra is at work already; its state is set aside and put back.
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
            return hydra_compose(name, overrides=loosened(with_plugins(overrides)), **options)
    except (HydraException, OmegaConfBaseException) as error:
        raise PaddockError(explain(error, schema=schema)) from error
    finally:
        GlobalHydra.instance().hydra = running


@overload
def typed(config: DictConfig) -> Config: ...


@overload
def typed(config: DictConfig, *, schema: type[Schema]) -> Schema: ...


def typed(config: DictConfig, *, schema: type[Config] = Config) -> Config:
    """The configuration as dataclasses, interpolations resolved.

    Raises
    ------
    PaddockError
        If a mandatory value is missing, or a key was added that the schema does not have.
    """
    try:
        _refuse_added(config, schema, "")
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise PaddockError(f"{missing[0]} is missing: add {missing[0]}=... to the command")
        result = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise PaddockError(explain(error, schema=schema)) from error
    assert isinstance(result, schema)
    result.plugins = [absolute_plugin(name) for name in result.plugins]
    return result


def _refuse_added(
    node: DictConfig, schema: Any, path: str, *, root: type[Config] | None = None
) -> None:
    root = root or schema
    known = {field.name: field.type for field in fields(schema)}
    for key in map(str, node):
        full = f"{path}{key}"
        if key not in known:
            raise PaddockError(f"{full}: there is no such key; {near_key(full, schema=root)}")
        if is_dataclass(known[key]) and not OmegaConf.is_missing(node, key):
            _refuse_added(node[key], known[key], f"{full}.", root=root)


def explain(error: Exception, *, schema: type[Config] = Config) -> str:
    """One sentence for a composition error: the key or group at fault, and the nearest known."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = " ".join(str(error).split()).partition(" See https")[0]
    if isinstance(error, OverrideParseException):
        reason = text.removeprefix(f"Error parsing override '{error.override}'").strip()
        return f"{error.override}: cannot be read as KEY=VALUE ({reason}); quote special characters"
    if found := re.search(r"Ambiguous value for argument '(.+?)' 1\.", text):
        key, _, value = found[1].partition("=")
        return f"{found[1]}: several values make a grid: add -m; a list is written {key}=[{value}]"
    if found := re.search(r"Could not find 'tuned/([^']+)'", text):
        return _no_tuned(found[1])
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
        if found_part := re.fullmatch(r"(\w+)@model\.(\w+)", wanted):
            return f"{found_part[2]} is part of no such model; choose one with it: model=a_llmrec"
        if wanted == "tuned":
            return f"tuned is added to a configuration: write {AUTO}"
        if "Did you mean" in text:
            return text
        if key and wanted.startswith(f"{key}.") and key.startswith(f"{RANKINGS}."):
            return f"{wanted}: {NO_RANKING}"
        return f"{wanted}: there is no such key; {near_key(wanted, schema=schema)}"
    if found := re.search(r"Error merging override \+*([^=]+)=(.*)", text):
        # OmegaConf tells a full path only of what is there already.
        if found[1].startswith(f"{RANKINGS}.") and key and "." not in key:
            return f"{found[1]}: {NO_RANKING}"
        return f"{found[1]}={found[2].partition(' Value ')[0]}: {reason}"
    return f"{key}: {reason}" if key else text


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
    """A hint for an unknown key: a sibling, the same word elsewhere, or what there is around it."""
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


def groups() -> list[str]:
    """The groups that a run is made of."""
    folders = sorted(path.name for path in CONF.iterdir() if path.is_dir())
    return [folder for folder in folders if folder not in TUNING_GROUPS]


def choices(group: str) -> list[str]:
    """The YAML files of a group, by name."""
    folders = [CONF, *(plugin.conf for plugin in loaded_plugins() if plugin.conf is not None)]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


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
