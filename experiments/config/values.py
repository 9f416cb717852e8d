"""The types and ranges of single values, and the nearest known name to an unknown one."""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from experiments.errors import PaddockError
from paddock import Key, Schema

MOST_NAMED = 10
"""The most names that a message lists."""

_KINDS: dict[type, str] = {
    bool: "a truth value",
    int: "an integer",
    float: "a number",
    str: "a word",
    list: "a list",
    dict: "a mapping",
    type(None): "nothing",
}


def nearest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """A hint with the nearest known name, or the names to choose from.

    Parameters
    ----------
    name : str
        An unknown name.
    known : iterable of str
        All known names.
    prefix : str
        What precedes a suggested name, such as the path of a key.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if not close:
        lowered = {other.lower(): other for other in names}
        close = [lowered[hit] for hit in difflib.get_close_matches(name.lower(), lowered, n=1)]
    if close:
        return f"did you mean {prefix}{close[0]}?"
    return f"choose one of {named(name, names)}"


def named(name: str, known: Iterable[str]) -> str:
    """The known names in a row; of more than `MOST_NAMED`, those nearest to `name`.

    Parameters
    ----------
    name : str
        An unknown name.
    known : iterable of str
        All known names.
    """
    names = sorted(known)
    if len(names) <= MOST_NAMED:
        return ", ".join(names)
    some = difflib.get_close_matches(name, names, n=MOST_NAMED, cutoff=0.0)
    return f"{', '.join(some)} and {len(names) - len(some)} others"


def at_least(path: str, value: float, least: float) -> None:
    """Refuse a value that is no number or too small.

    Parameters
    ----------
    path : str
        The key's full path, for the message.
    value : float
        Its value.
    least : float
        The least value.

    Raises
    ------
    PaddockError
        Naming the path and the value.
    """
    if not isinstance(value, int | float) or not value >= least:
        raise PaddockError(f"{path}={value} must be at least {least}")


def of_type(path: str, value: Any, usual: Any) -> Any:
    """The value in the type of its default; an integer becomes a float where that is one.

    1 and 1.0 are one number and must not make two runs.

    Parameters
    ----------
    path : str
        The key's full path, for the message.
    value : object
        Its value.
    usual : object
        A value of the type, usually the default; None allows any type.

    Raises
    ------
    PaddockError
        If the value has another type, or is not finite.
    """
    if usual is None:
        return value
    if isinstance(usual, list) and isinstance(value, list | tuple):
        kind = usual[0] if usual else None
        return [of_type(f"{path}[{place}]", inner, kind) for place, inner in enumerate(value)]
    if isinstance(usual, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(usual):
        wanted, given = _KINDS[type(usual)], _KINDS.get(type(value), type(value).__name__)
        example = "" if usual in ("", [], {}) else f", such as {spelled_value(usual)}"
        raise PaddockError(f"{path}={spelled_value(value)} is {given}: give {wanted}{example}")
    if isinstance(value, float) and not math.isfinite(value):
        raise PaddockError(f"{path}={value} must be a finite number")
    return value


def spelled_value(value: Any) -> str:
    """The value as a command line spells it.

    Parameters
    ----------
    value : object
        Any value of a configuration.
    """
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return f"[{','.join(spelled_value(each) for each in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


PRECISIONS = ("auto", "float32", "bfloat16")


def checked(path: str, value: Any, key: Key) -> Any:
    """The value of a key, of its type and within its bounds.

    Parameters
    ----------
    path : str
        The key's full path, as a command gives it.
    value : object
        Its value.
    key : Key
        Its declaration.

    Returns
    -------
    The value; an integer is a float where the key is a real number.

    Raises
    ------
    PaddockError
        Naming the path, the value and what would do.
    """
    if value is None:
        if key.optional or key.kind is None:
            return None
        return of_type(path, value, _example(key))
    typed = value if key.kind is None else of_type(path, value, _example(key))
    # A message shows the value as it was given.
    if isinstance(value, list | tuple):
        for place, each in enumerate(value):
            _check_bounds(f"{path}[{place}]", each, key)
    else:
        _check_bounds(path, value, key)
    return typed


def _example(key: Key) -> Any:
    """A value of the key's type, its default if that is one."""
    kind = key.kind
    assert kind is not None
    if type(key.default) is kind and key.default not in ([], {}, ""):
        return key.default
    if kind is list:
        return [] if key.items is None else [_ZEROS[key.items]]
    if key.choices:
        return key.choices[0]
    bound = key.least if key.least is not None else key.most
    return kind(bound) if bound is not None and kind in (int, float) else _ZEROS[kind]


_ZEROS: dict[type, Any] = {bool: False, int: 1, float: 0.5, str: "", list: [], dict: {}}


def _check_bounds(path: str, value: Any, key: Key) -> None:
    if key.choices and value not in key.choices:
        known = [str(each) for each in key.choices]
        raise PaddockError(f"{path}={value} is unknown: {nearest(str(value), known)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    within = (
        (key.least is None or value >= key.least)
        and (key.most is None or value <= key.most)
        and (key.above is None or value > key.above)
        and (key.below is None or value < key.below)
    )
    if not within:
        raise PaddockError(f"{path}={value} must be {key.bounds}")


def checked_schema(path: str, given: Any, schema: type[Schema]) -> dict[str, Any]:
    """The values of a mapping that a schema describes, those of left-out keys included.

    Parameters
    ----------
    path : str
        The full path of the mapping, for messages.
    given : object
        The mapping.
    schema : type of Schema
        Its declaration.

    Raises
    ------
    PaddockError
        For what is no mapping, an unknown or missing key, a wrong type or an impossible value.
    """
    if not isinstance(given, Mapping):
        example = next(iter(schema.keys))
        raise PaddockError(f"{path}={given} must hold keys, as in {path}.{example}=...")
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in schema.keys:
            hint = nearest(str(name), schema.keys, prefix=f"{path}.")
            raise PaddockError(f"{path}.{name}: there is no such key; {hint}")
        values[str(name)] = checked(f"{path}.{name}", value, schema.keys[name])
    for name, key in schema.keys.items():
        if name not in values:
            if key.required:
                raise PaddockError(f"{path}.{name} is missing: {key.doc}")
            values[name] = key.default
    together(lambda key: path, values, schema)
    return values


def together(at: Callable[[str], str], values: Mapping[str, Any], schema: type[Schema]) -> None:
    """Refuse values that are impossible beside each other, as the schema says.

    Parameters
    ----------
    at : callable
        Takes the key at fault and gives the path of the mapping that it stands in.
    """
    try:
        schema.check(values)
    except PaddockError:
        raise
    except ValueError as error:
        key = re.match(r"\w*", str(error))
        assert key is not None
        raise PaddockError(f"{at(key[0])}.{error}") from error
