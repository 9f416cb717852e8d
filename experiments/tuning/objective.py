"""One trial: train a configuration, tell each epoch's valid metric, end early where it is hopeless.

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
from experiments.tuning.study import Desk
from experiments.tuning.trials import DEFAULTS, DRAWN, STOPPED_BY

NEVER = 1e12
"""Seconds between checkpoints: a trial that is cut off is tried again from its first epoch."""


@dataclass(kw_only=True)
class Objective:
    """Trains the trials of one worker, in its process, on data that is loaded once.

    Parameters
    ----------
    watch
        Called after every epoch; what it raises ends the trial.
    """

    desk: Desk
    device: torch.device
    watch: Callable[[], None]

    def __call__(self, trial: Trial) -> float:
        """The valid metric of the kept epoch.

        Raises
        ------
        optuna.TrialPruned
            If the trial is ended early.
        """
        desk = self.desk
        defaults = DEFAULTS in trial.user_attrs
        suggested = desk.space.suggest(trial, defaults=defaults)
        trial.set_user_attr(DRAWN, True)
        model = resolve_model(suggested)
        last: float | None = None

        def on_epoch(record: dict[str, Any]) -> None:
            nonlocal last
            self.watch()
            if record["stage"] == BACKBONE:
                return  # another model, whose values would be compared with this one's
            value = record["metrics"].get(desk.metric)
            last = value
            if value is not None:
                trial.report(value, record["step"])
                # The defaults are trained to their end: what is found is never below them.
                if not defaults:
                    self._prune(trial)

        validated = partial(validate, shared=desk.shared, protocol=desk.config.protocol)
        with scratch(desk.folder) as folder:
            trained = train(
                model,
                data=desk.shared.data,
                split=desk.shared.split,
                seed=desk.config.seed,
                device=self.device,
                precision=precision_of(desk.config.precision, device=self.device, model=model),
                folder=folder,
                identity=f"trial-{trial.number}",
                metric=desk.metric,
                checkpoint_seconds=NEVER,
                # As of a run, so that a backbone is trained once for all.
                selection=hash_of([plain(desk.config)["protocol"]["rankings"], desk.shared.hashes]),
                runs_dir=Path(desk.config.runs_dir),
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
        # A stage that an earlier run has trained is loaded, and none of its epochs was told.
        return validated(trained.model, trained.dataset)[desk.metric] if last is None else last

    def _prune(self, trial: Trial) -> None:
        ledger = self.desk.ledger
        if ledger.budget.timeout is not None and ledger.over_time(ledger.trials):
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
