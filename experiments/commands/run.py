"""The command line: Hydra composes the configuration, a mode of Paddock runs on it.

Heavy imports wait until something trains, so that --help and --cfg answer at once.
"""

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from experiments import processes
from experiments.commands.registered import with_run_ids
from experiments.config.check import check
from experiments.config.compose import (
    TUNED,
    compose,
    given_places,
    loosened,
    settled,
    typed,
    with_plugins,
)
from experiments.config.experiment import Experiment
from experiments.config.explain import explained
from experiments.config.metric_names import RATING_ERRORS, default_columns
from experiments.config.protocol_keys import protocol_metrics
from experiments.config.schema import Config, Format, Mode
from experiments.errors import FailedError, PaddockError
from experiments.failures import answering, fail, sentence
from experiments.orphans import end_with_creator
from experiments.passwords import guarded_output
from experiments.paths import CONF
from experiments.visible import json_text

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.runs.folder import RunFolder

SELDOM = (50_000, 20, 20)
USUAL = gc.get_threshold()
"""Objects made before Python looks for cycles: where runs are only read, and where one trains."""


@guarded_output()
def main() -> None:
    """Run what sys.argv says."""
    # Hydra would print a traceback and exit by itself; here an error is one sentence.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with answering(), processes.quiet(), explained(), collected_seldom():
            if _asks_for_grid(sys.argv[1:]):
                processes.refuse_several("a grid (-m)")
            if overrides := help_of_model(sys.argv[1:]):
                _show_model_help(overrides)
                return
            sys.argv[1:] = hydra_arguments(sys.argv[1:])
            hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")(task)()
    except KeyboardInterrupt:
        processes.say_error("stopped; the same command goes on from the last checkpoint")
        sys.exit(130)


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Let Python look for cycles among its objects seldom, until something trains.

    What a leaderboard or a grid of finished runs holds is read once and kept; to go over all of it
    every few hundred objects takes a fifth of their time.
    """
    before = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _asks_for_grid(given: Sequence[str]) -> bool:
    return bool({"-m", "--multirun", "hydra.mode=MULTIRUN"}.intersection(given))


def help_of_model(given: Sequence[str]) -> list[str]:
    """The overrides of a command that asks for the help of a model; empty for any other command.

    Parameters
    ----------
    given : sequence of str
        The arguments of the command line.
    """
    overrides = [each for each in given if _is_override(each)]
    asks = {"--help", "-h"} & set(given)
    return overrides if asks and any(each.startswith("model=") for each in overrides) else []


def _show_model_help(overrides: Sequence[str]) -> None:
    from experiments.config.key_reference import show_model_keys
    from experiments.config.resolve import resolve_model

    config = typed(compose(overrides))
    show_model_keys(resolve_model(config.model), make_console())


def hydra_arguments(given: Sequence[str]) -> list[str]:
    """The command line as Hydra takes it: options, then overrides that Hydra can apply.

    Parameters
    ----------
    given : sequence of str
        The arguments of the command line.
    """
    ordered = options_first(given)
    options = [each for each in ordered if not _is_override(each)]
    overrides = loosened(with_plugins([each for each in ordered if _is_override(each)]))
    if TUNED.intersection(overrides) and {"--cfg", "-c"} & set(options):
        # Hydra shows what it composes by itself.
        overrides = settled(overrides)
    return [*options, *overrides]


def task(composed: DictConfig) -> str | None:
    """Run one job of Hydra.

    In a grid a failing run does not stop the others: Hydra keeps its error and raises it at the end.

    Parameters
    ----------
    composed : DictConfig
        The job's composed configuration.

    Returns
    -------
    str or None
        The path of the run folder; None where the mode trains nothing.
    """
    grid = HydraConfig.get().mode == RunMode.MULTIRUN
    end_with_creator()
    with job_failures(grid=grid):
        if TUNED.intersection(job_overrides()):
            composed = compose([*job_overrides(), *searched_places()])
        return _answer(composed, grid=grid)


@contextmanager
def job_failures(*, grid: bool) -> Iterator[None]:
    """Answer what a job of Hydra raises before Hydra does; in a grid, name the job that raised it.

    Parameters
    ----------
    grid : bool
        Whether other jobs go on.

    Raises
    ------
    PaddockError
        In a grid.
    """
    try:
        yield
    except Exception as error:
        said = sentence(error)
        if not grid or said is None:
            fail(error)
        mistake = isinstance(error, PaddockError) and not isinstance(error, FailedError)
        kind = PaddockError if mistake else FailedError
        raise kind(f"{said} [in {' '.join(job_overrides())}]") from error


def job_overrides() -> list[str]:
    """The overrides of the job that Hydra runs, with interpolations unresolved."""
    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(overrides, list)
    return [str(each) for each in overrides]


def options_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with options before overrides, each in their order.

    argparse takes no override behind an option that stands between overrides.

    Parameters
    ----------
    arguments : sequence of str
        The arguments of the command line.
    """
    return sorted(arguments, key=_is_override)


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def _answer(composed: DictConfig, *, grid: bool) -> str | None:
    config = typed(composed)
    logging.getLogger().setLevel(logging.WARNING)
    with_run_ids(config)
    if config.mode in (Mode.run, Mode.recommend, Mode.talk):
        experiment = Experiment.of(config, chosen_files(), searched_places())
        seeds = config.grid_seeds.get(experiment.choices["model"], [config.seed])
        if grid and config.seed not in seeds:
            return None
        if config.mode is Mode.run:
            return _run(experiment, grid=grid)
        (_talk if config.mode is Mode.talk else _recommend)(experiment)
        return None
    check(config)
    _ANSWERS[config.mode](config)
    return None


