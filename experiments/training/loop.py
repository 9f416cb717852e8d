"""The loop around a strategy: epochs, validation, early stopping, checkpoints.

A checkpoint holds everything that the loop changes and is written between two epochs. A killed run
therefore goes on from its last checkpoint and gives the same numbers, bit for bit on a CPU. Of several
processes the first writes it, with the random states of all, and all of them read it.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from experiments import checkpoint
from experiments.integrity import Damaged, say_once
from experiments.training import ranks
from experiments.training.state import (
    Tensors,
    load_model_state,
    load_optimizer_state,
    load_random_state,
    model_state,
    optimizer_state,
    random_state,
)
from experiments.training.strategy import Strategy
from paddock import Callback, RunInfo

Metrics = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long a stage trains and which epoch it keeps.

    Attributes
    ----------
    epochs : int
        The most epochs.
    patience : int
        Stop after this many validations in a row without a better value; 0 never stops early.
    eval_step : int
        Epochs between two validations; the last epoch is always validated. 0 never validates.
    keep : str
        "best": the epoch with the best valid metric. "last": the last epoch, for a stage whose
        validation does not measure what it learns (RaCT's critic).
    """

    epochs: int
    patience: int
    eval_step: int
    keep: str


@dataclass(kw_only=True)
class StageProgress:
    """How far the training of a stage is.

    Attributes
    ----------
    epoch : int
        Finished epochs of this stage.
    step : int
        Finished epochs of all stages, which tracking counts on.
    best : float
        The best value of the valid metric.
    best_epoch : int
        The epoch of that value; 0 is before the first.
    since_best : int
        Validations since then.
    stopped : bool
        Whether early stopping ended the stage.
    seconds : float
        Time of all epochs, validations included.
    """

    epoch: int = 0
    step: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    since_best: int = 0
    stopped: bool = False
    seconds: float = 0.0


