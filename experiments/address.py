"""Addresses of databases and servers: the tracking store's and that of the studies.

An address may carry a password, which is never shown and never written down: see `passwords`. What
the environment holds is therefore taken into a configuration without it, and gets it back where a
connection is made.
"""

import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from experiments.passwords import concealed, revealed, without_password

TRACKING_URI = "MLFLOW_TRACKING_URI"
"""The environment variable by which MLflow's users name their store."""


def is_http(uri: str) -> bool:
    """Whether an address is a web server's.

    Parameters
    ----------
    uri : str
        Address of a store or a server.
    """
    return uri.startswith(("http://", "https://"))


def problem(uri: str, schemes: Collection[str]) -> str | None:
    """What is wrong with the form of an address; None if nothing is.

    Parameters
    ----------
    uri : str
        Address of a database, a server or a file to download.
    schemes : collection of str
        What may precede its colon, such as "sqlite"; a driver behind a "+" is left to the database.
    """
    if not uri.strip():
        return "it is empty"
    scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else ""
    if scheme not in schemes:
        return f"it begins with none of {', '.join(f'{each}:' for each in schemes if each)}"
    if scheme == "sqlite":
        file = uri.partition(":///")[2].partition("?")[0]
        return None if file else "a SQLite file is written sqlite:///FILE"
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        return str(error)
    if is_http(uri) and not re.fullmatch(r"[^\s/?#]+", parts.hostname or ""):
        return "it names no host, as in http://HOST:PORT"
    return None


def is_remote(uri: str) -> bool:
    """Whether an address is a server's, which keeps the artifacts itself.

    Parameters
    ----------
    uri : str
        Address of a tracking store.
    """
    return is_http(uri) or uri.startswith("databricks")


def sqlite_file(uri: str) -> Path | None:
    """The file behind a SQLite address.

    Parameters
    ----------
    uri : str
        Address of a database, such as sqlite:///mlflow.db.

    Returns
    -------
    Path or None
        The absolute path; None for any other database, one in memory included.
    """
    if not uri.startswith("sqlite") or ":///" not in uri:
        return None
    name = uri.split(":///", 1)[1].split("?", 1)[0]
    return None if name in ("", ":memory:") else Path(name).absolute()


def absolute(uri: str) -> str:
    """An address with the path of its SQLite file made absolute.

    The result means the same file from every working folder. Other addresses are returned as they
    are.

    Parameters
    ----------
    uri : str
        Address of a database or a server.
    """
    database = sqlite_file(uri)
    if database is None:
        return uri
    head, rest = uri.split(":///", 1)
    query = "?" + rest.split("?", 1)[1] if "?" in rest else ""
    made = f"{head}:///{database}{query}"
    if (real := revealed(uri)) != uri:
        concealed(absolute(real))  # found under the longer name, too
    return made


def with_password(uri: str, *, variable: str = TRACKING_URI) -> str:
    """An address with the password that was taken out of it, or that the environment holds for it.

    Parameters
    ----------
    uri : str
        An address, usually without a password.
    variable : str
        The environment variable that may hold the same address with its password.

    Returns
    -------
    str
        What the configuration held before its passwords were concealed, or what the variable holds
        where that is `uri` but for the password; `uri` otherwise.
    """
    if (real := revealed(uri)) != uri:
        return real
    held = os.environ.get(variable, "")
    return held if without_password(held) == uri else uri


def from_environment(variable: str, default: str | None = None) -> str:
    """The address that an environment variable holds, without its password.

    Configurations call it by `${address:VARIABLE,DEFAULT}`.

    Parameters
    ----------
    variable : str
        Name of the environment variable.
    default : str, optional
        Address where the variable is unset or empty; None makes that an error.

    Raises
    ------
    KeyError
        The variable is unset or empty, and there is no default.
    """
    held = os.environ.get(variable, "") or default
    if held is None:
        raise KeyError(f"Environment variable '{variable}' not found")
    return without_password(held)
