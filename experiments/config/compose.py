"""Composing a configuration from overrides, and explaining why it cannot be composed."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from experiments.address import from_environment
from experiments.components.plugins import absolute_plugin, loaded_plugins, plugin_folders
from experiments.config.explain import AUTO, explain, near_key
from experiments.config.groups import choices, groups
from experiments.config.loader import install
from experiments.config.schema import Config
from experiments.config.values import nearest
from experiments.errors import PaddockError
from experiments.passwords import conceal_all, concealed_override
from experiments.paths import CONF, IN_CHECKOUT
from experiments.visible import visible

ANY = "+tuned=any"
"""The same where there is one, and the model's own values where there is none."""
TUNED = frozenset((AUTO, ANY))

PARTS = ("llm", "text_encoder")
"""Groups that a model is made with: they stand in the defaults of the model's YAML."""

_MODEL = r"model\.(?:backbone|members\.\w+)"
_PART = re.compile(
    rf"^(?P<how>\+?)(?:(?P<model>{_MODEL})(?==(?!null$)\w)|(?P<at>{_MODEL}\.)?(?P<part>llm|text_encoder))="
)
_NO_MEMBER = re.compile(r"^~(?=model\.members\.\w+$)")

OPTIONAL_GROUP = "experiment"
"""The only group that may be left out."""

FREE_TEXTS = ("query", "where")
"""Keys whose value is a text for people, not of Hydra's grammar."""

Schema = TypeVar("Schema", bound=Config)

ConfigStore.instance().store(name="schema", node=Config)
OmegaConf.register_new_resolver("address", from_environment, replace=True)
install()


def loosened(overrides: Sequence[str]) -> list[str]:
    """The overrides with `model.key=` as `++model.key=`, and so for others that no schema spells out.

    Passwords are taken out of the addresses in them, which goes before all that shows an override.

    A model's keys are checked against what its class reads, not against what its YAML happens to
    spell out, so that Hydra must let them pass; so are the keys of its search space. Those of
    `study.slurm` are checked by submitit.

    Parameters
    ----------
    overrides : sequence of str
        As a command gives them.

    Raises
    ------
    PaddockError
        If a group is given something else than a name.
    """
    overrides = [_quoted(concealed_override(each)) for each in overrides]
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
    placed = [_PART.sub(_placed, _NO_MEMBER.sub("~model@", override)) for override in kept]
    return [
        re.sub(
            r"^(?=((model|search|grid_seeds|profile|study\.slurm|protocol\.settings)\.[^=]+|grid_seeds|"
            r"dataset\.join\.(columns|lists)(\.[^=]+)?)=)",
            "++",
            override,
        )
        for override in placed
    ]


def _quoted(override: str) -> str:
    """A free text in quotation marks, which Hydra's grammar needs where it holds a sign or a comma."""
    key, given, text = override.partition("=")
    if not given or key.lstrip("+") not in FREE_TEXTS or text in ("", "null") or text[0] in "'\"":
        return override
    # A backslash counts where it stands before a quotation mark, or at the end.
    literal = re.sub(r"(\\*)('|$)", r"\1\1\\\2", text).removesuffix("\\").replace("${", "\\${")
    return f"{key}='{literal}'"


def _placed(found: re.Match[str]) -> str:
    """A group that a model's YAML holds, under the name by which Hydra overrides it."""
    if found["model"]:
        return f"{found['how']}model@{found['model']}="
    return f"{found['how']}{found['part']}@{found['at'] or 'model.'}{found['part']}="


def compose(
    overrides: Sequence[str], *, name: str = "config", schema: type[Config] = Config
) -> DictConfig:
    """The configuration that `run.py` would compose from these overrides.

    Parameters
    ----------
    overrides : sequence of str
        As a command gives them.
    name, schema : str
        The root file in conf/ and its dataclass.

    Raises
    ------
    PaddockError
        If it cannot be composed.
    """
    if TUNED.intersection(overrides):
        overrides = settled(overrides)
    return _composed(overrides, name=name, schema=schema)


def choices_of(overrides: Sequence[str]) -> dict[str, str]:
    """Group -> YAML file that the configuration of these overrides is composed from.

    Parameters
    ----------
    overrides : sequence of str
        As a command gives them.

    Raises
    ------
    PaddockError
        If it cannot be composed.
    """
    made = _composed(overrides, name="config", schema=Config, return_hydra_config=True)
    return {str(group): str(file) for group, file in made.hydra.runtime.choices.items()}


SEARCHPATH = "hydra.searchpath="