def chosen_files() -> dict[str, str]:
    """Group -> YAML file, of the job that Hydra runs; nothing outside of one."""
    if not HydraConfig.initialized():
        return {}
    chosen = HydraConfig.get().runtime.choices
    return {str(key): str(value) for key, value in chosen.items()}


def searched_places() -> tuple[str, ...]:
    """The overrides of the job that say where else YAML files are, plug-ins' own folders left out."""
    given = HydraConfig.get().overrides.hydra if HydraConfig.initialized() else []
    return given_places([str(override) for override in given])


def _run(experiment: Experiment, *, grid: bool) -> str:
    from experiments.commands.identified import (
        prepared_run,
        reuse,
        say_if_tuned_elsewhere,
        say_result,
    )
    from experiments.commands.phases import Phases

    config, phases, console = experiment.config, Phases(), make_console()
    this = prepared_run(experiment, phases=phases)
    say_if_tuned_elsewhere(experiment, this.shared, console)
    # Of several processes, one might find unfinished what another finds finished a moment later: there the
    # first alone looks, and says what it found.
    folder = reuse(this, console) if processes.size() == 1 else None
    if folder is None:
        from experiments.commands.train import train_identified

        gc.set_threshold(*USUAL)
        bars = config.progress and not grid
        folder = train_identified(this, phases, console=console, bars=bars)
    elif not grid:
        # The row below is a mean, where the configuration ran with several seeds.
        say_result(folder, label=this.label, metric=config.protocol.valid_metric, console=console)
    if not grid and processes.rank() == 0:
        show_leaderboard(config, of=folder)
    return str(folder.path)


def _recommend(experiment: Experiment) -> None:
    from experiments.commands.recommend import recommend, show

    config, named = (
        experiment.config,
        {each.lstrip("+").partition("=")[0] for each in job_overrides()},
    )
    asks_model = "model" in named or config.run_id is not None
    made = recommend(
        config,
        model_key=experiment.model_key if asks_model else None,
        data_dir=config.data_dir if "data_dir" in named else None,
    )
    show(made, form=config.format, console=make_console())


def _talk(experiment: Experiment) -> None:
    from experiments.commands.talk import talk

    talk(experiment.config, model_key=experiment.model_key, console=make_console())


def _serve(config: Config) -> None:
    from experiments.commands.serve import serve

    named = any(each.lstrip("+").startswith("model=") for each in job_overrides())
    serve(config, model_key=chosen_files().get("model") if named else None)


