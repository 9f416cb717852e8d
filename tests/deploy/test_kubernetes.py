"""deploy/kubernetes: Kubernetes' own schema takes it, and ours takes its commands and variables."""

import re
import subprocess
import sys
from typing import Any

import kubernetes_validate
import pytest

from experiments.config.check import check
from experiments.config.compose import compose, typed
from experiments.tuning.cli import read

from .deployed import DEPLOY, ROOT, known_variables, manifests

FILES = sorted(path.name for path in (DEPLOY / "kubernetes").glob("*.yaml"))
VERSIONS = ("1.33", "1.37")
"""The first in which backoffLimitPerIndex is no beta, and the latest that the package knows."""

SECRET = ("PGPASSWORD", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
"""What the Secret holds that settings.yaml says how to make."""


def resources(kind: str) -> list[dict[str, Any]]:
    return [each for name in FILES for each in manifests(name) if each["kind"] == kind]


def pod(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["template"]["spec"]
    return spec


def container(job: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod(job)["containers"]
    found: dict[str, Any] = only
    return found


JOBS = {job["metadata"]["name"]: job for job in resources("Job")}
(SETTINGS,) = resources("ConfigMap")


def environment(job: dict[str, Any]) -> dict[str, str]:
    own = {each["name"]: "3" for each in container(job).get("env", [])}
    return {**SETTINGS["data"], **dict.fromkeys(SECRET, "x-secret"), **own}


def arguments(job: dict[str, Any]) -> list[str]:
    """The container's arguments with `$(NAME)` replaced, as a pod gets them."""
    values = environment(job)
    return [
        re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], each)
        for each in container(job)["args"]
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", FILES)
def test_schema(name: str, version: str) -> None:
    for resource in manifests(name):
        kubernetes_validate.validate(resource, version, strict=True)


def test_schema_refuses_a_wrong_key() -> None:
    job = manifests("tune.yaml")[0]
    job["spec"]["backoffLimits"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", JOBS)
def test_command_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = JOBS[name]
    for variable, value in environment(job).items():
        monkeypatch.setenv(variable, value)
    program = container(job)["command"][1]
    if program == "tune.py":
        config, _ = read(arguments(job))
        assert config.study.worker is (name == "paddock-workers")
        assert config.study.storage == SETTINGS["data"]["STUDY_STORAGE"]
        assert config.tracking.uri == SETTINGS["data"]["MLFLOW_TRACKING_URI"]
    else:
        ran = typed(compose(arguments(job)))
        assert check(ran) is not None
        assert (ran.seed, ran.tracking.uri) == (3, SETTINGS["data"]["MLFLOW_TRACKING_URI"])


def test_program_composes_in_the_environment_of_a_pod() -> None:
    """The very command, with no variable but those of the pod."""
    job = JOBS["paddock-workers"]
    _, script = container(job)["command"]
    done = subprocess.run(
        [sys.executable, script, *arguments(job), "--cfg", "job"],
        cwd=ROOT,
        env=environment(job),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"storage: {SETTINGS['data']['STUDY_STORAGE']}" in done.stdout
    assert "x-secret" not in done.stdout


def test_workers_and_study_run_one_command() -> None:
    """The same study, or they would not work together."""
    study, workers = (container(JOBS[name]) for name in ("paddock-study", "paddock-workers"))
    assert workers["args"] == [*study["args"], "study.worker=true"]
    same = ("command", "image", "envFrom", "resources")
    assert {key: study[key] for key in same} == {key: workers[key] for key in same}


@pytest.mark.parametrize("name", JOBS)
def test_variables_are_read(name: str) -> None:
    job = JOBS[name]
    used = set(re.findall(r"\$\((\w+)\)", " ".join(container(job)["args"])))
    assert used <= set(environment(job))
    assert set(environment(job)) - used - {"STUDY_STORAGE"} <= known_variables()


@pytest.mark.parametrize("name", JOBS)
def test_a_killed_pod_is_replaced_and_a_wrong_command_is_not(name: str) -> None:
    from experiments.errors import FailedError, PaddockError

    spec = JOBS[name]["spec"]
    assert spec.get("backoffLimit", spec.get("backoffLimitPerIndex")) > 0
    (wrong,) = (each for each in spec["podFailurePolicy"]["rules"] if "onExitCodes" in each)
    assert wrong["action"] == "FailJob"
    assert wrong["onExitCodes"]["values"] == [PaddockError.exit_code]
    assert FailedError.exit_code not in wrong["onExitCodes"]["values"]
    assert pod(JOBS[name])["restartPolicy"] == "Never"  # podFailurePolicy takes no other


def test_what_is_named_is_there() -> None:
    for job in JOBS.values():
        names = {entry[kind]["name"] for entry in container(job)["envFrom"] for kind in entry}
        assert names == {SETTINGS["metadata"]["name"]}
        claims = [
            each["persistentVolumeClaim"]["claimName"] for each in pod(job).get("volumes", [])
        ]
        assert {*claims} <= {
            each["metadata"]["name"] for each in resources("PersistentVolumeClaim")
        }
    head = (DEPLOY / "kubernetes" / "settings.yaml").read_text()
    assert set(re.findall(r"--from-literal=(\w+)=", head)) == set(SECRET)


def test_no_password_is_in_a_manifest() -> None:
    assert resources("Secret") == []
    assert not set(SECRET) & set(SETTINGS["data"])
    for name in FILES:
        assert not re.search(r"://[^/\s]+:[^/\s]+@", (DEPLOY / "kubernetes" / name).read_text())
