"""Pruners of tune.py against each other and against RecBole's HyperTuning, at equal CPU seconds.

    python -m benchmarks tuners
    python -m benchmarks.tuners [--seconds 60] [--models BPR,LightGCN] [--repeats 3] [--without-recbole]
    python -m benchmarks.tuners --show         # the kept results as Markdown

A study of one process and one thread goes until it has used its CPU seconds, counted from the begin
of its first trial; the trial that the end cuts off does not count. The clock is the process's, so
that other work on the machine takes no trials from a study. What is told is the best value of the
complete trials after each share of the budget. All tuners of a repeat have its seed, and all have
the search space, the data and the split of tune.py, whose first trial is the model's own values.

RecBole's is hyperopt's TPE, which prunes nothing, see benchmarks/tuning.py; its values are by its own
evaluator, so that its best configuration is trained and scored by ours too, as `best_by_ours`.
"""

import argparse
import json
import multiprocessing
import os
import sqlite3
import statistics
import subprocess
import time
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from benchmarks import tuning
from benchmarks.measure import machine, spread
from benchmarks.process import ONE_THREAD, ROOT
from experiments.files import read_json, write_json
from experiments.runs.provenance import packages

RESULTS = Path(__file__).resolve().parent / "out" / "tuners-ml-100k.json"
MODELS = ("BPR", "MultiVAE", "LightGCN")
PRUNERS = ("none", "median", "halving")
RECBOLE = "recbole"
SHARES = (0.25, 0.5, 0.75, 1.0)
SECONDS, REPEATS = 60.0, 3
PREPARED = ("experiments.tuning.tune", "torch._dynamo", "alembic.context")
"""What a study imports, once for all."""


