"""A study in MLflow: a parent run with its plots, and a child run for each trial.

The study's storage is the truth. A trial is sent when it has ended, by whoever worked on it; who
concludes the study sends what is missing, so that a store that was away gets all of it later.
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from experiments.runs.folder import RunFolder
from experiments.tracking.datasets import link_dataset
from experiments.tracking.describe import send_params
from experiments.tracking.points import now
from experiments.tracking.store import (
    Store,
    artifact_timeout,
    connect,
    find_or_create_experiment,
    reason,
)
from experiments.tracking.study_page import (
    OBJECTIVE,
    TRIALS,
    arrange_studies,
    send_study_note,
    shown_counts,
    shown_value,
    study_note,
)
from experiments.tuning.plots import write_plots
from experiments.tuning.storage import exclusive
from experiments.tuning.study import TuningStudy
from experiments.tuning.trials import DEFAULTS, EPOCHS, RETRY_OF, STOPPED_BY, counts
from experiments.tuning.trials import reason as reason_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_log = logging.getLogger(__name__)

_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "FINISHED"}
_TAG_LENGTH = 5000

TIMEOUT = "paddock.timeout"
"""The tag of a study that was limited by seconds: how many."""


class StudyTracker:
    """Shows one study in MLflow.

    No method raises because of the store: it warns once, and sends nothing from then on.

    Parameters
    ----------
    study
        The study that is shown.
    command
        The command of the study, which also goes on with it.
    """

    def __init__(self, study: TuningStudy, *, command: str) -> None:
        self._study = study
        self._command = command
        self._exclusive = exclusive(study.config.study.storage, purpose="tracking")
        self._store: Store | None = None
        self._experiment_id = ""
        self.parent_id: str | None = None

    def start(self) -> None:
        """Open the study's parent run."""
        if self._study.config.tracking.uri is None:
            return
        with self._tolerant():
            store = connect(self._study.config.tracking)
            with self._exclusive(), store.guard():
                self._experiment_id = find_or_create_experiment(store, **self._where)
                self.parent_id = self._open_parent(store)
            # The budget is no part of a study: whoever goes on with it may give it another one.
            if (limit := self._study.config.study.timeout) is not None:
                store.client.set_tag(self.parent_id, TIMEOUT, limit)
            self._store = store

    def trial(self, number: int) -> None:
        """Send one trial that has ended.

        Parameters
        ----------
        number
            The trial's number in the study.
        """
        if self._store is None:
            return
        with self._tolerant():
            (trial,) = (each for each in self._study.queue.trials if each.number == number)
            if trial.state.is_finished():
                self._send(self._store, trial, self._children(number))

    def finish(self, winner: "FrozenTrial", folders: Sequence[RunFolder]) -> None:
        """Send the trials that are missing, the plots and the winner, and link the winner's runs.

        Parameters
        ----------
        winner
            The best trial.
        folders
            Its runs.
        """
        if self._store is None:
            self.start()
        if self._store is None or self.parent_id is None:
            return
        with self._tolerant():
            client = self._store.client
            known = self._children()
            for trial in self._study.queue.trials:
                if trial.state.is_finished():
                    self._send(self._store, trial, known)
            self._summarize(client, winner)
            with tempfile.TemporaryDirectory() as folder, artifact_timeout():
                client.log_artifact(
                    self.parent_id, str(write_plots(self._study.optuna_study, Path(folder)))
                )
            client.set_terminated(self.parent_id, "FINISHED")
            self._link(client, folders)
            arrange_studies(self._store, self._experiment_id)

    @property
    def _where(self) -> dict[str, str]:
        dataset, protocol, _ = self._study.name.split("/")
        return {"dataset": dataset, "protocol": f"{protocol}/hpo"}

    def _open_parent(self, store: Store) -> str:
        study, client = self._study, store.client
        found = client.search_runs(
            [self._experiment_id],
            f"tags.`paddock.study` = '{study.name}' and tags.`paddock.kind` = 'study'",
            max_results=1,
        )
        if found:
            return str(found[0].info.run_id)
        hashes = {f"paddock.{name}_hash": value for name, value in study.shared.hashes.items()}
        made = client.create_run(
            self._experiment_id,
            tags={
                "paddock.kind": "study",
                "paddock.study": study.name,
                "paddock.model": study.config.model["name"],
                "paddock.command": self._command,
                "mlflow.source.name": "tune.py",
                **hashes,
            },
            run_name=study.name.rpartition("/")[2],
        )
        run_id = str(made.info.run_id)
        send_params(client, run_id, self._study_params())
        link_dataset(
            client,
            run_id,
            name=study.shared.data.name,
            digest=study.shared.data.hash,
            context="tuning",
        )
        return run_id

    def _study_params(self) -> dict[str, str]:
        settings = self._study.config.study
        names = ("sampler", "seed", "pruner", "startup_trials", "warmup_epochs")
        settings_params = {f"study.{name}": str(getattr(settings, name)) for name in names}
        space = {f"search.{each['name']}": json.dumps(each) for each in self._study.space.plain()}
        return {"study.metric": self._study.metric, **settings_params, **space}

    def _children(self, number: int | None = None) -> dict[int, Any]:
        """The trials that MLflow has, or the one of that number."""
        assert self._store is not None
        wanted = "" if number is None else f" and tags.`paddock.trial` = '{number}'"
        found: dict[int, Any] = {}
        token = None
        while True:
            page = self._store.client.search_runs(
                [self._experiment_id],
                f"tags.`paddock.study` = '{self._study.name}' "
                f"and tags.`paddock.kind` = 'trial'{wanted}",
                max_results=1000,
                page_token=token,
            )
            found |= {int(run.data.tags["paddock.trial"]): run for run in page}
            token = page.token
            if not token:
                return found

    def _send(self, store: Store, trial: "FrozenTrial", known: Mapping[int, Any]) -> None:
        client, present = store.client, known.get(trial.number)
        if present is not None and present.info.status != "RUNNING":
            return
        with self._exclusive(), store.guard():
            present = self._children(trial.number).get(trial.number)
            if present is not None and present.info.status != "RUNNING":
                return
            if present is not None:
                client.delete_run(present.info.run_id)  # a kill cut it short
            assert trial.datetime_start is not None
            assert trial.datetime_complete is not None
            made = client.create_run(
                self._experiment_id,
                start_time=round(1000 * trial.datetime_start.timestamp()),
                tags=self._tags(trial),
                run_name=f"trial {trial.number}",
            )
            _send_numbers(client, made.info.run_id, trial, metric=self._study.metric)
            ended = round(1000 * trial.datetime_complete.timestamp())
            status = _STATUS.get(trial.state, "FAILED" if counts(trial) else "KILLED")
            client.set_terminated(made.info.run_id, status, ended)

    def _tags(self, trial: "FrozenTrial") -> dict[str, str]:
        attributes = trial.user_attrs
        tags = {
            "mlflow.parentRunId": self.parent_id,
            "mlflow.source.name": "tune.py",
            "paddock.kind": "trial",
            "paddock.study": self._study.name,
            "paddock.trial": trial.number,
            "paddock.state": trial.state.name.lower(),
            "paddock.reason": reason_of(trial) if trial.state is TrialState.FAIL else None,
            "paddock.stopped_by": attributes.get(STOPPED_BY),
            "paddock.retry_of": attributes.get(RETRY_OF),
            "paddock.defaults": "true" if DEFAULTS in attributes else None,
            OBJECTIVE: shown_value(trial.value),
        }
        return {key: str(value)[:_TAG_LENGTH] for key, value in tags.items() if value is not None}

    def _summarize(self, client: Any, winner: "FrozenTrial") -> None:
        trials = [trial for trial in self._study.queue.trials if counts(trial)]
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        numbers = {
            state.name.lower(): sum(trial.state is state for trial in trials) for state in states
        }
        for state, number in numbers.items():
            client.log_metric(self.parent_id, f"trials/{state}", number, step=len(trials))
        client.log_metric(self.parent_id, self._study.metric, winner.value, step=len(trials))
        client.set_tag(self.parent_id, "paddock.winner", winner.number)
        for name, value in winner.params.items():
            client.set_tag(self.parent_id, f"paddock.winner.{name}", value)
        client.set_tag(self.parent_id, OBJECTIVE, shown_value(winner.value))
        client.set_tag(self.parent_id, TRIALS, shown_counts(numbers))
        note = study_note(
            name=self._study.name,
            metric=self._study.metric,
            counts=numbers,
            best=winner.number,
            value=float(winner.value or 0.0),
            params=winner.params,
            command=self._command,
        )
        send_study_note(client, str(self.parent_id), note)

    def _link(self, client: Any, folders: Sequence[RunFolder]) -> None:
        ids = [folder.published["run_id"] for folder in folders if folder.published]
        for run_id in ids:
            client.set_tag(run_id, "paddock.study", self._study.name)
            client.set_tag(run_id, "paddock.study_run", self.parent_id)
        client.set_tag(self.parent_id, "paddock.final_runs", ",".join(ids)[:_TAG_LENGTH])

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._store = None
            _log.warning(
                "The study is not shown in MLflow: %s. Every trial stays in its storage; the same "
                "command sends what is missing.",
                reason(error, self._study.config.tracking),
            )


def _send_numbers(client: Any, run_id: str, trial: "FrozenTrial", *, metric: str) -> None:
    """The parameters, the curve, and one step behind it how the trial ended."""
    from mlflow.entities import Metric, Param

    curve = trial.intermediate_values
    ended = now()
    last = max(curve, default=0) + 1
    points = [Metric(metric, value, ended, step) for step, value in curve.items()]
    if trial.state is TrialState.COMPLETE and trial.value is not None:
        points.append(Metric(metric, trial.value, ended, last))
    if trial.state is TrialState.PRUNED and curve:
        points.append(Metric("pruned_epoch", max(curve), ended, last))
    if trial.duration is not None:
        points.append(Metric("seconds", trial.duration.total_seconds(), ended, last))
    if (epochs := trial.user_attrs.get(EPOCHS)) is not None:
        points.append(Metric("epochs", epochs, ended, last))
    params = [Param(name, str(value)) for name, value in trial.params.items()]
    client.log_batch(run_id, metrics=points, params=params)
