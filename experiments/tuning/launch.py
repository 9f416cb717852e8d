"""Starting the workers of a study: as processes here, as jobs of a cluster, or by a command."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.address import TRACKING_URI, absolute
from experiments.errors import PaddockError
from experiments.paths import IN_CHECKOUT, ROOT, program
from experiments.runs.identity import spelled
from experiments.tuning.study import TuningStudy
from experiments.tuning.trial_queue import QueueState
from experiments.tuning.worker import LAUNCHER

PROGRAM = [str(ROOT / "tune.py")] if IN_CHECKOUT else ["-m", "paddock", "tune"]
"""What Python runs as a worker."""

POLL_SECONDS = 0.5
ENDED = (QueueState.finished, QueueState.failing)
STOP_SECONDS = 20.0
"""How long a worker may take to hand its trial back."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
_STARTED_HERE = ("study.worker=", "study.workers=", "study.launcher=", "study.storage=", "force=")
_UNQUOTED = re.compile(r"[\w:/@.%?*+-]+", re.ASCII)
"""Addresses that need no quotes, neither for Hydra nor for a shell."""


def worker_overrides(study: TuningStudy) -> list[str]:
    """The overrides of the command that starts a worker of this study."""
    given = [*study.experiment.places, *study.overrides]
    kept = [each for each in given if not each.lstrip("+").startswith(_STARTED_HERE)]
    tracked_in = study.config.tracking.uri
    if os.environ.get(TRACKING_URI) and tracked_in is not None:
        # Another machine's environment may name another store, or none.
        kept = [each for each in kept if not each.startswith("tracking.uri=")]
        kept.append(_address("tracking.uri", absolute(tracked_in)))
    storage = _address("study.storage", absolute(study.config.study.storage))
    return [*kept, storage, "study.worker=true", "progress=false"]


def worker_command(study: TuningStudy) -> str:
    """The command that adds a worker, on any machine that reaches the storage.

    A password is left out, which PostgreSQL also takes from PGPASSWORD or ~/.pgpass.
    """
    return shlex.join([*program("tune"), *worker_overrides(study)])


def _address(key: str, uri: str) -> str:
    """An override that names a database or a server."""
    return f"{key}={uri if _UNQUOTED.fullmatch(uri) else spelled(uri)}"


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def launch(study: TuningStudy) -> QueueState:
    """Start the workers that the study asks for, and wait until it has ended.

    Returns
    -------
    QueueState
        How it ended: `finished` or `failing`.

    Raises
    ------
    PaddockError
        If all of them ended before the study did.
    """
    settings = study.config.study
    start = _processes if settings.launcher == "local" else _jobs
    with start(study) as working:
        ended: float | None = None
        while True:
            alive = working()
            trials = study.queue.trials
            state = study.queue.state(trials)
            if not alive:
                break
            # A cluster may never report the end of a job that it killed; the trials then say it.
            if state in ENDED and all(trial.state.is_finished() for trial in trials):
                ended = ended or time.monotonic()
                if time.monotonic() > ended + STOP_SECONDS:
                    break
            time.sleep(POLL_SECONDS)
    if state not in ENDED:
        raise PaddockError(
            f"all {settings.workers} workers ended before the study did; their output is in "
            f"{study.folder}; the same command goes on"
        )
    return state


@contextmanager
def _processes(study: TuningStudy) -> Iterator[Callable[[], bool]]:
    """Processes on this machine, each with its share of the cores."""
    workers = study.config.study.workers
    share = str(max(1, cores() // workers))
    # Libraries that start a thread for every core would get in each other's way.
    environment = {**os.environ, **dict.fromkeys(THREADS, share), LAUNCHER: str(os.getpid())}
    study.folder.mkdir(parents=True, exist_ok=True)
    started = []
    for number in range(workers):
        with (study.folder / f"worker-{number}.log").open("ab") as log:
            command = [sys.executable, *PROGRAM, *worker_overrides(study)]
            started.append(
                subprocess.Popen(
                    command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            )
    try:
        yield lambda: any(process.poll() is None for process in started)
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in started:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _jobs(study: TuningStudy) -> Iterator[Callable[[], bool]]:
    """Jobs of submitit: on SLURM, or as it would run them there, on this machine."""
    try:
        import submitit
    except ImportError as error:
        raise PaddockError(
            f"study.launcher={study.config.study.launcher} needs the package submitit: pip install "
            "submitit"
        ) from error
    settings = study.config.study
    cluster = "slurm" if settings.launcher == "slurm" else "local"
    try:
        executor = submitit.AutoExecutor(folder=study.folder / "jobs", cluster=cluster)
        executor.update_parameters(name="paddock", **_parameters(study, cluster))
    except (RuntimeError, NameError, ValueError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise PaddockError(f"study.launcher={settings.launcher}: {reason}") from error
    command = [sys.executable, *PROGRAM, *worker_overrides(study)]
    run = submitit.helpers.CommandFunction(command, cwd=Path.cwd(), verbose=False)
    jobs = [executor.submit(run) for _ in range(settings.workers)]
    try:
        yield lambda: not all(job.done() for job in jobs)
    finally:
        for job in jobs:
            if not job.done():
                job.cancel(check=False)


def _parameters(study: TuningStudy, cluster: str) -> dict[str, Any]:
    """The parameters of submitit's executor; those of `study.slurm` come before the usual ones."""
    settings = study.config.study
    usual: dict[str, Any] = {"cpus_per_task": study.config.threads, "timeout_min": 24 * 60}
    if cluster == "local":
        usual = {"timeout_min": 24 * 60}
    return {**usual, **settings.slurm}
