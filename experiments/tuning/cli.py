"""The command line of tune.py: as that of run.py, with a study and a search space."""

import logging
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from experiments import processes
from experiments.commands.run import (
    chosen_files,
    hydra_arguments,
    job_failures,
    make_console,
    searched_places,
    show_leaderboard,
)
from experiments.config.compose import TUNED, compose, loosened, typed
from experiments.config.experiment import Experiment
from experiments.config.explain import explained
from experiments.config.groups import choices
from experiments.config.schema import Mode
from experiments.config.values import nearest
from experiments.errors import FailedError, PaddockError
from experiments.failures import answering
from experiments.orphans import end_with_creator
from experiments.passwords import concealed_override, guarded_output, hidden
from experiments.paths import CONF, program
from experiments.tuning.algorithms import check_study
from experiments.tuning.config import TuneConfig
from experiments.tuning.read_space import read_space
from experiments.tuning.space import Space, put


@guarded_output()
def main() -> None:
    """Run the command that sys.argv holds: one study, or several with -m."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    asked = list(sys.argv[1:])
    try:
        with answering(), processes.quiet(), explained(TuneConfig):
            processes.refuse_several("a study")
            asked = [concealed_override(each) for each in asked]
            sys.argv[1:] = hydra_arguments(asked)
            hydra.main(config_path=str(CONF), config_name="tune", version_base="1.3")(task)()
    except KeyboardInterrupt:
        again = shlex.join([*program("tune"), *asked])
        print(f"stopped; every finished trial is kept, go on with: {again}", file=sys.stderr)
        sys.exit(130)


def task(composed: DictConfig) -> None:
    """Run one study, which is one job of Hydra.

    Parameters
    ----------
    composed
        The configuration, as Hydra composed it from the command.
    """
    grid = HydraConfig.get().mode == RunMode.MULTIRUN
    end_with_creator()
    with job_failures(grid=grid):
        _tune(composed, grid=grid)


def read(overrides: Sequence[str]) -> tuple[TuneConfig, Space]:
    """The configuration and the search space that a command's overrides compose to, checked.

    Parameters
    ----------
    overrides
        As in model=bpr or search.learning_rate.low=1e-4.

    Raises
    ------
    PaddockError
        If they could not work.
    """
    _check_overrides(overrides)
    config, space, _ = _checked(compose(overrides, name="tune", schema=TuneConfig), overrides)
    return config, space


def _checked(
    composed: DictConfig, overrides: Sequence[str]
) -> tuple[TuneConfig, Space, Experiment]:
    config = typed(composed, schema=TuneConfig)
    _replace(config.search, overrides)
    if config.mode is not Mode.run:
        raise PaddockError(f"mode={config.mode.value} is one of run.py: tune.py only tunes")
    experiment = Experiment.of(config, chosen_files(), searched_places())
    check_study(config.study)
    return config, read_space(config.search, config.model, experiment.model), experiment


def _replace(search: dict[str, Any], overrides: Sequence[str]) -> None:
    """Set the values that the command gives below `search` once more, in its order.

    Hydra merges a parameter that is given whole with the one of the file: a float's `low` would
    stay beside the choices of a categorical one.
    """
    for override in OverridesParser.create().parse_overrides(loosened(overrides)):
        group, _, name = override.key_or_group.partition(".")
        if group == "search" and name and not override.is_delete():
            put(search, name, override.value())


def _check_overrides(overrides: Sequence[str]) -> None:
    """Refuse what Hydra would compose: tuned values, and a search space that is no file."""
    if asked := TUNED.intersection(overrides):
        raise PaddockError(
            f"{next(iter(asked))} is of run.py: tune.py starts from the model's own values"
        )
    for override in overrides:
        group, _, choice = override.lstrip("+").partition("=")
        if group == "search" and choice not in choices("search"):
            raise PaddockError(
                f"search={choice}: there is no such file; {nearest(choice, choices('search'))}"
            )


def _tune(composed: DictConfig, *, grid: bool) -> None:
    overrides = [str(each) for each in HydraConfig.get().overrides.task]
    _check_overrides(overrides)
    config, space, experiment = _checked(composed, overrides)
    logging.getLogger().setLevel(logging.WARNING)
    from optuna.exceptions import StorageInternalError

    from experiments.tuning.tune import tune

    try:
        folders = tune(
            config,
            space=space,
            experiment=experiment,
            overrides=tuple(overrides),
            console=make_console(),
        )
    except StorageInternalError as error:
        reason = hidden(str(error.__cause__ or error).partition("\n")[0])
        raise FailedError(
            f"the storage of the study failed ({reason}); the same command goes on"
        ) from error
    if folders and not grid:
        show_leaderboard(config)
