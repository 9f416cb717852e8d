"""Passwords in addresses: taken out where an address comes in, put back where a connection is made.

An address of a configuration (tracking.uri, study.storage, dataset.source) may hold a password or a token.
`concealed` removes it and remembers it in this process's environment, which the processes that it
starts inherit: no file, no command line and no message ever holds it. `revealed` gives it back to
whoever connects. What others print of their own accord passes `guarded_output`.
"""

import html
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from experiments.errors import PaddockError

VARIABLE = "PADDOCK_PASSWORDS"
"""The environment variable with the addresses of this process and of those that it starts: JSON, from
an address as it is shown to the same one with its password."""

MASK = "***"
"""What stands in the place of a value of a query; the password behind a user's name is left out."""

_SHORTEST = 4
"""A shorter password is only hidden within an address: it may be a part of any word."""

_USER = re.compile(r"([A-Za-z][\w+.-]*://[^/?#:]*):(.*)", re.DOTALL)
_PORT = re.compile(r"\d*([/?#]|$)")
_QUERY = re.compile(
    r"([?&;](?:[\w.-]*(?:passw|passwd|passphrase|pwd|token|secret|signature|credential|api[-_]?key"
    r"|access[-_]?key)[\w.-]*|auth|authorization|key|pass|pw|sig)=)([^&#]+)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"<>]+")
_ONE_OF_LIST = re.compile(r"[A-Za-z][\w+.-]*://(?:(?!,\s*['\"]?[A-Za-z][\w+.-]*://)[^\s'\"\]})])+")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")


def without_password(uri: str) -> str:
    """An address with its passwords removed, as it is shown and written down.

    Parameters
    ----------
    uri : str
        Address, with or without a password: behind the user's name, or as a value of the query that
        is called a password, a token, a key or the like.
    """
    return _parted(uri)[0]


def concealed(uri: str) -> str:
    """An address without its passwords, which `revealed` puts back in this process and its children.

    Parameters
    ----------
    uri : str
        Address, with or without a password. An interpolation in the place of one (``${oc.env:PW}``)
        is no password yet: it is left.
    """
    shown, secrets = _parted(uri)
    # What is concealed already carries no password, only the place of one.
    real = [each for each in secrets if each != MASK]
    if not real or any("${" in each for each in real):
        return uri
    known = _known()
    if known.get(shown) != uri:
        os.environ[VARIABLE] = json.dumps({**known, shown: uri})
    return shown


def revealed(uri: str) -> str:
    """An address with the passwords that `concealed` took out of it.

    Parameters
    ----------
    uri : str
        Address as it is shown; one that nothing was taken out of is returned as it is.
    """
    return _known().get(uri, uri)


def concealed_override(override: str) -> str:
    """An override of the command line, KEY=VALUE, whose value's addresses are concealed.

    Parameters
    ----------
    override : str
        The value may be an address, one in quotes, or a list of them.

    Raises
    ------
    PaddockError
        If two addresses of one override differ by their passwords alone, of which one would be lost.
    """
    key, equals, value = override.partition("=")
    if "://" not in value:
        return override
    taken: dict[str, str] = {}

    def take(address: str) -> str:
        shown = concealed(address)
        if taken.setdefault(shown, address) != address:
            raise PaddockError(
                f"{key}: two passwords for {shown}; give them in commands of their own"
            )
        return shown

    def within_quotes(found: re.Match[str]) -> str:
        mark = found[0][0]
        inner = found[0][1:-1]
        plain = inner.replace(f"\\{mark}", mark)
        shown = take(plain) if "," not in plain else _ONE_OF_LIST.sub(lambda m: take(m[0]), plain)
        shown = take(plain) if _ADDRESS.match(plain) else shown
        return found[0] if shown == plain else mark + shown.replace(mark, f"\\{mark}") + mark

    parts, end = [], 0
    for found in _QUOTED.finditer(value):
        parts += [_ONE_OF_LIST.sub(lambda m: take(m[0]), value[end : found.start()])]
        parts += [within_quotes(found)]
        end = found.end()
    parts.append(_ONE_OF_LIST.sub(lambda m: take(m[0]), value[end:]))
    return f"{key}{equals}{''.join(parts)}"


