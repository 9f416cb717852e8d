"""Reading a search space, checked against the model before any data is read."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from experiments.config.resolve import ResolvedModel, resolve_model
from experiments.config.values import nearest
from experiments.errors import PaddockError
from experiments.tuning.space import STAGES, Parameter, Space, looked_up, put
from paddock import EVALUATION

FIELDS = {
    "float": ("low", "high", "log", "step", "when"),
    "int": ("low", "high", "log", "step", "when"),
    "categorical": ("choices", "when"),
}
"""Type of a parameter -> the keys beside `type` that it takes."""


def read_space(
    search: Mapping[str, Any], given: Mapping[str, Any], resolved: ResolvedModel
) -> Space:
    """The search space of a model, checked against what the model reads.

    Parameters
    ----------
    search
        The configuration's `search`: parameter, or stages and their parameters -> its type and
        values. It replaces the ranges that the model's keys declare; null leaves a key out.
    given
        The configuration's `model`.
    resolved
        The same, resolved.

    Raises
    ------
    PaddockError
        If a parameter is none of the model's, or its values are impossible.
    """
    asked = declared_ranges(resolved)
    for name, spec in _leaves(search, ""):
        # What has no type of its own changes the declared range.
        changes = spec is not None and "type" not in spec and asked.get(name) is not None
        asked[name] = {**(asked[name] or {}), **(spec or {})} if changes else spec
    found = [_parameter(name, spec, resolved) for name, spec in asked.items() if spec is not None]
    if not found and not resolved.model.closed_form:
        raise PaddockError(
            "search is empty: add what is tuned, as in "
            "'search.learning_rate={type: float, low: 1e-4, high: 1e-2, log: true}'"
        )
    for parameter in found:
        _try_edges(parameter, given)
    return Space(model=given, usual=resolved.values, parameters=_ordered(found, resolved.values))


def declared_ranges(resolved: ResolvedModel) -> dict[str, Mapping[str, Any] | None]:
    """Parameter -> the range that its key declares.

    A key that some stage sets for itself is tuned for each stage by itself.
    """
    found: dict[str, Mapping[str, Any] | None] = {}
    own_values = resolved.values.get(STAGES) or {}
    apart = {key for own in own_values.values() for key in own}
    read_in = {None, EVALUATION, *resolved.strategies}

    def ranges(strategy: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for name, key in resolved.model.all_keys(strategy).items():
            if key.search is not None and key.stage in read_in:
                yield name, key.search

    common = ranges(resolved.values["strategy"])
    found |= {name: tried for name, tried in common if name not in apart}
    for stage, values in resolved.stages.items():
        for name, tried in ranges(values["strategy"]):
            if name in apart:
                found[f"{STAGES}.{stage}.{name}"] = tried
    stated = {name: spec for name, spec in resolved.model.search.items() if "." in name}
    return found | stated


def _leaves(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    for key, value in node.items():
        name = f"{path}{key}"
        if value is None:
            yield name, None
            continue
        if not isinstance(value, Mapping):
            raise PaddockError(
                f"search.{name}={value} is no parameter: give it a type, as in "
                f"'search.{name}={{type: float, low: 0.1, high: 0.5}}'"
            )
        if key == STAGES or path == f"{STAGES}.":
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value


def _parameter(name: str, spec: Mapping[str, Any], model: ResolvedModel) -> Parameter:
    path = f"search.{name}"
    _check_key(name, model, path=path)
    kind = spec.get("type")
    if kind not in FIELDS:
        raise PaddockError(f"{path}.type={kind} is unknown: {nearest(str(kind), FIELDS)}")
    for key in spec:
        if key != "type" and key not in FIELDS[kind]:
            raise PaddockError(
                f"{path}.{key}: a {kind} parameter has no such key; {nearest(key, FIELDS[kind])}"
            )
    if kind == "categorical":
        choices = spec.get("choices")
        if not isinstance(choices, list) or not choices:
            raise PaddockError(f"{path}.choices={choices} must list the values to choose from")
        values: dict[str, Any] = {"choices": tuple(choices)}
    else:
        values = _range(spec, kind, path=path)
    return Parameter(name=name, kind=kind, when=_conditions(spec, path=path), **values)


def _try_edges(parameter: Parameter, model: Mapping[str, Any]) -> None:
    """Refuse the ends of a range, or choices, that the model does not take with its other values."""
    for edge in parameter.edges():
        tried = deepcopy(dict(model))
        put(tried, parameter.name, edge)
        try:
            resolve_model(tried)
        except PaddockError as error:
            raise PaddockError(f"search.{parameter.name}: {error}") from error


def _check_key(name: str, model: ResolvedModel, *, path: str) -> None:
    """Refuse a key that the model, or the stage, does not read."""
    *parents, key = name.split(".")
    stages = model.values.get(STAGES) or {}
    if parents and (len(parents) != 2 or parents[1] not in stages):
        hint = nearest(parents[-1], stages) if stages else f"{model.name} has no stages"
        raise PaddockError(f"{path}: there is no such stage; {hint}")
    values = model.stages[parents[1]] if parents else model.values
    known = model.model.all_keys(values["strategy"])
    if key not in known:
        prefix = f"{path.removesuffix(key)}"
        raise PaddockError(
            f"{path}: {model.name} reads no such key; {nearest(key, known, prefix=prefix)}"
        )


def _range(spec: Mapping[str, Any], kind: str, *, path: str) -> dict[str, Any]:
    values = {key: spec.get(key) for key in ("low", "high", "step")}
    log = spec.get("log", False)
    if not isinstance(log, bool):
        raise PaddockError(f"{path}.log={log} must be true or false")
    for key, value in values.items():
        if value is None and key == "step":
            continue
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole and (kind == "int" or not isinstance(value, float)):
            wanted = "an integer" if kind == "int" else "a number"
            raise PaddockError(f"{path}.{key}={value} must be {wanted}")
        values[key] = value if kind == "int" else float(value)  # type: ignore[arg-type]
    low, high, step = values["low"], values["high"], values["step"]
    assert low is not None
    assert high is not None
    if low > high:
        raise PaddockError(f"{path}.low={low} is above {path}.high={high}")
    if step is not None and (log or not step > 0):
        how = "cannot stand beside log=true" if log else "must be above 0"
        raise PaddockError(f"{path}.step={step} {how}")
    if log and not low > 0:
        raise PaddockError(f"{path}.low={low} must be above 0 with log=true")
    return {**values, "log": log}


def _conditions(spec: Mapping[str, Any], *, path: str) -> dict[str, tuple[Any, ...]]:
    when = spec.get("when") or {}
    if not isinstance(when, Mapping):
        raise PaddockError(
            f"{path}.when={when} must map parameters to values, as in {{loss: gbce}}"
        )
    return {
        str(key): tuple(value) if isinstance(value, list) else (value,)
        for key, value in when.items()
    }


def _ordered(found: list[Parameter], model: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """Each parameter behind those that its `when` names."""
    left, ordered = {parameter.name: parameter for parameter in found}, []
    for parameter in found:
        for name in parameter.when:
            if name not in left and looked_up(model, name) is None:
                raise PaddockError(
                    f"search.{parameter.name}.when.{name}: {model['name']} has no such value; "
                    f"{nearest(name, [*left, *model])}"
                )
    while left:
        ready = [each for each in left.values() if not set(each.when) & set(left)]
        if not ready:
            raise PaddockError(f"search: the when of {', '.join(left)} wait for each other")
        ordered += ready
        for parameter in ready:
            del left[parameter.name]
    return tuple(ordered)
