"""What deploy/ holds, read as docker compose and Kubernetes read it."""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?:(:[-?])([^}]*))?\})")


class Missing(Exception):
    """A variable that compose.yaml asks for has no value."""


def interpolated(node: Any, values: Mapping[str, str]) -> Any:
    """Content with `${NAME}`, `${NAME:-default}` and `${NAME:?error}` replaced as compose does it."""
    if isinstance(node, dict):
        return {key: interpolated(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(each, values) for each in node]
    if not isinstance(node, str):
        return node

    def value(found: re.Match[str]) -> str:
        name, kind, otherwise = found.groups()
        if name is None:
            return "$"
        if values.get(name):
            return values[name]
        if kind != ":-":
            raise Missing(f"{name}: {otherwise}")
        return str(otherwise)

    return _VARIABLE.sub(value, node)


def environment_file(path: Path) -> dict[str, str]:
    """NAME=VALUE of every line that is no comment."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def compose_file() -> dict[str, Any]:
    """compose.yaml as it is written, its anchors resolved."""
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


def services(values: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The services of compose.yaml with these values of its variables."""
    found: dict[str, dict[str, Any]] = interpolated(compose_file()["services"], values)
    return found


def command(service: Mapping[str, Any]) -> list[str]:
    """The words of a service's process."""
    return [*service.get("entrypoint", []), *service.get("command", [])]


def manifests(name: str) -> list[dict[str, Any]]:
    """The resources of a file in deploy/kubernetes."""
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()))


def known_variables() -> set[str]:
    """The environment variables that MLflow, libpq and Paddock read."""
    import psycopg

    from experiments.tuning.launch import THREADS

    found = find_spec("mlflow")  # importing it would take longer than all else here
    assert found is not None
    assert found.origin is not None
    source = Path(found.origin).with_name("environment_variables.py").read_text(encoding="utf-8")
    mlflows = set(re.findall(r"^(MLFLOW_\w+) = ", source, re.MULTILINE))
    libpqs = {each.envvar.decode() for each in psycopg.pq.Conninfo.get_defaults() if each.envvar}
    return {*mlflows, *libpqs, *THREADS}