def conceal_all(node: Any) -> Any:
    """Plain content with the addresses in it concealed.

    Parameters
    ----------
    node : object
        Dataclasses, dicts and lists are changed in place; a string is returned anew, anything else as it is.
    """
    if is_dataclass(node):
        conceal_all(vars(node))
    elif isinstance(node, dict):
        for key, value in node.items():
            node[key] = conceal_all(value)
    elif isinstance(node, list):
        node[:] = [conceal_all(each) for each in node]
    elif isinstance(node, str) and _ADDRESS.match(node):
        return concealed(node)
    return node


def hidden(text: str) -> str:
    """A text without passwords: without those that are known, and without those of its addresses.

    Parameters
    ----------
    text : str
        Such as an error message of a library that was given an address.
    """
    if "://" in text:
        text = _ADDRESS.sub(lambda found: without_password(found[0]), text)
    pattern = _pattern(os.environ.get(VARIABLE, ""))
    return pattern.sub(MASK, text) if pattern is not None else text


@contextmanager
def guarded_output() -> Iterator[None]:
    """While a command runs, nothing that is printed holds a password, a traceback included.

    Raises
    ------
    SystemExit
        With code 1, in place of an exception whose traceback was printed here.
    """
    with redirect_stdout(_Guarded(sys.stdout)), redirect_stderr(_Guarded(sys.stderr)):
        try:
            yield
        except Exception:
            if not _known():
                raise
            # Python itself would print it after this guard has gone.
            traceback.print_exc()
            sys.exit(1)


class _Guarded:
    """A stream that hides passwords in what is written to it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._stream.write(hidden(text))
        return len(text)


def _known() -> dict[str, str]:
    held = os.environ.get(VARIABLE)
    return dict(json.loads(held)) if held else {}


def _parted(uri: str) -> tuple[str, list[str]]:
    """An address as it is shown, and the passwords that it holds, as they are spelled in it."""
    secrets = []
    if (found := _USER.fullmatch(uri)) is not None:
        head, rest = found.groups()
        inside = re.split(r"[/?#]", rest, maxsplit=1)[0]
        # A slash belongs encoded into a password; one that is not shall not show the rest of it.
        whole = not _PORT.match(rest) and "[" not in head and "@" in rest
        if "@" in inside or whole:
            secret, _, host = (inside if "@" in inside else rest).rpartition("@")
            uri = f"{head}@{host}{rest[len(inside) :] if '@' in inside else ''}"
            secrets.append(secret)
    base, mark, query = uri.partition("?")

    def mask(value: re.Match[str]) -> str:
        secrets.append(value[2])
        return value[1] + MASK

    return base + _QUERY.sub(mask, mark + query), secrets


@lru_cache(maxsize=4)
def _pattern(held: str) -> re.Pattern[str] | None:
    """What finds every spelling of the passwords that are known."""
    spellings: set[str] = set()
    for uri in json.loads(held).values() if held else ():
        for secret in _parted(uri)[1]:
            for plain in {secret, unquote(secret), unquote_plus(secret)}:
                spellings |= {plain, quote(plain, safe=""), quote_plus(plain), quote(plain)}
                spellings |= {html.escape(plain), json.dumps(plain)[1:-1], repr(plain)[1:-1]}
                spellings.add(plain.replace("'", "\\'"))
    long = sorted((each for each in spellings if len(each) >= _SHORTEST), key=len, reverse=True)
    if not long:
        return None
    return re.compile(
        "|".join(rf"{_edge(each[0], '<!')}{re.escape(each)}{_edge(each[-1], '!')}" for each in long)
    )


def _edge(letter: str, look: str) -> str:
    """No letter beside a password's first or last one: a word that holds it is another."""
    return rf"(?{look}\w)" if re.match(r"\w", letter) else ""
