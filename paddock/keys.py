"""Keys of a component's configuration: type, default, bounds, choices, search range, and a line of doc.

A schema is a class whose annotated attributes are keys:

    class BiasedMFConfig(ModelConfig):
        embedding_size: int = key(64, "Width of the factors.", least=1, search=choices(32, 64))
        reg_weight: float = key(0.02, "Weight of the squared norms.", least=0.0)
"""

import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

EVALUATION = "evaluation"
"""As the stage of a key: it changes how a trained model is scored, and nothing that it learns."""

Range = Mapping[str, Any]
"""A search range as conf/search writes it: {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}."""

_UNSET: Any = object()


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a configuration.

    Attributes
    ----------
    name : str
    kind : type or None
        bool, int, float, str, list or dict; None takes a value of any type.
    default : Any
        The value where the configuration gives none.
    doc : str
        One line: what it is, with its unit.
    required : bool
        There is no default: the configuration must give a value.
    unset : bool
        There is no default, and the key may be left out.
    optional : bool
        null is a value.
    least, most, above, below : float or None
        Bounds of a number, or of each number of a list: >=, <=, >, <.
    choices : tuple
        The only values, where not empty.
    items : type or None
        The type of a list's entries.
    search : mapping or None
        Which values `tune.py` tries by default.
    stage : str or None
        The strategy from whose stage on the key matters; None: from the first. `EVALUATION`: to the
        scoring of the trained model alone.
    schema : str, type or None
        The value is a mapping of a schema's keys: a `Schema`, or the name of a kind of component
        ("model", "llm", "text_encoder").
    quiet : bool
        Resolved values leave the key out where it has its default, so that runs keep the identity
        that they had before there was such a key.
    """

    name: str = ""
    kind: type | None = None
    default: Any = None
    doc: str = ""
    required: bool = False
    unset: bool = False
    optional: bool = False
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[Any, ...] = ()
    items: type | None = None
    search: Range | None = None
    stage: str | None = None
    schema: Any = None
    quiet: bool = False

    @property
    def bounds(self) -> str:
        """The bounds or choices as text: "at least 1", "mean or dot"; empty without any."""
        if self.choices:
            return " or ".join(str(each) for each in self.choices)
        named = (
            ("at least", self.least),
            ("above", self.above),
            ("at most", self.most),
            ("below", self.below),
        )
        return " and ".join(f"{phrase} {bound:g}" for phrase, bound in named if bound is not None)


def key(
    default: Any = _UNSET,
    doc: str = "",
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[Any, ...] = (),
    search: Range | None = None,
    stage: str | None = None,
    schema: Any = None,
    quiet: bool = False,
) -> Any:
    """Declare a key; its name and type are those of the annotated attribute.

    Parameters
    ----------
    default
        Left out, the configuration must give a value.
    doc, least, most, above, below, choices, search, stage, schema, quiet
        As the attributes of `Key`.
    """
    return Key(
        default=None if default is _UNSET else default,
        required=default is _UNSET,
        doc=doc,
        least=least,
        most=most,
        above=above,
        below=below,
        choices=tuple(choices),
        search=search,
        stage=stage,
        schema=schema,
        quiet=quiet,
    )


class Schema:
    """A mapping with declared keys; its subclasses list them as annotated attributes.

    Attributes
    ----------
    keys : mapping of str to Key
        The keys of the class and of its bases, in the order of their declaration.
    """

    keys: ClassVar[Mapping[str, Key]] = {}

    def __init_subclass__(cls) -> None:
        keys: dict[str, Key] = {}
        for base in reversed(cls.__mro__[1:]):
            keys |= getattr(base, "keys", {})
        for name, annotation in inspect.get_annotations(cls).items():
            given = cls.__dict__.get(name)
            if isinstance(given, Key):
                keys[name] = _typed(name, given, annotation)
        cls.keys = keys

    def __init__(self, **given: Any) -> None:
        """The given values as attributes, and the defaults of the other keys.

        Raises
        ------
        TypeError
            For a key that the schema does not have.
        """
        if unknown := given.keys() - self.keys.keys():
            raise TypeError(f"{type(self).__name__} has no key {', '.join(sorted(unknown))}")
        for name, declared in self.keys.items():
            setattr(self, name, given.get(name, declared.default))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), repr(sorted(vars(self).items()))))

    @classmethod
    def of(cls, values: Any) -> Self:
        """The values as attributes of their declared types.

        Parameters
        ----------
        values
            Checked values by key: a dict, or RecBole's Config.
        """
        given: dict[str, Any] = {}
        for name, declared in cls.keys.items():
            try:
                value = values[name]
            except KeyError:
                continue
            whole = isinstance(value, int) and not isinstance(value, bool)
            given[name] = float(value) if declared.kind is float and whole else value
        return cls(**given)

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Refuse values that are impossible beside each other.

        Parameters
        ----------
        values
            All keys, each checked by itself.

        Raises
        ------
        ValueError
            Beginning with the key at fault, as in "hidden_size=50 is not a multiple of n_heads=3".
        """


