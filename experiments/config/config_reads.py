"""Which keys a class of RecBole's reads of its Config, found by following the Config in the source.

The Config is the first argument of the class's `__init__`, whatever it is called there. It is
followed into names and attributes, into base classes, and into whatever is made or called with it.
"""

import ast
import inspect
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = ("recbole.model", "recbole.trainer")
"""Where the Config is followed to. What RecBole's evaluator and loggers read is not the model's."""

COMMON = ("Trainer", "AbstractTrainer")
"""Trainers of every model; what they read are training keys."""

OF_CONFIG = ("final_config_dict", "internal_config_dict", "external_config_dict", "parameters")
"""Attributes of a Config that are no keys."""

VISITED = (
    ast.AnnAssign,
    ast.Assign,
    ast.Attribute,
    ast.Call,
    ast.Compare,
    ast.For,
    ast.NamedExpr,
    ast.Return,
    ast.Subscript,
)

COPIES = ("copy", "deepcopy", "dict")


def keys_read(root: type, defaults: Mapping[str, Any]) -> set[str]:
    """The keys that a class reads of the Config that its `__init__` takes first.

    Parameters
    ----------
    root
        A model, or a trainer or transform of RecBole's.
    defaults
        Values of the Config. They decide what is read by a prefix: KD_DAGFM gives its teacher the
        value of t_depth as depth, so that the teacher's depth is read as t_depth where there is one.

    Raises
    ------
    NotImplementedError
        Naming the expressions through which the Config cannot be followed.
    """
    reads = config_reads(root)
    if reads.lost:
        raise NotImplementedError(
            f"{root.__name__}'s Config cannot be followed: {'; '.join(sorted(reads.lost))}"
        )
    return {
        prefix + key if prefix + key in defaults else key
        for prefix, key in reads.read
        if key not in reads.written
    }


@dataclass
class ConfigReads:
    """What a class does with its Config.

    Attributes
    ----------
    read
        (prefix, key) of every read. The prefix is "" where the Config itself is read; it is P where a
        copy is read in which the value of every key P + k stands under k.
    written
        Keys that the code itself enters into the Config.
    lost
        Expressions where the Config is read, or handed on, in a way that cannot be followed.
    """

    read: set[tuple[str, str]] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)


def config_reads(root: type) -> ConfigReads:
    """Follow the Config from a class's `__init__`.

    Parameters
    ----------
    root : type
        The model or trainer class.
    """
    reads = ConfigReads()
    attributes: dict[type, dict[str, str]] = {}
    known = None
    # A method may read the attribute that one further down sets: until nothing is added.
    while known != (known := (len(reads.read), sum(map(len, attributes.values())))):
        _Pass(reads, attributes, (*PACKAGES, root.__module__)).enter(
            root, dict.fromkeys(_parameters(vars_of(root, "__init__"))[1:2], "")
        )
    return reads


def vars_of(owner: type, name: str) -> Any:
    """The function behind an attribute of a class, without its decorators.

    Parameters
    ----------
    owner : type
        The class.
    name : str
        Name of the attribute.
    """
    found = inspect.getattr_static(owner, name)
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    return inspect.unwrap(found) if callable(found) else found


class _Pass:
    """One pass through everything that a Config reaches; every function is read once.

    A mapping of names to prefixes says which names of a function, or attributes of a class's
    instances, are the Config.
    """

    def __init__(
        self,
        reads: ConfigReads,
        attributes: dict[type, dict[str, str]],
        packages: tuple[str, ...],
    ) -> None:
        self.reads = reads
        self._attributes = attributes
        self._packages = packages
        self._results: dict[Any, str | None] = {}

    def enter(self, owner: type, given: Mapping[str, str]) -> None:
        """Follow an instance that is made with the Config as the given parameters."""
        place = (owner, tuple(sorted(given.items())))
        if place in self._results or owner.__name__ in COMMON:
            return
        self._results[place] = None
        self.call(owner, owner.__mro__, "__init__", given)
        for name in sorted(dir(owner)):
            if name != "__init__":
                self.call(owner, owner.__mro__, name, {})

    def call(
        self, owner: type, bases: tuple[type, ...], name: str, given: Mapping[str, str]
    ) -> str | None:
        """Follow the method that the first of the bases defines; the prefix of what it returns."""
        base = next((base for base in bases if name in vars(base)), None)
        if base is None or base.__name__ in COMMON:
            return None
        return self.function(vars_of(base, name), given, owner=owner, base=base)

    def function(
        self,
        function: Any,
        given: Mapping[str, str],
        *,
        owner: type | None = None,
        base: type | None = None,
    ) -> str | None:
        """Follow a function that is called with the Config as the given parameters."""
        if not hasattr(function, "__code__") or not self.is_followed(function):
            return None
        place = (function, owner, tuple(sorted(given.items())))
        if place not in self._results:
            self._results[place] = None
            self._results[place] = _Body(self, function, given, owner=owner, base=base).result()
        return self._results[place]

    def attributes(self, owner: type | None) -> dict[str, str]:
        """Attributes of the class's instances that are the Config."""
        return {} if owner is None else self._attributes.setdefault(owner, {})

    def is_followed(self, target: Any) -> bool:
        module = getattr(target, "__module__", None) or ""
        return any(
            module == package or module.startswith(f"{package}.") for package in self._packages
        )