class Callbacks(Callback):
    """Several callbacks as one, called in their order.

    Parameters
    ----------
    callbacks : iterable of Callback
        The callbacks to call.
    """

    def __init__(self, callbacks: Iterable[Callback] = ()) -> None:
        self._all = tuple(callbacks)

    def on_start(self, run: RunInfo) -> None:
        """Call `on_start` of each.

        Parameters
        ----------
        run : RunInfo
            The run that begins.
        """
        for each in self._all:
            each.on_start(run)

    def on_stage(self, stage: str, epochs: int) -> None:
        """Call `on_stage` of each.

        Parameters
        ----------
        stage : str
            Name of the stage.
        epochs : int
            The most epochs of the stage.
        """
        for each in self._all:
            each.on_stage(stage, epochs)

    def on_resume(self, step: int) -> None:
        """Call `on_resume` of each.

        Parameters
        ----------
        step : int
            Finished epochs of all stages.
        """
        for each in self._all:
            each.on_resume(step)

    def on_batch(self, done: int, total: int) -> None:
        """Call `on_batch` of each.

        Parameters
        ----------
        done : int
            Finished batches of the epoch.
        total : int
            All batches of the epoch.
        """
        for each in self._all:
            each.on_batch(done, total)

    def on_validate(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Call `on_validate` of each.

        Parameters
        ----------
        stage : str
            Name of the stage.
        epoch : int
            Finished epochs of the stage.
        metrics : mapping of str to float
            Valid metrics by name.
        """
        for each in self._all:
            each.on_validate(stage, epoch, metrics)

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """Call `on_epoch` of each.

        Parameters
        ----------
        record : mapping of str to object
            The epoch's row of the learning curve.
        """
        for each in self._all:
            each.on_epoch(record)

    def on_end(self, result: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """Call `on_end` of each.

        Parameters
        ----------
        result : mapping of str to object or None
            The content of result.json; None if the run failed.
        error : BaseException or None
            What the run failed with, if it did.
        """
        for each in self._all:
            each.on_end(result, error)


@dataclass(kw_only=True)
class Loop:
    """One stage of training.

    An epoch counts as better only if its metric is strictly higher. RecBole counts a tie as progress
    and rounds to 4 decimals before, so that its patience may never run out (trainer.py:468).

    Attributes
    ----------
    stage : str
        Name of the stage.
    model : nn.Module
        The model that is trained.
    strategy : Strategy
        Passes over the training data.
    schedule : Schedule
        Number of epochs, early stopping and the epoch that is kept.
    metric : str
        Name of the valid metric that selects epochs; higher is better.
    validate : callable
        Takes the model and returns its valid metrics by name.
    callbacks : Callback
        Called along the way.
    path : Path
        File of the checkpoint.
    identity : str
        Names the stage of the run; a checkpoint of another identity is ignored.
    first_step : int
        Finished epochs of the stages before.
    validate_first : bool
        Whether the weights that the first stage starts from may be kept, too.
    checkpoint_seconds : float
        Least seconds between two checkpoints.
    progress : StageProgress
        Where the stage is.
    """

    stage: str
    model: nn.Module
    strategy: Strategy
    schedule: Schedule
    metric: str
    validate: Callable[[nn.Module], Metrics]
    callbacks: Callback
    path: Path
    identity: str
    first_step: int = 0
    validate_first: bool = False
    checkpoint_seconds: float = 15.0
    progress: StageProgress = field(default_factory=StageProgress)
    _best: tuple[Tensors, Any] | None = None

    def run(self) -> StageProgress:
        """Train to the end, from the checkpoint if there is one; the model holds the kept epoch."""
        self.progress.step = self.first_step
        begun = self.first_step > 0 or self.validate_first
        if not self._resume() and begun and self.schedule.keep == "best":
            # The weights that a later stage, or a warm start, begins with count as its epoch 0.
            self._validate()
        self.callbacks.on_resume(self.progress.step)
        saved_at = time.monotonic()
        while self.progress.epoch < self.schedule.epochs and not self.progress.stopped:
            self.callbacks.on_epoch(self._epoch())
            if ranks.from_first(time.monotonic() - saved_at >= self.checkpoint_seconds):
                self._save()
                saved_at = time.monotonic()
        if self.schedule.keep == "best" and self._best is not None:
            load_model_state(self.model, *self._best)
        return self.progress

    def _epoch(self) -> dict[str, Any]:
        started = time.monotonic()
        progress = self.progress
        metrics = {"train/loss": self.strategy.train_epoch(progress.epoch, self.callbacks.on_batch)}
        progress.epoch += 1
        progress.step += 1
        step = self.schedule.eval_step
        last = progress.epoch == self.schedule.epochs
        if step > 0 and (last or progress.epoch % step == 0):
            metrics |= self._validate()
        seconds = time.monotonic() - started
        progress.seconds += seconds
        return {
            "stage": self.stage,
            "epoch": progress.epoch,
            "step": progress.step,
            "seconds": seconds,
            "best": progress.best if math.isfinite(progress.best) else None,
            "metrics": metrics,
        }

    def _validate(self) -> Metrics:
        progress = self.progress
        metrics = self.validate(self.model)
        self.callbacks.on_validate(self.stage, progress.epoch, metrics)
        value = metrics[self.metric]
        if value > progress.best:
            progress.best, progress.best_epoch, progress.since_best = value, progress.epoch, 0
            self._best = model_state(self.model)
        else:
            progress.since_best += 1
            progress.stopped = 0 < self.schedule.patience <= progress.since_best
        return metrics

    def _save(self) -> None:
        states = ranks.gathered(partial(random_state, self.strategy.generators))
        if ranks.rank() > 0:
            return
        sections = {
            "model": model_state(self.model),
            **{_random(number): state for number, state in enumerate(states)},
            **{
                f"optimizer.{name}": optimizer_state(value)
                for name, value in self.strategy.optimizers.items()
            },
        }
        if self._best is not None:
            sections["best"] = self._best
        notes = {"identity": self.identity, "progress": asdict(self.progress)}
        checkpoint.save(self.path, sections, notes=notes)

    def _resume(self) -> bool:
        """Go back to the checkpoint, if there is a whole one of this stage of this run."""
        if not ranks.from_first(self.path.exists()):
            return False
        try:
            sections, notes = checkpoint.load(self.path)
        except Damaged as error:
            say_once(f"{error}. The stage {self.stage} begins anew")
            return False
        if notes["identity"] != self.identity:
            return False
        self.progress = StageProgress(**notes["progress"])
        load_model_state(self.model, *sections["model"])
        for name, value in self.strategy.optimizers.items():
            load_optimizer_state(value, *sections[f"optimizer.{name}"])
        self._best = sections.get("best")
        load_random_state(self.strategy.generators, *sections[_random(ranks.rank())])
        return True


def _random(process: int) -> str:
    """The section of a checkpoint with the random states of a process."""
    return f"random.{process}" if process else "random"
