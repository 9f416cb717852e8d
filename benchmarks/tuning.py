"""Tuning: two workers against one, and tune.py against RecBole's HyperTuning.

    python -m benchmarks tuning
    python -m benchmarks.tuning [--seconds 120] [--models BPR,LightGCN] [--algorithms bayes,random]

Two workers against one, on ml-100k with BPR: both train the same draws (random sampler, nothing
pruned, equal epochs), and what is timed lies between the first trial's begin and the last one's end,
so that the start of the processes counts on neither side. Beside them two processes with a study each,
half as long, share nothing but the machine: what they lose against one is no storage's and no lock's.

tune.py against HyperTuning: the same space, data set and split, one thread each, and the same
seconds of the wall from the first trial's begin. RecBole's is hyperopt's TPE (bayes) or its random
search over RecBole's own `objective_function`, in an environment of its own below benchmarks/out/,
made by pip; where that fails, this part is left out and says so. Ours is as it comes: TPE, pruning
by the median, each trial tracked in MLflow. A trial that the end of the budget cuts off counts on
neither side. Values are valid NDCG@10; RecBole's best configuration is also trained by ours, as the
two evaluators break ties of time and of scores differently.
"""

import argparse
import importlib.util
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.measure import Measured, Seconds
from benchmarks.process import ROOT, one_thread, python_output
from experiments.commands.train import run
from experiments.config.compose import compose, typed
from experiments.config.experiment import Experiment
from experiments.config.resolve import ENGINE_KEYS, resolve_model
from experiments.protocol.shared_data import shared_data
from experiments.runs.identity import spelled
from experiments.tuning.cli import read
from experiments.tuning.trials import STOPPED_BY, best, counts

ENVIRONMENT = Path(__file__).resolve().parent / "out" / "environments" / "hyperopt"
MODELS = ("BPR", "LightGCN")
ALGORITHMS = ("bayes",)
SECONDS = 120.0
TURNS = 2
N_TRIALS, EPOCHS = 12, 15
METRIC = "valid/full/ndcg_at_10"


@dataclass(kw_only=True)
class Workers(Measured):
    """Seconds of one worker (as `theirs`) and of two."""

    def summary(self) -> dict[str, Any]:
        summary = super().summary().items()
        return {
            key.replace("recbole", "one_worker").replace("paddock", "two_worker"): value
            for key, value in summary
        }


def measure(
    seconds: float = SECONDS,
    models: tuple[str, ...] = MODELS,
    algorithms: tuple[str, ...] = ALGORITHMS,
) -> Iterator[Measured]:
    """Both comparisons."""
    yield workers()
    python = environment()
    if python is not None:
        for model in models:
            for algorithm in algorithms:
                yield tuners(model, algorithm, seconds=seconds, python=python)


def workers() -> Measured:
    """The seconds of a study of BPR by one process and by two, in turns."""
    measured = Workers(
        name=f"tuning workers ml-100k BPR, seconds of {N_TRIALS} trials, one worker and two",
        facts={
            "load_before": [],
            "trials_a_minute": {"one": [], "two": []},
            "cpu_seconds": {"one": [], "two": []},
            "seconds_of_two_studies": [],
        },
    )
    for _ in range(TURNS):
        measured.facts["load_before"].append(os.getloadavg()[0])
        one, two = (_study_seconds(number) for number in (1, 2))
        measured.facts["seconds_of_two_studies"].append(_seconds_apart())
        # Not `add`: the table would tell CPU seconds, and the wall's are what workers save.
        measured.theirs.append(one.wall)
        measured.ours.append(two.wall)
        for name, taken in (("one", one), ("two", two)):
            measured.facts["trials_a_minute"][name].append(60 * N_TRIALS / taken.wall)
            measured.facts["cpu_seconds"][name].append(taken.cpu)
    return measured


def _study_seconds(number: int) -> Seconds:
    """Wall seconds of the trials; CPU seconds of all processes, their start included."""
    before = _cpu_of_children()
    trials = _equal_trials(N_TRIALS, workers=number)
    return Seconds(wall=_wall_of(trials), cpu=_cpu_of_children() - before)


