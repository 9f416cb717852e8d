"""One trial: train a configuration, report the valid metric of each epoch, end early if pruned.

Only the valid part is ever scored: a study never sees the test part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from optuna import TrialPruned
from optuna.trial import Trial

from experiments.components.registry import callbacks as plugin_callbacks
from experiments.config.resolve import BACKBONE, MEMBER, resolve_model
from experiments.evaluation.scoring import validate
from experiments.files import hash_of
from experiments.runs.identity import plain
from experiments.training.context import TrainingContext
from experiments.training.device import precision_of
from experiments.training.loop import Callbacks
from experiments.training.stages import Training, train
from experiments.tuning.scratch import scratch
from experiments.tuning.study import TuningStudy
from experiments.tuning.trials import DEFAULTS, DRAWN, EPOCHS, STOPPED_BY
from paddock import Callback

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
    """

    study: TuningStudy
    device: torch.device

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
        resolved = resolve_model(suggested)
        reports = _Reports(study, trial, prunes=not defaults)
        validated = partial(validate, shared=study.shared, protocol=study.config.protocol)
        with scratch(study.folder) as folder:
            trained = train(
                resolved,
                TrainingContext(
                    data=study.shared.data,
                    split=study.shared.split,
                    seed=study.config.seed,
                    device=self.device,
                    folder=folder,
                    precision=precision_of(
                        study.config.precision, device=self.device, resolved=resolved
                    ),
                ),
                Training(
                    identity=f"trial-{trial.number}",
                    metric=study.metric,
                    # As of a run, so that a backbone is trained once for all.
                    selection=hash_of(
                        [plain(study.config)["protocol"]["rankings"], study.shared.hashes]
                    ),
                    checkpoint_seconds=NEVER,
                    runs_dir=Path(study.config.runs_dir),
                ),
                validate=validated,
                callbacks=Callbacks([reports, *(made() for made in plugin_callbacks())]),
            )
        reports.tell_epochs()
        if resolved.last["keep"] == "best":
            return trained.progress.best
        # A stage that an earlier run has trained is loaded, and none of its epochs was reported.
        if reports.last is None:
            return validated(trained.model, trained.dataset)[study.metric]
        return reports.last


class _Reports(Callback):
    """Reports the epochs of a trial, and ends it if it is pruned or the time is over.

    Parameters
    ----------
    study
        The study of the trial.
    trial
        A trial that is running in this process's name.
    prunes
        The defaults are trained to their end, so that what is found is never below them.
    """

    def __init__(self, study: TuningStudy, trial: Trial, *, prunes: bool) -> None:
        self._study = study
        self._trial = trial
        self._prunes = prunes
        self.last: float | None = None
        self._epochs = 0

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """Report the epoch's valid metric.

        Raises
        ------
        optuna.TrialPruned
            If the trial is ended early.
        """
        if record["stage"] == BACKBONE or record["stage"].startswith(MEMBER):
            return  # another model, whose values would be compared with this one's
        self._epochs += 1
        self.last = record["metrics"].get(self._study.metric)
        if self.last is not None:
            self._trial.report(self.last, record["step"])
            if self._prunes:
                self._prune()

    def tell_epochs(self) -> None:
        """Note in the trial how many epochs it trained, before it ends."""
        self._trial.set_user_attr(EPOCHS, self._epochs)

    def _prune(self) -> None:
        queue, trial = self._study.queue, self._trial
        if queue.budget.timeout is not None and queue.over_time(queue.trials):
            stopped_by = "timeout"
        elif trial.should_prune():
            stopped_by = "pruner"
        else:
            return
        trial.set_user_attr(STOPPED_BY, stopped_by)
        self.tell_epochs()
        raise TrialPruned
