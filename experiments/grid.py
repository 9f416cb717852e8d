"""What happens before and after a grid: all its runs are checked first, and compared at the end."""

import re
import sys
from dataclasses import replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from experiments.compose import choices, compose, loosened, typed
from experiments.config import Config, Mode
from experiments.errors import PaddockError
from experiments.validate import check
from experiments.values import at_least, nearest


class Grid(Callback):
    """Hydra's callback around a multirun."""

    def __init__(self) -> None:
        self._runs: list[Config] = []

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the whole grid if one of its runs could not work, before anything trains."""
        try:
            self._runs = runs(jobs(config))
            for run in self._runs:
                check(run)
        except PaddockError as error:
            # Hydra swallows the exceptions of callbacks, and would train.
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the leaderboard of every data set and protocol that the grid ran on."""
        from experiments.cli import show_leaderboard

        asked: dict[str, Config] = {}
        for run in self._runs:
            if run.mode is Mode.run:
                asked.setdefault(repr((run.runs_dir, run.dataset, run.protocol.name)), run)
        for run in asked.values():
            show_leaderboard(run)


def runs(all_overrides: list[list[str]]) -> list[Config]:
    """The configuration of every job; those that differ by their seed alone are composed once."""
    composed: dict[tuple[str, ...], Config] = {}
    found = []
    for overrides in all_overrides:
        seeds = [word for word in overrides if re.fullmatch(r"seed=\d+", word)]
        others = tuple(word for word in overrides if word not in seeds)
        if others not in composed:
            composed[others] = typed(compose(others))
            _check_seeds(composed[others], [*choices("model"), *_chosen(overrides)])
        run = composed[others]
        found.append(replace(run, seed=int(seeds[-1].removeprefix("seed="))) if seeds else run)
    return found


def _check_seeds(config: Config, models: list[str]) -> None:
    for model, seeds in config.grid_seeds.items():
        if model not in models:
            raise PaddockError(f"grid_seeds.{model}: no such model; {nearest(model, models)}")
        for seed in seeds:
            at_least(f"grid_seeds.{model}", seed, 0)


def _chosen(overrides: list[str]) -> list[str]:
    """The model that a job's overrides choose, which may lie in a folder of the user's own."""
    return [word.removeprefix("model=") for word in overrides if word.startswith("model=")]


def jobs(config: DictConfig) -> list[list[str]]:
    """The overrides of every run of a grid, as Hydra's own sweeper multiplies them out."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    params = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create({}))
    assert isinstance(params, dict)
    lines = [f"{key!s}={value}" for key, value in params.items()]
    task = OmegaConf.to_container(config.hydra.overrides.task)
    assert isinstance(task, list)
    given = [str(word) for word in config.hydra.overrides.hydra]
    places = [word for word in given if word.startswith("hydra.searchpath=")]
    parsed = OverridesParser.create().parse_overrides(
        [*lines, *loosened([str(word) for word in task])]
    )
    # Where else files may be, as each job is composed by itself.
    return [[*job, *places] for job in BasicSweeper.split_arguments(parsed, None)[0]]
