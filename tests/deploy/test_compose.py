"""deploy/compose.yaml: its parts fit together, and its very commands run a study."""

import re

import pytest

from experiments.tuning.cli import read

from .deployed import (
    DEPLOY,
    ROOT,
    Missing,
    command,
    compose_file,
    environment_file,
    known_variables,
    services,
)

VALUES = environment_file(DEPLOY / ".env.example")
TUNERS = ("study", "worker")
BOTOS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}
IMAGES = {"POSTGRES_", "MINIO_ROOT_", "MC_HOST_"}
"""What the variables begin with that the images of PostgreSQL and MinIO read."""


def test_variables_have_values() -> None:
    written = (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)", written)) == set(VALUES)
    assert "$" not in re.sub(r"\$\{\w+(:[-?][^}]*)?\}", "", written)
    services(VALUES)
    # Without the file, docker compose says which one to copy.
    with pytest.raises(Missing, match=r"PASSWORD: copy deploy/\.env\.example"):
        services({})


def test_no_password_is_written_down() -> None:
    secret = "x-s3cr3t"
    given = {name: secret for name in VALUES if "PASSWORD" in name}
    for name, service in services({**VALUES, **given}).items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|MC_HOST", variable):
                assert secret in value, f"{name}: {variable}"
        assert secret not in " ".join(command(service)), f"{name}: ps shows it"
    assert ".env" in (ROOT / ".gitignore").read_text().split()
    assert ".env" in {
        line.rpartition("/")[2] for line in (ROOT / ".dockerignore").read_text().split()
    }


def test_what_is_waited_for_is_there() -> None:
    found = services(VALUES)
    for service in found.values():
        for name, wanted in service.get("depends_on", {}).items():
            healthy = wanted["condition"] == "service_healthy"
            assert healthy == ("healthcheck" in found[name])
    for service in found.values():
        for source, *_ in (volume.split(":") for volume in service.get("volumes", [])):
            assert (DEPLOY / source).exists() or source in compose_file()["volumes"]
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / "Dockerfile").is_file()
            stages = re.findall(r"^FROM \S+ AS (\w+)", (ROOT / "Dockerfile").read_text(), re.M)
            assert service["build"]["target"] in stages


def test_variables_are_read() -> None:
    known = known_variables() | BOTOS
    for name, service in services(VALUES).items():
        for variable in service.get("environment", {}):
            assert variable in known or variable.startswith(tuple(IMAGES)), f"{name}: {variable}"


@pytest.mark.parametrize("name", TUNERS)
def test_command_is_taken(name: str) -> None:
    python, program, *overrides = command(services(VALUES)[name])
    assert (python, (ROOT / program).is_file()) == ("python", True)
    config, _ = read(overrides)
    assert config.study.worker is (name == "worker")
    assert (config.model["name"], config.study.n_trials) == ("SASRec", 30)


def test_mlflow_takes_its_arguments() -> None:
    from mlflow.cli import server

    program, name, *arguments = command(services(VALUES)["mlflow"])
    assert (program, name) == ("mlflow", server.name)
    context = server.make_context("server", arguments)
    assert context.args == []
    assert context.params["port"] == 5000
