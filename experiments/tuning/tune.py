"""The way of one study: open it, work on its trials, keep the winner, train it with several seeds."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder
from experiments.tuning.config import TuneConfig
from experiments.tuning.launch import by_hand, launch, shown_word
from experiments.tuning.ledger import Verdict
from experiments.tuning.space import Space
from experiments.tuning.study import Desk, open_desk
from experiments.tuning.tracking import StudyTracker
from experiments.tuning.trials import best, counts, equal_failures
from experiments.tuning.view import View, told
from experiments.tuning.winner import train_winner, write_winner
from experiments.tuning.worker import work


def tune(
    config: TuneConfig,
    *,
    space: Space,
    choices: Mapping[str, str],
    words: tuple[str, ...],
    console: Console,
) -> list[RunFolder]:
    """Run a study to the end of its budget, or go on with it; the winner's runs are returned.

    Parameters
    ----------
    choices
        Group -> YAML file that the configuration was composed from.
    words
        The overrides of the command.

    Raises
    ------
    PaddockError
        If the same failure stopped it, or no trial came to its end.
    """
    desk = open_desk(config, space=space, choices=choices, words=words)
    shown = [shown_word(word) for word in words]
    tracker = StudyTracker(desk, command=shlex.join(["python", "tune.py", *shown]))
    if config.study.worker:
        tracker.start()
        work(desk, published=tracker.trial)
        return []
    _announce(desk, console)
    label = desk.name.rpartition("/")[2]
    with View(desk.ledger, label=label, log=desk.folder / "study.log", console=console) as view:
        if desk.ledger.verdict(desk.ledger.trials) is Verdict.done:
            verdict = Verdict.done
        elif config.study.workers == 1 and config.study.launcher == "local":
            tracker.start()
            verdict = work(desk, published=tracker.trial)
        else:
            number = config.study.workers
            begun = "1 worker" if number == 1 else f"{number} workers"
            view.say(f"{label}: {begun}; one more: {by_hand(desk)}")
            verdict = launch(desk)
    if verdict is Verdict.stop:
        why = equal_failures(desk.ledger.trials, since=desk.ledger.began)
        raise PaddockError(f"the study {desk.name} stopped: the last trials all failed: {why}")
    return _conclude(desk, tracker, console)


def _announce(desk: Desk, console: Console) -> None:
    finished = sum(map(counts, desk.ledger.trials))
    goes_on = f", {finished} trials finished before" if finished else ""
    console.print(
        f"{desk.name}{goes_on}; storage {desk.config.study.storage}"
        if "@" not in desk.config.study.storage
        else f"{desk.name}{goes_on}",
        highlight=False,
        soft_wrap=True,
    )


def _conclude(desk: Desk, tracker: StudyTracker, console: Console) -> list[RunFolder]:
    winner = best(desk.ledger.trials)
    if winner is None:
        raise PaddockError(
            f"no trial of {desk.name} came to its end; the reasons are in {desk.folder}/study.log"
        )
    path = write_winner(desk, winner)
    console.print(
        f"best: trial {winner.number}, {desk.metric} {winner.value:.4f}, {told(winner.params)}; "
        f"written to {_shown(path)}",
        highlight=False,
        soft_wrap=True,
    )
    folders = train_winner(desk, winner, console)
    tracker.finish(winner, folders)
    return folders


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
