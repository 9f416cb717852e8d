"""Starting the workers of a study: processes here, jobs of a cluster, or a command for anywhere."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from experiments.address import without_password
from experiments.errors import PaddockError
from experiments.paths import ROOT
from experiments.runs.identity import spelled
from experiments.tuning.ledger import Verdict
from experiments.tuning.storage import absolute
from experiments.tuning.study import Desk
from experiments.tuning.worker import LAUNCHER

SCRIPT = ROOT / "tune.py"
POLL_SECONDS = 0.5
ENDED = (Verdict.done, Verdict.stop)
STOP_SECONDS = 20.0
"""How long a worker may take to hand its trial back."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
_STARTED_HERE = ("study.worker=", "study.workers=", "study.launcher=", "study.storage=", "force=")
_UNQUOTED = re.compile(r"[\w:/@.%?*+-]+", re.ASCII)
"""Addresses that Hydra and a shell take as they are."""


def worker_words(desk: Desk) -> list[str]:
    """The overrides of a worker of this study."""
    kept = [word for word in desk.words if not word.lstrip("+").startswith(_STARTED_HERE)]
    storage = absolute(desk.config.study.storage)
    storage = storage if _UNQUOTED.fullmatch(storage) else spelled(storage)
    return [*kept, f"study.storage={storage}", "study.worker=true", "progress=false"]


def by_hand(desk: Desk) -> str:
    """The command that adds a worker, from any folder of the code on any machine that it reaches.

    A password is left out, which PostgreSQL also takes from PGPASSWORD or ~/.pgpass.
    """
    return shlex.join(["python", "tune.py", *map(shown_word, worker_words(desk))])


def shown_word(word: str) -> str:
    """An override as it is shown and written down: an address's password is left out."""
    key, given, value = word.partition("=")
    if key not in ("study.storage", "tracking.uri"):
        return word
    address = without_password(value.strip("'\""))
    return f"{key}{given}{address if _UNQUOTED.fullmatch(address) else spelled(address)}"


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def launch(desk: Desk) -> Verdict:
    """Start the workers that the study asks for and wait until they need to do no more.

    Raises
    ------
    PaddockError
        If all of them ended before the study did.
    """
    settings = desk.config.study
    start = _processes if settings.launcher == "local" else _jobs
    with start(desk) as working:
        ended: float | None = None
        while True:
            alive = working()
            trials = desk.ledger.trials
            verdict = desk.ledger.verdict(trials)
            if not alive:
                break
            # A job that a cluster killed may never be told as ended; then the study tells.
            if verdict in ENDED and all(trial.state.is_finished() for trial in trials):
                ended = ended or time.monotonic()
                if time.monotonic() > ended + STOP_SECONDS:
                    break
            time.sleep(POLL_SECONDS)
    if verdict not in ENDED:
        raise PaddockError(
            f"all {settings.workers} workers ended before the study did; their words are in "
            f"{desk.folder}; the same command goes on"
        )
    return verdict


@contextmanager
def _processes(desk: Desk) -> Iterator[Callable[[], bool]]:
    """Processes on this machine, each with its share of the cores."""
    workers = desk.config.study.workers
    share = str(max(1, cores() // workers))
    # Libraries that start a thread for every core would get in each other's way.
    environment = {**os.environ, **dict.fromkeys(THREADS, share), LAUNCHER: str(os.getpid())}
    desk.folder.mkdir(parents=True, exist_ok=True)
    started = []
    for number in range(workers):
        with (desk.folder / f"worker-{number}.log").open("ab") as log:
            command = [sys.executable, str(SCRIPT), *worker_words(desk)]
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
def _jobs(desk: Desk) -> Iterator[Callable[[], bool]]:
    """Jobs of submitit: on SLURM, or as it would run them there, on this machine."""
    try:
        import submitit
    except ImportError as error:
        raise PaddockError(
            f"study.launcher={desk.config.study.launcher} needs the package submitit: pip install "
            "submitit"
        ) from error
    settings = desk.config.study
    cluster = "slurm" if settings.launcher == "slurm" else "local"
    try:
        executor = submitit.AutoExecutor(folder=desk.folder / "jobs", cluster=cluster)
        executor.update_parameters(name="paddock", **_parameters(desk, cluster))
    except (RuntimeError, NameError, ValueError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise PaddockError(f"study.launcher={settings.launcher}: {reason}") from error
    command = [sys.executable, str(SCRIPT), *worker_words(desk)]
    run = submitit.helpers.CommandFunction(command, cwd=SCRIPT.parent, verbose=False)
    jobs = [executor.submit(run) for _ in range(settings.workers)]
    try:
        yield lambda: not all(job.done() for job in jobs)
    finally:
        for job in jobs:
            if not job.done():
                job.cancel(check=False)


def _parameters(desk: Desk, cluster: str) -> dict[str, Any]:
    """What a job is given; the command's own `study.slurm` outranks it."""
    settings = desk.config.study
    usual: dict[str, Any] = {"cpus_per_task": desk.config.threads, "timeout_min": 24 * 60}
    if cluster == "local":
        usual = {"timeout_min": 24 * 60}
    return {**usual, **settings.slurm}