class _Body:
    """The body of one function."""

    def __init__(
        self,
        within: _Pass,
        function: Any,
        given: Mapping[str, str],
        *,
        owner: type | None,
        base: type | None,
    ) -> None:
        self._pass = within
        self._function = function
        self._names = dict(given)
        self._owner = owner
        self._base = base
        self._nodes = _nodes(function)
        self._returned: str | None = None
        self._stripped: set[str] = set()

    def result(self) -> str | None:
        """Read the body; the prefix of what it returns, or None where that is not the Config."""
        known = None
        while known != (known := (dict(self._names), dict(self._pass.attributes(self._owner)))):
            for node in self._nodes:
                self._visit(node)
        return self._returned

    def _visit(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._bind(target, self._prefix(value))
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._bind(target, self._prefix(value))
            case ast.NamedExpr(target=target, value=value):
                self._bind(target, self._prefix(value))
            case ast.Return(value=ast.expr() as value):
                self._returned = self._prefix(value) if self._returned is None else self._returned
            case ast.For(target=ast.Name(id=key), iter=ast.expr() as mapping):
                if self._prefix(mapping) is not None:
                    self._strip(node, key)
            case ast.Subscript(value=value, slice=index, ctx=context):
                self._subscript(node, self._prefix(value), index, context)
            case ast.Attribute(value=value, attr=name, ctx=ast.Load()):
                prefix = self._prefix(value)
                if prefix is not None and name not in OF_CONFIG and name not in _methods():
                    self._pass.reads.read.add((prefix, name))
            case ast.Compare(left=ast.Constant(value=str() as key), ops=[ast.In() | ast.NotIn()]):
                self._read(key, node.comparators[0])
            case ast.Call():
                self._call(node)

    def _bind(self, target: ast.expr, prefix: str | None) -> None:
        if prefix is None:
            return
        match target:
            case ast.Name(id=name):
                # A copy under a prefix stays one, whatever it was copied from.
                self._names.setdefault(name, prefix)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == self._self():
                self._pass.attributes(self._owner).setdefault(attribute, prefix)

    def _strip(self, loop: ast.For, key: str) -> None:
        """Find the copy that a loop fills with the values of all keys of a prefix, without it."""
        prefixes = [
            call.args[0].value
            for call in ast.walk(loop)
            if isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "startswith"
            and isinstance(call.args[0], ast.Constant)
        ]
        for node in ast.walk(loop) if prefixes else ():
            match node:
                case ast.Subscript(
                    value=ast.Name(id=name),
                    slice=ast.Subscript(value=ast.Name(id=sliced)),
                    ctx=ast.Store(),
                ) if sliced == key and name in self._names:
                    self._names[name] = str(prefixes[0])
                    self._stripped.add(key)

    def _subscript(
        self, node: ast.expr, prefix: str | None, index: ast.expr, context: ast.expr_context
    ) -> None:
        if prefix is None:
            return
        match index, context:
            case ast.Constant(value=str() as key), ast.Load():
                self._pass.reads.read.add((prefix, key))
            case ast.Constant(value=str() as key), ast.Store():
                self._pass.reads.written.add(key)
            case ast.Name(id=name), _ if name in self._stripped:
                pass
            case _, ast.Load():
                self._lose(node)

    def _read(self, key: str, source: ast.expr) -> None:
        if (prefix := self._prefix(source)) is not None:
            self._pass.reads.read.add((prefix, key))

    def _lose(self, node: ast.AST) -> None:
        self._pass.reads.lost.add(f"{self._function.__qualname__}: {ast.unparse(node)}")

    def _prefix(self, node: ast.expr) -> str | None:
        """The prefix of an expression that is the Config, else None."""
        match node:
            case ast.Name(id=name):
                return self._names.get(name)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == self._self():
                known = self._pass.attributes(self._owner).get(attribute)
                return "" if known is None and attribute == "config" else known
            case ast.Attribute(value=value, attr="final_config_dict"):
                return self._prefix(value)
            case ast.Attribute(attr="config"):
                return ""  # of a data set, or of a trainer's model
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[value]) if (
                name in COPIES
            ):
                return self._prefix(value)
            case ast.Call():
                return self._call(node)
            case ast.IfExp(body=first, orelse=second) | ast.BoolOp(values=[first, second]):
                found = self._prefix(first)
                return self._prefix(second) if found is None else found
        return None

    def _call(self, node: ast.Call) -> str | None:
        """Follow a call; the prefix of what it returns."""
        match node:
            case (
                ast.Call(
                    func=ast.Name(id="getattr" | "hasattr"),
                    args=[source, ast.Constant(value=str() as key), *_],
                )
                | ast.Call(
                    func=ast.Attribute(
                        value=source, attr="get" | "setdefault" | "pop" | "__contains__"
                    ),
                    args=[ast.Constant(value=str() as key), *_],
                )
            ):
                self._read(key, source)
                return None
            case ast.Call(func=ast.Call(func=ast.Name(id="eval"))):
                for target in self._neighbours():
                    self._pass.enter(
                        target, self._given(node, _parameters(vars_of(target, "__init__")))
                    )
                return None
            case ast.Call(func=ast.Name(id="super")):
                return None
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=name)):
                if self._owner is None or self._base is None:
                    return None
                order = self._owner.__mro__
                rest = order[order.index(self._base) + 1 :]
                return self._method(node, rest, name)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if (
                name == self._self() and hasattr(self._owner, method)
            ):
                assert self._owner is not None
                return self._method(node, self._owner.__mro__, method)
        return self._outside(node)

    def _method(self, node: ast.Call, bases: tuple[type, ...], name: str) -> str | None:
        assert self._owner is not None
        base = next((base for base in bases if name in vars(base)), None)
        if base is None:
            return None
        given = self._given(node, _parameters(vars_of(base, name)))
        return self._pass.call(self._owner, bases, name, given)

    def _outside(self, node: ast.Call) -> str | None:
        """Follow a call of a class or function by its name."""
        target = self._resolved(node.func)
        if isinstance(target, type) and self._pass.is_followed(target):
            self._pass.enter(target, self._given(node, _parameters(vars_of(target, "__init__"))))
            return None
        if hasattr(target, "__code__") and self._pass.is_followed(target):
            of = self._resolved(node.func.value) if isinstance(node.func, ast.Attribute) else None
            names = _parameters(target)
            if self._owner is not None and isinstance(of, type) and issubclass(self._owner, of):
                # Base.__init__(self, config)
                return self._pass.function(
                    target, self._given(node, names, skip=0), owner=self._owner, base=of
                )
            return self._pass.function(target, self._given(node, names, skip=0))
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        copied = getattr(node.func, "id", getattr(node.func, "attr", "")) in COPIES
        elsewhere = str(getattr(target, "__module__", "")).startswith("recbole.")
        if not copied and not elsewhere and any(self._prefix(value) is not None for value in given):
            self._lose(node)
        return None

    def _given(self, node: ast.Call, names: list[str], *, skip: int = 1) -> dict[str, str]:
        """Parameters that a call gives the Config to."""
        pairs = [
            *zip(names[skip:], node.args, strict=False),
            *((keyword.arg, keyword.value) for keyword in node.keywords),
        ]
        found = {name: self._prefix(value) for name, value in pairs if name is not None}
        return {name: prefix for name, prefix in found.items() if prefix is not None}

    def _resolved(self, node: ast.expr) -> Any:
        """The object that a name, or an attribute of a module or class, stands for, or None."""
        match node:
            case ast.Name(id=name):
                return self._function.__globals__.get(name)
            case ast.Attribute(value=value, attr=name):
                holder = self._resolved(value)
                known = inspect.ismodule(holder) or isinstance(holder, type)
                return getattr(holder, name, None) if known else None
        return None

    def _neighbours(self) -> Iterator[type]:
        """Every other class of the function's module, of which `eval` may name any."""
        names = self._function.__globals__
        for value in list(names.values()):
            if (
                isinstance(value, type)
                and value.__module__ == names["__name__"]
                and value is not self._owner
            ):
                yield value

    def _self(self) -> str | None:
        names = _parameters(self._function)
        return names[0] if self._owner is not None and names else None


@cache
def _methods() -> frozenset[str]:
    """What a Config, or the dictionary within it, can do."""
    from recbole.config import Config

    return frozenset((*dir(Config), *dir(dict)))


def _parameters(function: Any) -> list[str]:
    code = getattr(function, "__code__", None)
    return (
        [] if code is None else list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    )


def _nodes(function: Any) -> tuple[ast.AST, ...]:
    """What a function's body is made of, where the Config may be in it; nothing of a lambda."""
    code = function.__code__
    return _bodies(code.co_filename).get(code.co_firstlineno, ())


@cache
def _bodies(path: str) -> dict[int, tuple[ast.AST, ...]]:
    """Functions of a file by the line that they start in, as their code objects count it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of RecBole's escapes in docstrings
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return {
        min([function.lineno, *(each.lineno for each in function.decorator_list)]): tuple(
            node for node in ast.walk(function) if isinstance(node, VISITED)
        )
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
    }