@dataclass(kw_only=True)
class Clock:
    """What a process's CPU clock showed at moments of the wall's."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def at(self, moment: float) -> float:
        """The CPU seconds of the process at a moment, in seconds since the epoch."""
        return float(np.interp(moment, self.wall, self.cpu))


def watched(pid: int, *, seconds: float, began: Callable[[], float | None]) -> Clock:
    """Follow a process until it has used its CPU seconds since it began, and end it.

    Parameters
    ----------
    pid
        The process.
    seconds
        Its budget.
    began
        When its first trial began, in seconds since the epoch; None while that is to come.
    """
    clock, process, begin = Clock(), psutil.Process(pid), None
    while process.status() != psutil.STATUS_ZOMBIE:
        used = process.cpu_times()
        clock.wall.append(time.time())
        clock.cpu.append(used.user + used.system)
        begin = began() if begin is None else begin
        if begin is not None and clock.cpu[-1] - clock.at(begin) >= seconds:
            process.kill()
            return clock
        time.sleep(0.1)
    raise RuntimeError("a tuner ended before its budget")


def best_at(trials: Sequence[tuple[float, float]], moments: Sequence[float]) -> list[float | None]:
    """The best value until each moment, None before the first.

    Parameters
    ----------
    trials
        CPU seconds at the end, and value, of each complete trial, in their order.
    moments
        CPU seconds.
    """
    ends = [end for end, _ in trials]
    upto = [trials[: bisect(ends, moment)] for moment in moments]
    return [max((value for _, value in ended), default=None) for ended in upto]


def paddock(model: str, pruner: str, *, seed: int, seconds: float) -> dict[str, Any]:
    """What tune.py found with a pruner."""
    import optuna

    with TemporaryDirectory() as name:
        folder = Path(name)
        asked = [
            *(f"model={model.lower()}", "dataset=ml-100k", f"seed={seed}", f"study.seed={seed}"),
            *("study.n_trials=100000", f"study.pruner={pruner}", "device=cpu", "progress=false"),
            *("tracking=off", "study.worker=true", f"runs_dir={folder}/runs"),
        ]
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*PREPARED])
        process = context.Process(target=_command, args=(asked, str(folder / "output")))
        process.start()
        assert process.pid is not None
        file = folder / "runs" / "studies.db"
        try:
            clock = watched(process.pid, seconds=seconds, began=lambda: _first_begin(file))
        except RuntimeError as error:
            raise RuntimeError((folder / "output").read_text()[-3000:]) from error
        finally:
            process.kill()
            process.join()
        storage = f"sqlite:///{file}"
        (study,) = optuna.get_all_study_names(storage)
        trials = optuna.load_study(study_name=study, storage=storage).trials
    begin = clock.at(min(trial.datetime_start.timestamp() for trial in trials))
    ended = sorted(
        (clock.at(trial.datetime_complete.timestamp()) - begin, trial.state.name, trial.value)
        for trial in trials
        if trial.datetime_complete is not None
    )
    complete = [(end, value) for end, state, value in ended if state == "COMPLETE"]
    return _told(complete, seconds=seconds, pruned=len(ended) - len(complete))


def recbole(model: str, *, seed: int, seconds: float, python: Path) -> dict[str, Any]:
    """What RecBole's HyperTuning found."""
    request = {**tuning.request(model, "bayes"), "seed": seed}
    with subprocess.Popen(
        [str(python), "-W", "ignore", "-m", "benchmarks.tuning_peer", json.dumps(request)],
        cwd=ROOT,
        env=os.environ | ONE_THREAD | {"HYPEROPT_FMIN_SEED": str(seed)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        begin = time.time()
        clock = watched(process.pid, seconds=seconds, began=lambda: begin)
        lines = [json.loads(line) for line in process.stdout if line.endswith("\n")]
    at_begin = clock.at(begin)
    trials = [(clock.at(begin + line["seconds"]) - at_begin, line["value"]) for line in lines]
    told = _told(trials, seconds=seconds, pruned=0)
    best = max(lines, key=lambda line: line["value"], default=None)
    return {**told, "best_by_ours": best and tuning.trained(model, best["params"])}


def _told(trials: list[tuple[float, float]], *, seconds: float, pruned: int) -> dict[str, Any]:
    return {
        "complete": len(trials),
        "pruned": pruned,
        "best": best_at(trials, [share * seconds for share in SHARES]),
        "trials": [[round(end, 2), round(value, 6)] for end, value in trials],
    }


def _command(asked: list[str], output: str) -> None:
    """tune.py in a process that was forked from one that has imported everything."""
    import sys

    written = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.chdir(ROOT)
    sys.argv = ["tune.py", *asked]
    from experiments.tuning.cli import main

    main()


def _first_begin(file: Path) -> float | None:
    """When the first trial in a SQLite file began."""
    if not file.exists():
        return None
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as database:
            (found,) = database.execute("SELECT MIN(datetime_start) FROM trials").fetchone()
    except sqlite3.OperationalError:
        return None  # its tables are being made
    return datetime.fromisoformat(found).timestamp() if found else None


def compare(
    models: Sequence[str], *, seconds: float, repeats: int, python: Path | None
) -> Iterator[dict[str, Any]]:
    """A study of each tuner for each model and repeat, in turns that begin with another one."""
    tuners = (*PRUNERS, RECBOLE) if python is not None else PRUNERS
    for repeat in range(repeats):
        for model in models:
            turn = repeat % len(tuners)
            for tuner in (*tuners[turn:], *tuners[:turn]):
                load = os.getloadavg()[0]
                if tuner == RECBOLE:
                    assert python is not None
                    found = recbole(model, seed=repeat + 1, seconds=seconds, python=python)
                else:
                    found = paddock(model, tuner, seed=repeat + 1, seconds=seconds)
                yield {
                    "model": model,
                    "tuner": tuner,
                    "seed": repeat + 1,
                    "load_before": load,
                    **found,
                }


def table(result: dict[str, Any]) -> Iterator[str]:
    """The kept results as lines of Markdown: the median of the repeats, and the least and the most."""
    heads = [f"after {share * result['seconds']:g} s" for share in SHARES]
    yield f"| model | tuner | trials to their end, pruned | {' | '.join(heads)} |"
    yield "| --- | --- | ---: |" + " ---: |" * len(SHARES)
    studies = result["studies"]
    for model, tuner in dict.fromkeys((each["model"], each["tuner"]) for each in studies):
        same = [each for each in studies if (each["model"], each["tuner"]) == (model, tuner)]
        counts = [statistics.median(each[key] for each in same) for key in ("complete", "pruned")]
        values = [_value([each["best"][place] for each in same]) for place in range(len(SHARES))]
        yield f"| {model} | {tuner} | {counts[0]:g}, {counts[1]:g} | {' | '.join(values)} |"


def _value(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–" if not known else f"{len(known)} of {len(values)}: {max(known):.4f}"
    told = spread(known)
    return f"{told['median']:.4f} ({told['min']:.4f} - {told['max']:.4f})"


def measure(
    seconds: float = SECONDS,
    models: Sequence[str] = MODELS,
    repeats: int = REPEATS,
    *,
    with_recbole: bool = True,
) -> None:
    """Compare, keep each study as it comes, and print the table."""
    result: dict[str, Any] = {
        "seconds": seconds,
        "metric": tuning.METRIC,
        "packages": packages(),
        "host": machine(),
        "studies": [],
    }
    python = tuning.environment() if with_recbole else None
    for study in compare(models, seconds=seconds, repeats=repeats, python=python):
        result["studies"].append(study)
        write_json(RESULTS, result)
    print(*table(result), sep="\n")


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tuners",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of CPU, of each study")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--without-recbole", action="store_true")
    parser.add_argument("--show", action="store_true", help="the kept results")
    given = parser.parse_args()
    if given.show:
        print(*table(read_json(RESULTS)), sep="\n")
        return
    measure(
        given.seconds,
        given.models.split(","),
        given.repeats,
        with_recbole=not given.without_recbole,
    )


if __name__ == "__main__":
    main()
