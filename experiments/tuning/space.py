"""Search spaces: which hyper-parameters are tried over which values, in Optuna's terms.

A parameter is named by its path below `model`, as in stages.actor.learning_rate, and read as

    learning_rate: {type: float, low: 1e-4, high: 1e-2, log: true}
    n_layers: {type: int, low: 1, high: 4}
    loss: {type: categorical, choices: [softmax, gbce]}
    negatives: {type: int, low: 16, high: 512, log: true, when: {loss: [gbce]}}

where `when` tells the values of other parameters with which the model reads this one.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import Trial

STAGES = "stages"
"""Key of a model that holds the keys of its stages."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One hyper-parameter that is tuned.

    Attributes
    ----------
    name
        Its path below `model`.
    kind
        "float", "int" or "categorical".
    when
        Name of another hyper-parameter -> the values with which this one is tuned.
    """

    name: str
    kind: str
    low: Any = None
    high: Any = None
    log: bool = False
    step: Any = None
    choices: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def suggest(self, trial: "Trial") -> Any:
        """The value that the sampler of a trial chooses.

        Parameters
        ----------
        trial
            A trial of Optuna, which takes down the value.
        """
        if self.kind == "categorical":
            labels = [label(choice) for choice in self.choices]
            return self.choices[labels.index(trial.suggest_categorical(self.name, labels))]
        if self.kind == "int":
            step = self.step or 1
            return trial.suggest_int(self.name, self.low, self.high, log=self.log, step=step)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log, step=self.step)

    def holds(self, value: Any) -> bool:
        """Whether a value is one that the sampler could choose."""
        if self.kind == "categorical":
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if self.kind == "int" and not isinstance(value, int):
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-8

    def edges(self) -> tuple[Any, ...]:
        """All choices, or both ends of the range: if the model takes these, it takes the others."""
        return self.choices if self.kind == "categorical" else (self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The parameters of a model that are tuned, each behind those that its `when` names.

    Attributes
    ----------
    model
        The model's configuration, as the command gives it.
    usual
        The same, resolved: its own values.
    parameters
        What is tuned.
    """

    model: Mapping[str, Any]
    usual: Mapping[str, Any]
    parameters: tuple[Parameter, ...]

    def suggest(self, trial: "Trial", *, defaults: bool = False) -> dict[str, Any]:
        """The configuration of a trial's model.

        Parameters
        ----------
        trial
            A trial of Optuna, which takes down the values.
        defaults
            The trial stands for the model as it is: what the space does not hold is left out.
        """
        model = deepcopy(dict(self.model))
        for parameter in self.active(model, defaults=defaults):
            put(model, parameter.name, parameter.suggest(trial))
        return model

    def defaults(self) -> dict[str, Any]:
        """The model's own values as the parameters of a trial."""
        return {
            parameter.name: label(looked_up(self.usual, parameter.name))
            for parameter in self.active(dict(self.usual), defaults=True)
        }

    def active(self, model: dict[str, Any], *, defaults: bool) -> Iterator[Parameter]:
        """The parameters that the model reads, one after another while the model is filled in.

        Parameters
        ----------
        model
            The configuration of the model; the caller sets the value of a parameter before it asks
            for the next one, whose `when` may depend on it.
        defaults
            Leave out the parameters whose space does not hold the model's own value.
        """
        usual = self.usual
        for parameter in self.parameters:
            values = {
                name: looked_up(model, name, looked_up(usual, name)) for name in parameter.when
            }
            if all(values[name] in parameter.when[name] for name in values) and (
                not defaults or parameter.holds(looked_up(usual, parameter.name))
            ):
                yield parameter

    def plain(self) -> list[dict[str, Any]]:
        """The parameters as plain values; two spaces are the same if these are equal."""
        return [
            {**vars(parameter), "when": {k: list(v) for k, v in parameter.when.items()}}
            for parameter in self.parameters
        ]


def label(value: Any) -> Any:
    """A value as Optuna takes it: a list or a mapping as JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def looked_up(model: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """The value at a path below `model`.

    Parameters
    ----------
    model
        The configuration of a model.
    name
        The path, as in stages.actor.learning_rate; a stage that does not set a key has the model's.
    default
        The value where there is none.
    """
    node: Any = model
    for part in name.split("."):
        if not isinstance(node, Mapping) or part not in node:
            last = name.rpartition(".")[2]
            return model.get(last, default) if name.startswith(f"{STAGES}.") else default
        node = node[part]
    return node


def put(model: dict[str, Any], name: str, value: Any) -> None:
    """Set the value at a path below `model`.

    Parameters
    ----------
    model
        The configuration of a model, which is changed.
    name
        The path, as in stages.actor.learning_rate.
    value
        The value.
    """
    *parents, last = name.split(".")
    node = model
    for part in parents:
        node = node.setdefault(part, {})
    node[last] = value