def _reproduce(config: Config) -> None:
    from experiments.commands.reproduce import reproduce, show

    progress = make_console() if config.format is Format.table else make_console(stderr=True)
    made = reproduce(config, console=progress)
    show(made, form=config.format, console=make_console())
    if not made.reproduced:
        sys.exit(1)


def _score(config: Config) -> None:
    from experiments.commands.score import score

    folder = score(config, choices=chosen_files(), console=make_console())
    show_leaderboard(config, of=folder)


def _retrain(config: Config) -> None:
    from experiments.commands.retrain import retrain

    retrain(config, console=make_console())


def _promote(config: Config) -> None:
    from experiments.commands.promote import promote

    promote(config, console=make_console())


def _inspect(config: Config) -> None:
    """Print the facts of the data set, draw them, and keep both beside the prepared data."""
    from experiments.commands.inspect import inspect, table
    from experiments.commands.inspect_pictures import plots
    from experiments.data.prepare import prepare
    from experiments.files import write_json
    from experiments.tracking.datasets import log_inspection

    data = prepare(config.dataset, data_dir=config.data_dir, progress=config.progress)
    facts, folder = inspect(data), data.path / "inspect"
    write_json(folder / "facts.json", facts)
    files = [folder / "facts.json", *plots(data, folder)]
    console = make_console()
    if config.format is Format.json:
        console.file.write(json_text(facts) + "\n")
    else:
        console.print(table(facts))
        console.print(f"Kept with two pictures in {folder}", highlight=False)
    log_inspection(config.tracking, name=data.name, digest=data.hash, facts=facts, files=files)


def _upload(config: Config) -> None:
    from experiments.tracking import upload_pending

    console = make_console()
    counts = upload_pending(config.runs_dir, config.tracking)
    console.print(
        f"{counts.uploaded} runs uploaded, {counts.already} were there before, "
        f"{counts.failed} failed",
        highlight=False,
    )
    _point_to_dashboard(config, console)
    if counts.failed:
        sys.exit(1)


def show_leaderboard(config: Config, *, of: "RunFolder | None" = None) -> None:
    """Print the leaderboard of the configured data set and protocol, from the run folders.

    Parameters
    ----------
    config : Config
        Its data set, protocol and `runs_dir` count.
    of : RunFolder, optional
        A finished run of theirs: it is shown among the runs that compare with it.
    """
    from experiments.data.prepare import dataset_name
    from experiments.runs.folder import read_runs
    from experiments.runs.leaderboard import leaderboard, render

    console = make_console()
    folders = read_runs(
        config.runs_dir,
        dataset=dataset_name(config.dataset),
        protocol=config.protocol.name,
        finished=True,
    )
    board = leaderboard(folders, metrics=_metrics(config), where_known=RATING_ERRORS, of=of)
    render(board, console)
    _point_to_dashboard(config, console)


def _metrics(config: Config) -> list[str]:
    """The columns of a leaderboard, of what the protocol measures."""
    columns = default_columns(f"test/{name}" for name in protocol_metrics(config.protocol))
    return [name for names in columns.values() for name in names]


def _point_to_dashboard(config: Config, console: "Console") -> None:
    from experiments.tracking import ui_command

    if config.tracking.uri is not None:
        console.print(f"Dashboard: {ui_command(config.tracking)}", highlight=False)


def make_console(*, stderr: bool = False) -> "Console":
    """The console of `experiments.terminal`, imported where something is printed.

    Parameters
    ----------
    stderr : bool
        Whether to print to stderr.
    """
    from experiments import terminal

    return terminal.make_console(stderr=stderr)


_ANSWERS: Mapping[Mode, Callable[[Config], object]] = {
    Mode.upload: _upload,
    Mode.inspect: _inspect,
    Mode.leaderboard: show_leaderboard,
    Mode.reproduce: _reproduce,
    Mode.score: _score,
    Mode.serve: _serve,
    Mode.promote: _promote,
    Mode.retrain: _retrain,
}
"""What answers a mode that needs no model of the configuration."""