def with_plugins(overrides: Sequence[str]) -> list[str]:
    """The overrides with the plug-ins' conf/ folders on Hydra's search path.

    Plug-ins are those that are installed with an entry point, and those of `plugins=[...]`. Outside a
    checkout the working folder's own conf/ is searched too: tune.py writes its winners there.

    Parameters
    ----------
    overrides : sequence of str
        As a command gives them.

    Raises
    ------
    PaddockError
        If there is no such plug-in.
    """
    listed = [each.partition("=")[2] for each in overrides if re.match(r"\+*plugins=", each)]
    given = [name.strip().strip("'\"") for name in ",".join(listed).strip("[] ").split(",")]
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
    """The override of Hydra's search path without the plug-ins' folders; empty without any.

    Parameters
    ----------
    overrides : sequence of str
        As Hydra was given them.
    """
    own = {f"file://{plugin.conf}" for plugin in loaded_plugins()}
    places = _places([each for each in overrides if each.startswith(SEARCHPATH)])
    kept = [place for place in places if place not in own]
    return (f"{SEARCHPATH}[{','.join(kept)}]",) if kept else ()


def settled(overrides: Sequence[str]) -> list[str]:
    """The overrides with `+tuned=auto` or `+tuned=any` replaced by the file that tune.py wrote.

    Parameters
    ----------
    overrides : sequence of str
        With at least one of `TUNED`. The file is that of the data set, protocol and model that the
        other overrides compose to. Members of a fusion take the values of the files of their own models.
    """
    from experiments.data.sources.find import dataset_name

    others = [override for override in overrides if override not in TUNED]
    composed = _composed(others, name="config", schema=Config, return_hydra_config=True)
    chosen = composed.hydra.runtime.choices
    # Taken out as Hydra itself does; a copy without it would not be of the schema any more.
    with flag_override(composed, ["readonly", "struct"], False):
        del composed["hydra"]
    config = typed(composed)
    key = chosen.model if chosen.model != "recbole" else str(config.model["name"]).lower()
    folder = f"tuned/{dataset_name(config.dataset)}/{config.protocol.name}"
    for group, choice in chosen.items():
        if group.startswith(_MEMBER) and (file := _found(f"{folder}/{choice}.yaml", others)):
            # Before all others, so that what a command says wins.
            others = [*_values_of(file, at=group.partition("@")[2]), *others]
    if ANY in overrides and not _found(f"{folder}/{key}.yaml", others):
        return others
    return [*others, f"+{folder.replace('/', '=', 1)}/{key}"]


_MEMBER = "model@model.members."


def _found(file: str, overrides: Sequence[str]) -> Path | None:
    """A file of conf/, or of a folder that the overrides let Hydra search."""
    places = _places([each for each in with_plugins(overrides) if each.startswith(SEARCHPATH)])
    folders = [CONF, *(Path(place.removeprefix("file://")) for place in places)]
    return next((path for folder in folders if (path := folder / file).is_file()), None)


def _values_of(tuned: Path, *, at: str) -> list[str]:
    """The model's values of a file that tune.py wrote, as overrides of a part of the configuration."""

    def flat(values: Mapping[str, Any], at: str) -> Iterator[str]:
        for name, value in values.items():
            if isinstance(value, Mapping):
                yield from flat(value, f"{at}.{name}")
            else:
                yield f"++{at}.{name}={json.dumps(value)}"

    content = OmegaConf.to_container(OmegaConf.load(tuned))
    assert isinstance(content, dict)
    return list(flat(content["model"], at))


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

    Parameters
    ----------
    config : DictConfig
        A composed configuration.
    schema : type of Config
        The dataclass that it has.

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
    _refuse_nul(result, "")
    conceal_all(result)  # an interpolation may have brought a password from the environment
    result.plugins = [absolute_plugin(name) for name in result.plugins]
    return result


def _refuse_nul(node: Any, path: str) -> None:
    """Refuse a NUL byte in any text: the system takes none in a path or a name."""
    if isinstance(node, str):
        if "\0" in node:
            raise PaddockError(f"{path}={visible(node)} holds a NUL byte: remove it")
    elif is_dataclass(node):
        for field in fields(node):
            _refuse_nul(getattr(node, field.name), f"{path}.{field.name}".lstrip("."))
    elif isinstance(node, dict):
        for key, value in node.items():
            _refuse_nul(value, f"{path}.{key}")
    elif isinstance(node, list):
        for value in node:
            _refuse_nul(value, path)


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
