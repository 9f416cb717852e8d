"""A run's identity: the hash of all that can change its numbers, and the command that gives them."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from functools import cache
from itertools import accumulate
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

from experiments import processes
from experiments.components.registry import functions
from experiments.config.compose import compose
from experiments.config.experiment import Experiment
from experiments.config.schema import Config, Inputs, Refit
from experiments.files import hash_of
from experiments.paths import launched
from paddock import ListMeasure, Metric, Split

FORMAT = 2
"""Raise it when the engine's arithmetic changes, so that earlier runs are not taken for equal.

Runs of format 1 had no hash of their sources in their identity.
"""

GROUPS = ("dataset", "protocol", "model")

WITHOUT_EFFECT = frozenset(
    (
        "mode",
        "grid_seeds",
        "tracking",
        "force",
        "progress",
        "checkpoint_seconds",
        "runs_dir",
        "data_dir",
        "run_id",
        "lists",
        "serve",
        "name",
        "alias",
        "user",
        "history",
        "dislikes",
        "exclude",
        "profile",
        "query",
        "where",
        "out",
        "k",
        "format",
        "messages",
        "llm_client",
        "talk",
        "tuned",
        "plugins",
        "text_control",
    )
)
"""Top-level keys that change no number of a run by themselves: `text_control` is in the model's values."""


def plain(config: Config) -> dict[str, Any]:
    """The configuration as plain dicts, lists, strings and numbers.

    Parameters
    ----------
    config : Config
        A composed configuration.
    """

    def convert(value: Any) -> Any:
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, Mapping):
            return {str(key): convert(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [convert(inner) for inner in value]
        return value

    return convert(asdict(config))


def config_hash(
    *,
    model: Mapping[str, Any],
    sources: Mapping[str, str],
    hashes: Mapping[str, str],
    protocol: Mapping[str, Any],
    device: str,
    threads: int,
    precision: str = "float32",
    processes: int = 1,
    start: str | None = None,
) -> str:
    """The hash that two runs share if only their seeds differ.

    Parameters
    ----------
    model
        The resolved model, no value left to a default elsewhere.
    sources
        Component -> the hash of the source that computes it.
    hashes
        Of the data, the split and the candidates: the data counts by content, not by name or place.
    protocol
        What is measured and what selects epochs; its name counts for nothing.
    device, threads
        Where it is computed: the order of floating-point sums depends on both.
    precision
        Of the training steps.
    processes
        That train together: gradients are summed, and dropout is drawn, in each of them.
    start
        The hash of the weights that training starts from; None: those that the seed draws.
    """
    # A run in float32, or of one process, is the same whether or not there was a choice.
    chosen: dict[str, Any] = {} if precision == "float32" else {"precision": precision}
    if processes > 1:
        chosen["processes"] = processes
    if start is not None:
        chosen["start"] = start
    return hash_of(
        {
            **chosen,
            "format": FORMAT,
            "model": dict(model),
            "sources": dict(sources),
            "hashes": dict(hashes),
            "protocol": protocol_content(protocol),
            "device": device,
            "threads": threads,
        }
    )


def protocol_content(protocol: Mapping[str, Any], *, test: bool = True) -> dict[str, Any]:
    """The keys of a protocol that count for identity.

    Without `scored_users`, `history` or `settings` the keys are absent, as they are where none is set; so is
    `refit` where there is none, and `inputs` where they are RecBole's.

    Parameters
    ----------
    protocol : mapping of str to object
        A protocol as plain values.
    test : bool
        Whether the test is scored: if not, what is read and trained on for it counts for nothing.
    """
    absent = {"inputs": Inputs.recbole.value, "refit": Refit.none.value}
    unsaid = {"name"} | {
        key for key in ("scored_users", "history", "settings") if not protocol.get(key)
    }
    unsaid |= {key for key, value in absent.items() if not test or protocol.get(key) == value}
    return {key: value for key, value in protocol.items() if key not in unsaid}


def component_sources(experiment: Experiment) -> dict[str, str]:
    """Component -> the hash of its source, of all that can change the numbers of a run.

    Splits, metrics and readers of Paddock's own are part of the engine, whose arithmetic `FORMAT`
    stands for; those of plug-ins count by their sources.

    Parameters
    ----------
    experiment : Experiment
        The checked configuration.
    """
    protocol = experiment.config.protocol
    named = {
        Split: [protocol.split],
        Metric: protocol.metrics,
        ListMeasure: protocol.beyond,
    }
    found = experiment.model.sources
    for kind, names in named.items():
        known = functions(kind)
        for component in (known[name] for name in names):
            if component.plugin is not None:
                found[f"{component.kind} {component.name}"] = component.source
    return found


def command(config: Config, *, choices: Mapping[str, str], places: Sequence[str] = ()) -> str:
    """The shortest command that composes to this configuration, seed and number of processes included.

    Parameters
    ----------
    config : Config
        A composed configuration.
    choices : mapping of str to str
        Group -> YAML file, as in {"model": "sasrec"}.
    places : sequence of str
        Overrides that name more folders of YAML files.
    """
    chosen = [f"{group}={choices[group]}" for group in GROUPS]
    found_in = [*places, *([f"plugins={spelled(config.plugins)}"] if config.plugins else [])]
    usual, wanted = _flat(dict(_usual((*found_in, *chosen)))), _flat(plain(config))
    arguments = [*launched("run", processes.size()), *found_in, *chosen, f"seed={config.seed}"]
    for key, value in wanted.items():
        if key.partition(".")[0] in WITHOUT_EFFECT or key == "seed":
            continue
        if key in usual and usual[key] == value:
            continue
        arguments.append(f"{key}={spelled(value)}")
    return shlex.join(arguments + [f"~{key}" for key in _removed(usual, wanted)])


def _removed(usual: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The highest keys of `usual` under which nothing is wanted."""
    kept = {prefix for key in wanted for prefix in accumulate(key.split("."), "{}.{}".format)}
    removed: dict[str, None] = {}
    for key in usual:
        for prefix in accumulate(key.split("."), "{}.{}".format):
            if prefix in wanted:
                break
            if prefix not in kept and prefix.partition(".")[0] not in WITHOUT_EFFECT:
                removed[prefix] = None
                break
    return list(removed)


@cache
def _usual(chosen: tuple[str, ...]) -> dict[str, Any]:
    config = compose(chosen)
    # A mandatory value that the command must give is unequal to whatever was given.
    content = OmegaConf.to_container(config, resolve=True, throw_on_missing=False, enum_to_str=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    if isinstance(node, Mapping) and node:
        found: dict[str, Any] = {}
        for key, value in node.items():
            found |= _flat(value, f"{path}.{key}" if path else str(key))
        return found
    return {path: node}


def spelled(value: Any) -> str:
    """A value in Hydra's override grammar.

    Parameters
    ----------
    value : object
        A plain value.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(spelled(inner) for inner in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{spelled(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, str):
        # OmegaConf would look up what stands in ${...}.
        literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
        return (
            value if _PLAIN.fullmatch(value) else QuotedString(literal, Quote.single).with_quotes()
        )
    return repr(value)


_PLAIN = re.compile(r"(?!(null|true|false|inf|nan)$)[a-z_/][a-z0-9_/.-]*", re.ASCII | re.IGNORECASE)
"""Values that Hydra reads unquoted as they are."""