def _typed(name: str, given: Key, annotation: Any) -> Key:
    """The key with the name and the type of its annotation."""
    if isinstance(annotation, str):
        known = {"Any": Any} | {kind.__name__: kind for kind in _KINDS}
        annotation = eval(annotation, {"__builtins__": {}}, known)
    optional = given.optional
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        inner = [each for each in typing.get_args(annotation) if each is not type(None)]
        optional = len(inner) < len(typing.get_args(annotation))
        annotation = inner[0] if len(inner) == 1 else Any
    items = None
    if typing.get_origin(annotation) in (list, dict):
        arguments = typing.get_args(annotation)
        if typing.get_origin(annotation) is list and arguments and arguments[0] is not Any:
            items = arguments[0]
        annotation = typing.get_origin(annotation)
    if annotation is not Any and annotation not in _KINDS:
        raise TypeError(f"the key {name} has the type {annotation}: declare {_named(_KINDS)}")
    kind = None if annotation is Any else annotation
    return replace(given, name=name, kind=kind, items=items, optional=optional)


_KINDS = (bool, int, float, str, list, dict)


def _named(kinds: tuple[type, ...]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


def uniform(low: float, high: float, *, step: float | None = None, **conditions: Any) -> Range:
    """A range of real numbers, drawn uniformly.

    Parameters
    ----------
    low, high : float
        Both ends, included.
    step : float, optional
        Distance of the values, if they are discrete.
    **conditions : object
        `when={"loss": ["gbce"]}`: the values of other keys with which this one is tried.
    """
    stepped = {} if step is None else {"step": step}
    return {"type": "float", "low": low, "high": high, **stepped, **conditions}


def log_uniform(low: float, high: float, **conditions: Any) -> Range:
    """A range of positive real numbers, drawn uniformly by their logarithm.

    Parameters
    ----------
    low, high : float
        Both ends, included.
    **conditions : object
        As of `uniform`.
    """
    return {"type": "float", "low": low, "high": high, "log": True, **conditions}


def integers(low: int, high: int, **conditions: Any) -> Range:
    """A range of integers, drawn uniformly.

    Parameters
    ----------
    low, high : int
        Both ends, included.
    **conditions : object
        As of `uniform`.
    """
    return {"type": "int", "low": low, "high": high, **conditions}


def log_integers(low: int, high: int, **conditions: Any) -> Range:
    """A range of positive integers, drawn uniformly by their logarithm.

    Parameters
    ----------
    low, high : int
        Both ends, included.
    **conditions : object
        As of `uniform`.
    """
    return {"type": "int", "low": low, "high": high, "log": True, **conditions}


def choices(*values: Any, **conditions: Any) -> Range:
    """Values to choose from.

    Parameters
    ----------
    *values : object
        The values to choose from.
    **conditions : object
        As of `uniform`.
    """
    return {"type": "categorical", "choices": list(values), **conditions}
