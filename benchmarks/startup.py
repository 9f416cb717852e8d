"""What a command costs that trains little or nothing: a fresh process each time, imports included.

    python -m benchmarks.startup [--repeats N] [--cells N] [--folders N]

A finished run that is asked for again, a grid of finished runs, the leaderboard of many run folders,
help. The finished runs are copies of one run of Pop on the tiny data set, under the names of other
models and seeds, so that only their making is spared and not what finds them. Each command runs once
before it is measured, so that all bytecode is there, as it is on a user's machine.

The goals are CPU seconds of a machine on which importing torch and RecBole alone takes four of them.
What that import takes here over four is the machine's ratio; every goal is shown times it as well.
How long Python takes to import Hydra alone stands beside: it says whether small imports scale alike.
"""

import argparse
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.measure import machine, spread
from benchmarks.process import python_output
from experiments.commands.identified import prepared_run
from experiments.commands.phases import Phases
from experiments.config.compose import compose, typed
from experiments.config.experiment import Experiment
from experiments.files import write_json
from experiments.integrity import write_sealed
from experiments.runs.folder import RunFolder, find_runs, run_path
from experiments.runs.provenance import packages

OUT = Path(__file__).resolve().parent / "out" / "startup.json"
MODELS = (
    "pop",
    "itemknn",
    "ease",
    "ract",
    "bpr",
    "lightgcn",
    "multivae",
    "gru4rec",
    "sasrec",
    "bert4rec",
)
REPEATS, CELLS, FOLDERS = 3, 200, 2000

GOALS_IMPORT = 4.0
"""CPU seconds that importing torch and RecBole takes where the goals were set."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command to measure.

    Attributes
    ----------
    arguments : sequence of str
        Of Python.
    goal : float, optional
        CPU seconds that it may take where importing torch and RecBole takes `GOALS_IMPORT`.
    before : callable, optional
        What is done before each time.
    warm_up : sequence of str, optional
        Arguments of a smaller command that runs the same code; by default the command itself.
    """

    name: str
    arguments: Sequence[str]
    goal: float | None = None
    before: Callable[[], object] = lambda: None
    warm_up: Sequence[str] | None = None


