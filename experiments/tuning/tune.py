"""One study from its beginning to its end: open it, run its trials, train its winner."""

import shlex
from pathlib import Path

from rich.console import Console

from experiments.config.experiment import Experiment
from experiments.errors import PaddockError
from experiments.paths import program
from experiments.runs.folder import RunFolder
from experiments.tuning.config import TuneConfig
from experiments.tuning.launch import launch, worker_command
from experiments.tuning.space import Space
from experiments.tuning.study import TuningStudy, open_study
from experiments.tuning.tracking import StudyTracker
from experiments.tuning.trial_queue import QueueState
from experiments.tuning.trials import best, counts, equal_failures
from experiments.tuning.view import View, params_text
from experiments.tuning.winner import train_winner, write_winner
from experiments.tuning.worker import work


def tune(
    config: TuneConfig,
    *,
    space: Space,
    experiment: Experiment,
    overrides: tuple[str, ...],
    console: Console,
) -> list[RunFolder]:
    """Run a study to the end of its budget, or go on with one that was stopped.

    Parameters
    ----------
    config
        The checked configuration.
    space
        The search space.
    experiment
        The configuration's model, resolved.
    overrides
        The overrides of the command.
    console
        Where progress is shown.

    Returns
    -------
    list of RunFolder
        The runs of the winner, one for each final seed; none of a process that is only a worker.

    Raises
    ------
    PaddockError
        If the same failure stopped it, or no trial came to its end.
    """
    study = open_study(config, space=space, experiment=experiment, overrides=overrides)
    tracker = StudyTracker(study, command=shlex.join([*program("tune"), *overrides]))
    if config.study.worker:
        tracker.start()
        work(study, on_trial_end=tracker.trial)
        return []
    _announce(study, console)
    label = study.name.rpartition("/")[2]
    with View(study.queue, label=label, log=study.folder / "study.log", console=console) as view:
        state = _run_trials(study, tracker, view)
    if state is QueueState.failing:
        why = equal_failures(study.queue.trials, since=study.queue.began)
        raise PaddockError(f"the study {study.name} stopped: the last trials all failed: {why}")
    return _conclude(study, tracker, console)


def _run_trials(study: TuningStudy, tracker: StudyTracker, view: View) -> QueueState:
    """Run the trials that are left, in this process or in workers of its own."""
    state = study.queue.state(study.queue.trials)
    if state is QueueState.finished:
        return state
    settings = study.config.study
    if settings.workers == 1 and settings.launcher == "local":
        tracker.start()
        return work(study, on_trial_end=tracker.trial)
    begun = "1 worker" if settings.workers == 1 else f"{settings.workers} workers"
    view.say(f"{view.label}: {begun}; one more: {worker_command(study)}")
    return launch(study)


def _announce(study: TuningStudy, console: Console) -> None:
    finished = sum(map(counts, study.queue.trials))
    goes_on = f", {finished} trials finished before" if finished else ""
    storage = study.config.study.storage
    console.print(f"{study.name}{goes_on}; storage {storage}", highlight=False, soft_wrap=True)


def _conclude(study: TuningStudy, tracker: StudyTracker, console: Console) -> list[RunFolder]:
    winner = best(study.queue.trials)
    if winner is None:
        raise PaddockError(
            f"no trial of {study.name} came to its end; the reasons are in {study.folder}/study.log"
        )
    path, before = write_winner(study, winner)
    kept = (
        ""
        if before is None
        else (
            f"{_shown(path)} keeps the better {before['value']:.4f} of {before.get('study')} on the same data: "
            "delete it to write this one"
        )
    )
    console.print(
        f"best: trial {winner.number}, {study.metric} {winner.value:.4f}, {params_text(winner.params)}; "
        f"{kept or f'written to {_shown(path)}'}",
        highlight=False,
        soft_wrap=True,
    )
    folders = train_winner(study, winner, console)
    tracker.finish(winner, folders)
    return folders


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
