"""What happens before and after a grid: all its runs are checked first, and compared at the end."""

import re
import warnings
from dataclasses import replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from experiments.config.check import check
from experiments.config.compose import compose, loosened, typed
from experiments.config.groups import choices
from experiments.config.schema import Config, Mode
from experiments.config.values import at_least, nearest
from experiments.errors import PaddockError
from experiments.failures import fail


class Grid(Callback):
    """Hydra's callback around a multirun."""

    def __init__(self) -> None:
        self._runs: list[Config] = []

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse the whole grid if one of its runs could not work, before anything trains.

        Parameters
        ----------
        config : DictConfig
            The composed configuration, Hydra's own part included.
        **kwargs : object
            Hydra's other arguments, which are not read.
        """
        try:
            all_overrides = jobs(config)
            self._runs = runs(all_overrides)
            prepare_launcher(config.hydra.launcher)
            for run in self._runs:
                check(run)
            for message in check_seeds(all_overrides, self._runs):
                print(message)
        except Exception as error:
            # Hydra swallows the exceptions of callbacks, and would train.
            fail(error)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the leaderboard of every data set and protocol that the grid ran on.

        Parameters
        ----------
        config : DictConfig
            The composed configuration, Hydra's own part included.
        **kwargs : object
            Hydra's other arguments, which are not read.
        """
        from experiments.commands.run import show_leaderboard

        boards: dict[str, Config] = {}
        for run in self._runs:
            if run.mode is Mode.run:
                boards.setdefault(repr((run.runs_dir, run.dataset, run.protocol.name)), run)
        try:
            for run in boards.values():
                show_leaderboard(run)
        except Exception as error:
            fail(error)


def runs(all_overrides: list[list[str]]) -> list[Config]:
    """The configuration of every job.

    Jobs that differ by their seed alone are composed once, unless another value depends on the
    seed.

    Parameters
    ----------
    all_overrides : list of list of str
        The overrides of each job.

    Returns
    -------
    list of Config
        One configuration a job, in the same order.
    """
    composed: dict[tuple[str, ...], Config] = {}
    found = []
    for overrides in all_overrides:
        seeds = [each for each in overrides if re.fullmatch(r"seed=\d+", each)]
        others = tuple(each for each in overrides if each not in seeds)
        if others not in composed:
            made = compose(overrides)
            if re.search(r"\$\{[^}]*seed", OmegaConf.to_yaml(made)):
                found.append(typed(made))
                continue
            composed[others] = typed(made)
        run = composed[others]
        found.append(replace(run, seed=int(seeds[-1].removeprefix("seed="))) if seeds else run)
    return found


def prepare_launcher(launcher: DictConfig) -> None:
    """Refuse a number of processes that starts none, and keep joblib from warning in vain.

    Parameters
    ----------
    launcher : DictConfig
        The part `hydra.launcher` of a configuration.

    Raises
    ------
    PaddockError
        If there are no processes to run on.
    """
    number = launcher.n_jobs if "n_jobs" in launcher else 1
    if type(number) is not int or (number < 1 and number != -1):
        raise PaddockError(
            f"hydra.launcher.n_jobs={number} starts no process: give their number, or -1 for one a core"
        )
    # Between two jobs joblib replaces a process that has grown by 300 MB, as training lets it, and
    # suspects a leak. No job is lost; of one that dies within a job it raises an error.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")


def check_seeds(all_overrides: list[list[str]], found: list[Config]) -> list[str]:
    """One message for each model that `grid_seeds` leaves out of these jobs.

    Parameters
    ----------
    all_overrides : list of list of str
        The overrides of each job.
    found : list of Config
        The configuration of each job, in the same order.

    Raises
    ------
    PaddockError
        If `grid_seeds` names an unknown model or an impossible seed.
    """
    seeds_of: dict[str, set[int]] = {}
    for overrides, run in zip(all_overrides, found, strict=True):
        chosen = [each.removeprefix("model=") for each in overrides if each.startswith("model=")]
        seeds_of.setdefault("".join(chosen[-1:]), set()).add(run.seed)
    models = [*choices("model"), *seeds_of]
    messages = []
    for model, seeds in {key: own for run in found for key, own in run.grid_seeds.items()}.items():
        if model not in models:
            raise PaddockError(f"grid_seeds.{model}: no such model; {nearest(model, models)}")
        for seed in seeds:
            at_least(f"grid_seeds.{model}", seed, 0)
        if model in seeds_of and not seeds_of[model] & set(seeds):
            kept = ", ".join(map(str, seeds)) or "none"
            messages.append(
                f"{model} is left out: of the seeds of this grid, grid_seeds.{model} takes {kept}"
            )
    return messages


def jobs(config: DictConfig) -> list[list[str]]:
    """The overrides of every run of a grid, as Hydra's own sweeper multiplies them out.

    Parameters
    ----------
    config : DictConfig
        The composed configuration of a multirun, Hydra's own part included.

    Returns
    -------
    list of list of str
        The overrides of each run, with the search path that each needs.
    """
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    params = OmegaConf.to_container(config.hydra.sweeper.get("params") or OmegaConf.create({}))
    assert isinstance(params, dict)
    lines = [f"{key!s}={value}" for key, value in params.items()]
    task = OmegaConf.to_container(config.hydra.overrides.task)
    assert isinstance(task, list)
    given = [str(each) for each in config.hydra.overrides.hydra]
    places = [each for each in given if each.startswith("hydra.searchpath=")]
    parsed = OverridesParser.create().parse_overrides(
        [*lines, *loosened([str(each) for each in task])]
    )
    # Each job is composed by itself and needs the search path.
    return [[*job, *places] for job in BasicSweeper.split_arguments(parsed, None)[0]]
