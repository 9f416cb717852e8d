"""One trial: train a configuration, report the valid metric of each epoch, end early if pruned.

Only the valid part is ever scored: a study never sees the test part.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from optuna import TrialPruned
from optuna.trial import Trial

from experiments.config.check import resolve_model
from experiments.evaluation.scoring import validate
from experiments.files import hash_of
from experiments.runs.identity import plain
from experiments.training.device import precision_of
from experiments.training.stages import BACKBONE, Hooks, stage_configs, train
from experiments.tuning.study import TuningStudy
from experiments.tuning.trials import DEFAULTS, DRAWN, STOPPED_BY

NEVER = 1e12
"""Seconds between checkpoints: a trial that is cut off is tried again from its first epoch."""


@dataclass(kw_only=True)
class Objective:
    """Trains the trials of one worker, in its process, on data that is loaded once.

    Parameters
    ----------
    study
        The study of the trials.
    device
        Where they are trained.
    watch
        Called after every epoch; what it raises ends the trial.
    """

    study: TuningStudy
    device: torch.device
    watch: Callable[[], None]

    def __call__(self, trial: Trial) -> float:
        """The valid metric of the kept epoch.

        Parameters
        ----------
        trial
            A trial that is running in this process's name.

        Raises
        ------
        optuna.TrialPruned
            If the trial is ended early.
        """
        study = self.study
        defaults = DEFAULTS in trial.user_attrs
        suggested = study.space.suggest(trial, defaults=defaults)
        trial.set_user_attr(DRAWN, True)
        model = resolve_model(suggested)
        last: float | None = None

        def on_epoch(record: dict[str, Any]) -> None:
            nonlocal last
            self.watch()
            if record["stage"] == BACKBONE:
                return  # another model, whose values would be compared with this one's
            value = record["metrics"].get(study.metric)
            last = value
            if value is not None:
                trial.report(value, record["step"])
                # The defaults are trained to their end: what is found is never below them.
                if not defaults:
                    self._prune(trial)

        validated = partial(validate, shared=study.shared, protocol=study.config.protocol)
        with scratch(study.folder) as folder:
            trained = train(
                model,
                data=study.shared.data,
                split=study.shared.split,
                seed=study.config.seed,
                device=self.device,
                precision=precision_of(study.config.precision, device=self.device, model=model),
                folder=folder,
                identity=f"trial-{trial.number}",
                metric=study.metric,
                checkpoint_seconds=NEVER,
                # As of a run, so that a backbone is trained once for all.
                selection=hash_of(
                    [plain(study.config)["protocol"]["rankings"], study.shared.hashes]
                ),
                runs_dir=Path(study.config.runs_dir),
                hooks=Hooks(
                    validate=validated,
                    on_stage=lambda name, epochs: None,
                    on_epoch=on_epoch,
                    rewind=lambda step: None,
                    tick=lambda done, total: None,
                ),
            )
        *_, final = stage_configs(model).values()
        if final["keep"] == "best":
            return trained.progress.best
        # A stage that an earlier run has trained is loaded, and none of its epochs was reported.
        return validated(trained.model, trained.dataset)[study.metric] if last is None else last

    def _prune(self, trial: Trial) -> None:
        queue = self.study.queue
        if queue.budget.timeout is not None and queue.over_time(queue.trials):
            trial.set_user_attr(STOPPED_BY, "timeout")
            raise TrialPruned
        if trial.should_prune():
            trial.set_user_attr(STOPPED_BY, "pruner")
            raise TrialPruned


class scratch:
    """A folder for the files of one trial, removed with it; those of dead workers go too."""

    def __init__(self, parent: Path) -> None:
        self._root = parent / "scratch"
        self._path = self._root / str(os.getpid())

    def __enter__(self) -> Path:
        if self._root.exists():
            for left in self._root.iterdir():
                if not psutil.pid_exists(int(left.name)):
                    shutil.rmtree(left, ignore_errors=True)
        self._path.mkdir(parents=True, exist_ok=True)
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
