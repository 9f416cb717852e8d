"""The wheel works outside the checkout: conf/ and the tiny data set are inside."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from experiments.runs.folder import find_runs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True
    )
    return folder / "site"


def called(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "paddock", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_holds_the_packages_and_nothing_else(site: Path) -> None:
    (wheel,) = site.parent.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "experiments",
        "models",
        "paddock",
        "reports",
    }


def test_it_trains_tunes_and_reproduces_elsewhere(site: Path, tmp_path: Path) -> None:
    done = called(
        site, tmp_path, "run", "model=bpr", "model.epochs=1", "dataset=tiny", "tracking=off"
    )
    assert done.returncode == 0, done.stderr
    (folder,) = find_runs(tmp_path / "runs", finished=True)
    assert folder.run["command"].startswith("paddock run ")
    # The folder above may be a checkout of something else.
    assert folder.run["git"]["commit"] is None
    done = called(
        site, tmp_path, "tune", "model=bpr", "model.epochs=1", "dataset=tiny", "tracking=off",
        "study.n_trials=1", "study.final_seeds=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "conf" / "tuned" / "tiny" / "loo" / "bpr.yaml").is_file()
    done = called(site, tmp_path, "run", "model=bpr", "dataset=tiny", "+tuned=auto", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "study: tiny/loo/bpr-" in done.stdout


def test_the_doctor_answers(site: Path, tmp_path: Path) -> None:
    done = called(site, tmp_path, "doctor", "--json")
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert found["torch"]["state"] == "ok"
    assert found["MLflow store"]["state"] == "info"
    assert not (tmp_path / "mlflow.db").exists()


def test_an_unknown_command_is_refused(site: Path, tmp_path: Path) -> None:
    done = called(site, tmp_path, "rum")
    assert done.returncode == 2
    assert "paddock rum: there is no such command" in done.stderr
