"""Several workers on one study: as many finished trials as were asked for, whoever is killed."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from optuna.trial import TrialState

from experiments.passwords import concealed_override
from experiments.tuning.storage import exclusive

from .postgres import Postgres
from .slurm import Slurm
from .tuner import ROOT, SMALL, Tuner, counted, draws

N_TRIALS = 12
ASKED = [*SMALL, f"study.n_trials={N_TRIALS}"]


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.start()
    yield server
    server.stop()


def check_exact(tuner: Tuner, n_trials: int) -> None:
    """Exactly so many finished, each draw once, none of two workers, none left behind."""
    trials = tuner.trials
    assert len(counted(trials)) == n_trials
    assert [len(each) for each in draws(trials)] == [1] * n_trials
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    values = [tuple(each[0].params.values()) for each in draws(trials)]
    assert len(set(values)) == n_trials  # learning rates are drawn from a continuum


def killed_and_joined(tuner: Tuner, overrides: list[str], *, workers: int) -> None:
    """Start the workers, one of which is killed in the middle of a trial, and wait for them."""
    overrides = [*overrides, "study.worker=true"]
    victim = tuner.start(*overrides, slow=0.2, dies_at="set_trial_intermediate_value:2:after")
    others = [tuner.start(*overrides, slow=0.2) for _ in range(workers - 1)]
    for process in (victim, *others):
        process.wait()
    assert victim.returncode == -signal.SIGKILL, tuner.said
    assert [process.returncode for process in others] == [0] * (workers - 1), tuner.said
    cut_off = [trial for trial in tuner.trials if trial.user_attrs["worker"]["pid"] == victim.pid]
    assert [(trial.state, len(trial.intermediate_values)) for trial in cut_off] == [
        (TrialState.FAIL, 2)
    ]
    (again,) = [t for t in tuner.trials if t.user_attrs.get("retry_of") == cut_off[0].number]
    assert again.params == cut_off[0].params


def test_four_workers_on_postgresql_one_of_them_killed(tuner: Tuner, postgres: Postgres) -> None:
    overrides = [*ASKED, f"study.storage={postgres.url}"]
    killed_and_joined(tuner, overrides, workers=4)
    check_exact(tuner, N_TRIALS)
    assert len({trial.user_attrs["worker"]["pid"] for trial in counted(tuner.trials)}) >= 3
    # Whoever concludes the study finds nothing left to train.
    tuner(*overrides)
    check_exact(tuner, N_TRIALS)
    assert (tuner.folder / "conf" / "tuned" / "tiny" / "loo" / "bpr.yaml").exists()


def test_three_workers_on_one_sqlite_file_one_of_them_killed(tuner: Tuner) -> None:
    killed_and_joined(tuner, ASKED, workers=3)
    check_exact(tuner, N_TRIALS)
    assert "locked" not in tuner.said


@pytest.mark.parametrize(
    ("override", "shown"),
    [
        ("study.storage=postgresql://u:secret@host/db", "study.storage=postgresql://u@host/db"),
        ("study.storage='postgresql://u:a&b@h/d?x&y'", "study.storage='postgresql://u@h/d?x&y'"),
        ("study.storage=sqlite:////runs/studies.db", "study.storage=sqlite:////runs/studies.db"),
        ("study.name=u:secret@host", "study.name=u:secret@host"),
    ],
)
def test_password_is_not_shown(override: str, shown: str) -> None:
    assert concealed_override(override) == shown


def test_processes_of_one_command(tuner: Tuner) -> None:
    """study.workers starts processes of their own, and the study is concluded once."""
    said = tuner(*ASKED, "study.workers=2")
    check_exact(tuner, N_TRIALS)
    assert "one more: python tune.py model=bpr" in said
    assert len({trial.user_attrs["worker"]["pid"] for trial in tuner.trials}) == 2
    assert said.count(" complete in ") == N_TRIALS
    (folder,) = tuner.folders
    assert (folder / "study.log").read_text().count(" complete in ") == N_TRIALS
    for number in range(2):
        # On a busy machine one may have waited for the other.
        lines = (folder / f"worker-{number}.log").read_text().splitlines()
        assert [line for line in lines if not line.startswith("waiting for process ")] == []


HOLD = """
import sys, time
from experiments.tuning.storage import exclusive
with exclusive(sys.argv[1])():
    print("held", flush=True)
    time.sleep(3)
"""


def test_a_lock_of_postgresql_names_its_holder(
    postgres: Postgres, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", HOLD, postgres.url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with exclusive(postgres.url)():
            assert holder.stdout.read() == ""
            assert holder.wait() == 0, "it is held by one at a time"
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"waiting for process {holder.pid} on {socket.gethostname()}, since ")
    assert line.endswith(f", which holds the lock for trials of {postgres.url}")


@pytest.mark.slow
def test_jobs_of_submitit(tuner: Tuner) -> None:
    """submitit's local executor runs what it would hand to SLURM."""
    pytest.importorskip("submitit")
    tuner(*ASKED, "study.workers=2", "study.launcher=submitit")
    check_exact(tuner, N_TRIALS)
    assert list((tuner.folders[0] / "jobs").glob("*.out"))


@pytest.fixture
def slurm() -> Iterator[Slurm]:
    cluster = Slurm()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.mark.slow
def test_jobs_of_slurm(tuner: Tuner, slurm: Slurm, postgres: Postgres) -> None:
    """A real SLURM of one node, a job of which is killed: as many trials as asked."""
    pytest.importorskip("submitit")
    overrides = [*ASKED, f"study.storage={postgres.url}", "study.workers=2", "study.launcher=slurm"]
    overrides += ["study.slurm.timeout_min=10"]
    overrides += ["model.epochs=60", "model.stopping_step=0"]
    command = [sys.executable, "tune.py", *tuner.overrides(*overrides)]
    with tuner.output.open("ab") as output:
        launcher = subprocess.Popen(
            command, cwd=ROOT, env=slurm.environment, stdout=output, stderr=output
        )
    while not (tuner.known() and len(counted(tuner.trials)) >= 2):
        assert launcher.poll() is None, tuner.said
        time.sleep(0.1)
    slurm.output_of(
        "scancel", "--signal=KILL", "--full", slurm.output_of("squeue", "-h", "-o%i").split()[0]
    )
    assert launcher.wait() == 0, tuner.said
    check_exact(tuner, N_TRIALS)
    scripts = list((tuner.folders[0] / "jobs").glob("*_submission.sh"))
    assert len(scripts) == 2
    assert all("--time=10" in script.read_text() for script in scripts)
    assert len({trial.user_attrs["worker"]["pid"] for trial in tuner.trials}) == 2
    assert slurm.output_of("squeue", "-h").split() == []


@pytest.mark.slow
def test_workers_end_with_their_launcher(tuner: Tuner) -> None:
    launcher = tuner.start(*ASKED, "study.workers=2", "model.epochs=200", "study.n_trials=1000")
    tuner.kill(launcher, ended=2)
    deadline = time.monotonic() + 60
    while [trial for trial in tuner.trials if trial.state is TrialState.RUNNING]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ended = tuner.ended()
    time.sleep(1.0)
    assert tuner.ended() == ended