class Folders:
    """The run folders of the benchmark, and the commands that find them.

    Parameters
    ----------
    work : Path
        Everything is written below it.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self._one = self.arguments("cells", "model=pop")

    def arguments(self, runs: str, *overrides: str, tracking: str = "off") -> list[str]:
        """The arguments of Python for run.py with these overrides, on the tiny data set."""
        places = [f"runs_dir={self.work / runs}", f"data_dir={self.work / 'data'}"]
        return ["run.py", *overrides, "dataset=tiny", f"tracking={tracking}", *places]

    def commands(self, *, cells: int, folders: int) -> Iterable[Command]:
        """Make the folders, and say what is measured on them."""
        fresh = self.work / "fresh"
        yield Command(
            name="Pop, trained, evaluated, untracked",
            arguments=self.arguments("fresh", "model=pop"),
            goal=5.0,
            before=lambda: shutil.rmtree(fresh, ignore_errors=True),
        )
        python_output(*self._one)
        yield Command(name="a finished run, untracked", arguments=self._one, goal=1.2)
        store = f"tracking.uri=sqlite:///{self.work / 'mlflow.db'}"
        artifacts = f"tracking.artifacts={self.work / 'artifacts'}"
        tracked = self.arguments("cells", "model=pop", store, artifacts, tracking="local")
        python_output(*tracked)
        yield Command(name="a finished run, tracked", arguments=tracked, goal=1.2)
        seeds = [str(seed) for seed in range(1, cells // len(MODELS) + 1)]
        for model in MODELS:
            self._copies("cells", [self._identity(model)], seeds)
        yield Command(name=f"a finished run among {len(MODELS) * len(seeds)}", arguments=self._one)
        grid = ["-m", f"model={','.join(MODELS)}", f"seed={','.join(seeds)}"]
        yield Command(
            name=f"a grid of {len(MODELS) * len(seeds)} finished runs",
            arguments=self.arguments("cells", *grid),
            goal=15.0,
            warm_up=self.arguments("cells", "-m", "model=pop", "seed=1,2"),
        )
        models = [
            (MODELS[number % len(MODELS)], f"{number:064x}"[::-1]) for number in range(folders // 5)
        ]
        self._copies("board", models, list("12345"))
        yield Command(
            name=f"the leaderboard of {folders} runs",
            arguments=self.arguments("board", "mode=leaderboard"),
            goal=2.0,
        )

    def _identity(self, model: str) -> tuple[str, str]:
        overrides = self.arguments("cells", f"model={model}")[1:]
        experiment = Experiment.of(typed(compose(overrides)), {"model": model})
        return model, prepared_run(experiment, phases=Phases()).identity

    def _copies(self, runs: str, models: Iterable[tuple[str, str]], seeds: Sequence[str]) -> None:
        """Copy Pop's run under the names of other models' configurations and seeds."""
        [pop] = find_runs(self.work / "cells", model="pop", finished=True)[-1:]
        content, result = pop.run, pop.result
        for model, identity in models:
            for seed in seeds:
                path = run_path(
                    self.work / runs,
                    dataset=content["dataset"],
                    protocol=content["protocol"],
                    model_key=model,
                    config_hash=identity,
                    seed=int(seed),
                )
                if not path.exists():
                    shutil.copytree(pop.path, path)
                    names = {"model_key": model, "config_hash": identity, "seed": int(seed)}
                    write_sealed(path / "run.json", content | names)
                    RunFolder(path).write_result(result)


def yardstick() -> Command:
    """The import whose seconds tell how fast the machine is."""
    modules = "torch, recbole.config, recbole.data, recbole.model"
    return Command(name="import torch, recbole, alone", arguments=["-c", f"import {modules}"])


def helps() -> list[Command]:
    """Commands that need no run, and what importing Hydra alone costs."""
    return [
        Command(name="import hydra, alone", arguments=["-c", "import hydra"]),
        Command(name="run.py --help", arguments=["run.py", "--help"]),
        Command(name="run.py --cfg job", arguments=["run.py", "--cfg", "job"]),
        Command(name="tune.py --help", arguments=["tune.py", "--help"]),
        Command(name="python -m reports --help", arguments=["-m", "reports", "--help"]),
    ]


def measure(command: Command, *, repeats: int) -> dict[str, Any]:
    """Wall and CPU seconds of a command, the children of its process included."""
    command.before()
    python_output(*(command.warm_up or command.arguments))
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(repeats):
        command.before()
        begin, cpu_begin = time.perf_counter(), _cpu_of_children()
        python_output(*command.arguments)
        wall.append(time.perf_counter() - begin)
        cpu.append(_cpu_of_children() - cpu_begin)
    return {
        "name": command.name,
        "seconds": spread(wall),
        "cpu_seconds": spread(cpu),
        "goal_cpu_seconds": command.goal,
    }


def scaled(one: dict[str, Any], ratio: float) -> dict[str, Any]:
    """What `measure` gave, with its goal times the machine's ratio, where it has a goal."""
    goal = one["goal_cpu_seconds"]
    return one | {"goal_times_ratio": None if goal is None else goal * ratio}


def line(*cells: object) -> str:
    """One line of the table: the command, then seconds to the right."""
    shown = [f"{cell:.2f}" if isinstance(cell, float) else str(cell or "") for cell in cells]
    return "".join([f"{shown[0]:<36}", *(f"{each:>14}" for each in shown[1:])]).rstrip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print each line as it is known, and write benchmarks/out/startup.json."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=int, default=REPEATS, help="how often each is run")
    parser.add_argument("--cells", type=int, default=CELLS, help="finished runs of the grid")
    parser.add_argument("--folders", type=int, default=FOLDERS, help="runs of the leaderboard")
    given = parser.parse_args(arguments)
    found: list[dict[str, Any]] = []
    ratio = 1.0
    with TemporaryDirectory() as work:
        made = Folders(Path(work)).commands(cells=given.cells, folders=given.folders)
        for command in chain([yardstick()], helps(), made):  # each made when its turn comes
            one = measure(command, repeats=given.repeats)
            if not found:
                ratio = one["cpu_seconds"]["median"] / GOALS_IMPORT
                print(f"This machine's ratio: {ratio:.2f} (imports torch and RecBole in", end=" ")
                print(f"{one['cpu_seconds']['median']:.2f} CPU s, the goals' in {GOALS_IMPORT:g})")
                print(line("Seconds of a process, medians", "wall", "CPU", "goal", "goal x ratio"))
            found.append(one := scaled(one, ratio))
            medians = [one[key]["median"] for key in ("seconds", "cpu_seconds")]
            goals = [one[key] for key in ("goal_cpu_seconds", "goal_times_ratio")]
            print(line(command.name, *medians, *goals), flush=True)
    content = {"commands": found, "load": os.getloadavg(), "packages": packages()}
    content["yardstick"] = {
        "command": found[0]["name"],
        "cpu_seconds": found[0]["cpu_seconds"]["median"],
        "cpu_seconds_where_goals_were_set": GOALS_IMPORT,
        "ratio": ratio,
    }
    write_json(OUT, content | {"host": machine()})


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
