"""The address of a store, `tracking.uri`: a SQLite file, another database, or a server."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


def is_http(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def is_remote(uri: str) -> bool:
    """Whether a server stands between this process and the store, and keeps the artifacts."""
    return is_http(uri) or uri.startswith("databricks")


def sqlite_file(uri: str) -> Path | None:
    """The file behind a SQLite address; None for any other store, one in memory included."""
    if not uri.startswith("sqlite") or ":///" not in uri:
        return None
    name = uri.split(":///", 1)[1].split("?", 1)[0]
    return None if name in ("", ":memory:") else Path(name).absolute()


def absolute(uri: str) -> str:
    """`uri` with a SQLite file's path made absolute: the name of one store, from any folder."""
    database = sqlite_file(uri)
    if database is None:
        return uri
    head, rest = uri.split(":///", 1)
    query = "?" + rest.split("?", 1)[1] if "?" in rest else ""
    return f"{head}:///{database}{query}"


def without_password(uri: str) -> str:
    """The form that is shown and written down."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{host}"))
