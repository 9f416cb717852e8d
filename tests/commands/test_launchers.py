"""Grids whose runs are jobs of submitit, on this machine and on SLURM, one of which is killed midway."""

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.tuning.slurm import Slurm

from .command_line import ROOT, CommandLine

EPOCHS = 40
WORDS = (
    "-m",
    "model=bpr",
    "seed=1,2,3",
    "dataset=tiny",
    f"model.epochs={EPOCHS}",
    "model.stopping_step=0",
    "device=cpu",
    "threads=1",
)


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    cluster = Slurm()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, float]]:
    """The metrics of each seed, trained one after the other in one process."""
    alone = CommandLine(tmp_path_factory.mktemp("undisturbed"))
    answer = alone(*WORDS)
    assert answer.code == 0, answer.err
    return {run.run["seed"]: run.result["metrics"] for run in alone.runs}


@pytest.mark.slow
def test_on_this_machine(paddock: CommandLine, undisturbed: dict[int, dict[str, float]]) -> None:
    grid = begun(paddock, launcher="submitit_local")
    kill_a_job(paddock)
    said, error = grid.communicate()
    assert grid.returncode == 1, error
    (line,) = error.splitlines()
    assert line.startswith("error: a job ended without a result")
    assert "run the same command again" in line
    assert f"3 jobs are handed on; what they print is in {paddock.runs_dir}/.submitit" in said
    check_again(paddock, undisturbed, launcher="submitit_local")


@pytest.mark.slow
def test_on_slurm(
    paddock: CommandLine, undisturbed: dict[int, dict[str, float]], slurm: Slurm
) -> None:
    """The command that waits is killed as well: this SLURM keeps no accounts of jobs that died."""
    grid = begun(paddock, launcher="submitit_slurm", environment=slurm.environment)
    kill_a_job(paddock)
    grid.kill()
    grid.communicate()
    # Those of its jobs that live go on meanwhile.
    check_again(paddock, undisturbed, launcher="submitit_slurm", environment=slurm.environment)


def command(paddock: CommandLine, launcher: str) -> list[str]:
    words = [*WORDS, f"hydra/launcher={launcher}", "hydra.launcher.timeout_min=10"]
    return [sys.executable, "run.py", *paddock.arguments(*words)]


def begun(
    paddock: CommandLine, *, launcher: str, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """A grid one of whose jobs has trained for more than an epoch."""
    grid = subprocess.Popen(
        command(paddock, launcher), cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not [path for path in paddock.curves if path.read_bytes().count(b"\n") > 1]:
        assert grid.poll() is None, grid.communicate()
        time.sleep(0.05)
    return grid


def kill_a_job(paddock: CommandLine) -> None:
    """SIGKILL for the process of one of the jobs."""
    jobs = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "submitit.core._submit" in (process.info["cmdline"] or ())
        and str(paddock.runs_dir) in " ".join(process.info["cmdline"])
    ]
    jobs[-1].kill()


def check_again(
    paddock: CommandLine,
    undisturbed: dict[int, dict[str, float]],
    *,
    launcher: str,
    environment: dict[str, str] | None = None,
) -> None:
    """The same command makes up for what is missing, to the same numbers, and trains nothing twice."""
    done = subprocess.run(
        command(paddock, launcher), cwd=ROOT, env=environment, text=True,
        capture_output=True, check=False, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ndcg@10" in done.stdout
    assert {run.run["seed"]: run.result["metrics"] for run in paddock.runs} == undisturbed
    assert len(paddock.runs) == len(undisturbed)
    for run in paddock.runs:
        assert [record["epoch"] for record in run.curve] == list(range(1, EPOCHS + 1))