def _seconds_apart() -> float:
    """Wall seconds of as many trials by two studies of one worker each, at the same time."""
    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(_equal_trials, [N_TRIALS // 2] * 2))
    return _wall_of([trial for half in halves for trial in half])


def _equal_trials(n_trials: int, *, workers: int = 1) -> list[Any]:
    with TemporaryDirectory() as folder:
        trials = _tune(
            Path(folder),
            *("model=bpr", "dataset=ml-100k", f"study.workers={workers}"),
            *("study.sampler=random", "study.pruner=none", f"study.n_trials={n_trials}"),
            *(f"model.epochs={EPOCHS}", "model.stopping_step=0"),
        )
    assert len(trials) == n_trials, trials
    return trials


def _wall_of(trials: list[Any]) -> float:
    begin = min(trial.datetime_start for trial in trials)
    return float((max(trial.datetime_complete for trial in trials) - begin).total_seconds())


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tune(folder: Path, *overrides: str) -> list[Any]:
    """The trials of a study that tune.py worked on in a process of its own."""
    import optuna

    places = [
        f"runs_dir={folder}/runs",
        f"study.tuned_dir={folder}/tuned",
        f"tracking.uri=sqlite:///{folder}/mlflow.db",
        f"tracking.artifacts={folder}/artifacts",
    ]
    fixed = ["study.final_seeds=0", "device=cpu", "progress=false"]
    python_output("tune.py", *overrides, *places, *fixed)
    storage = f"sqlite:///{folder}/runs/studies.db"
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


def tuners(model: str, algorithm: str, *, seconds: float, python: Path) -> Measured:
    """Seconds a trial of both tuners within the budget, and the best value of each."""
    load = os.getloadavg()[0]
    theirs = recbole_trials(model, algorithm, seconds=seconds, python=python)
    with TemporaryDirectory() as folder:
        overrides = [f"model={model.lower()}", "dataset=ml-100k"]
        # One trial more than the budget takes is cut off by its end.
        trials = _tune(
            Path(folder), *overrides, "study.n_trials=null", f"study.timeout={seconds:g}"
        )
    begin = min(trial.datetime_start for trial in trials)
    ours = [
        trial
        for trial in trials
        if counts(trial)
        and trial.user_attrs.get(STOPPED_BY) != "timeout"
        and (trial.datetime_complete - begin).total_seconds() <= seconds
    ]
    measured = Measured(
        name=f"tuning {model} ml-100k against {algorithm} of hyperopt, seconds a trial",
        theirs=[seconds / max(1, len(theirs))],
        ours=[seconds / len(ours)],
    )
    winner, found = best(ours), max(theirs, key=lambda trial: trial["value"], default=None)
    assert winner is not None
    measured.facts = {
        "budget_seconds": seconds,
        "load_before": load,
        "metric": METRIC,
        "recbole": {
            "trials": len(theirs),
            "trials_a_minute": 60 * len(theirs) / seconds,
            "best": found,
            "best_trained_by_paddock": found and trained(model, found["params"]),
        },
        "paddock": {
            "trials": len(ours),
            "trials_a_minute": 60 * len(ours) / seconds,
            "pruned": sum(trial.state.name == "PRUNED" for trial in ours),
            "best": {"value": winner.value, "params": winner.params},
            "defaults": ours[0].value,
        },
    }
    print(f"tuning: {measured.name}: {json.dumps(measured.facts)}", file=sys.stderr)
    return measured


def recbole_trials(
    model: str, algorithm: str, *, seconds: float, python: Path
) -> list[dict[str, Any]]:
    """The trials that HyperTuning ends within the seconds."""
    asked = json.dumps(request(model, algorithm))
    with subprocess.Popen(
        [str(python), "-W", "ignore", "-m", "benchmarks.tuning_peer", asked],
        cwd=ROOT,
        env=one_thread(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"HyperTuning ended with {process.wait()} before its first trial")
        time.sleep(seconds)
        if process.poll() is not None:
            raise RuntimeError(f"HyperTuning ended by itself with {process.returncode}")
        process.kill()
        lines = [line for line in process.stdout if line.endswith("\n")]
    return [trial for trial in map(json.loads, lines) if trial["seconds"] <= seconds]


def request(model: str, algorithm: str) -> dict[str, Any]:
    """What the peer is told: the space, the model's other values, the data."""
    config, space = read([f"model={model.lower()}", "dataset=ml-100k"])
    shared = shared_data(config)
    values = resolve_model(config.model).values
    tuned = {parameter.name for parameter in space.parameters}
    recbole = importlib.util.find_spec("recbole")
    assert recbole is not None
    assert recbole.origin is not None
    return {
        "algorithm": algorithm,
        "parameters": space.plain(),
        "model": {
            "model": values["name"],
            **{key: value for key, value in values.items() if key not in {*ENGINE_KEYS, *tuned}},
        },
        "n_items": shared.data.n_items,
        "seed": config.seed,
        "source": str(Path(recbole.origin).parent / "dataset_example" / "ml-100k"),
    }


def trained(model: str, params: dict[str, Any]) -> float:
    """The valid metric of a configuration, trained and scored by ours."""
    overrides = [f"model.{name}={spelled(value)}" for name, value in params.items()]
    chosen = {"model": model.lower(), "dataset": "ml-100k", "protocol": "loo"}
    with TemporaryDirectory() as folder:
        overrides += ["tracking=off", f"runs_dir={folder}", "device=cpu", "progress=false"]
        config = typed(compose([*(f"{key}={value}" for key, value in chosen.items()), *overrides]))
        quiet = Console(file=io.StringIO())
        folder_of_run = run(Experiment.of(config, chosen), console=quiet, bars=False)
        return float(folder_of_run.result["metrics"][METRIC])


def environment() -> Path | None:
    """A Python with hyperopt beside all that is installed here; None where it cannot be made."""
    python = ENVIRONMENT / "bin" / "python"
    if python.exists() and _imports(python, "hyperopt"):
        return python
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    (here,) = {path for path in sys.path if Path(path, "recbole").is_dir()}
    (inside,) = ENVIRONMENT.glob("lib/python*/site-packages")
    (inside / "outer.pth").write_text(f"{here}\n", encoding="utf-8")
    made = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "hyperopt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0 or not _imports(python, "hyperopt"):
        reason = (made.stderr.strip() or "it does not import").splitlines()[-1]
        print(f"tuning: pip could not install hyperopt ({reason}); skipped", file=sys.stderr)
        return None
    return python


def _imports(python: Path, module: str) -> bool:
    return subprocess.run([str(python), "-c", f"import {module}"], check=False).returncode == 0


def main() -> None:
    """Measure, print, and write benchmarks/out/."""
    from benchmarks.__main__ import report

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tuning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each tuner")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS), help="bayes, random")
    given = parser.parse_args()
    report(measure(given.seconds, given.models.split(","), given.algorithms.split(",")))


if __name__ == "__main__":
    main()
