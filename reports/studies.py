"""The tuning studies of an experiment, and which hyper-parameters mattered in them."""

import json
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.store import find_experiment, search

_FEWEST_TRIALS = 4
"""Fewer completed trials explain nothing."""

_STATES = ("complete", "pruned", "fail")


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """One tuning study.

    Attributes
    ----------
    name : str
        <dataset>/<protocol>/<model>.
    trials : int
        That have ended, pruned and failed ones included.
    seconds, epochs : float or None
        That all trials took together; None where the store does not say.
    timed : bool
        Whether it was limited by seconds.
    importances : dict
        Hyper-parameter -> share of what explains the valid metric over the completed trials.
    """

    run_id: str
    name: str
    trials: int
    seconds: float | None = None
    epochs: float | None = None
    timed: bool = False
    importances: Mapping[str, float]

    @property
    def model(self) -> str:
        return self.name.rpartition("/")[2]


def read_studies(client: Any, experiment: str) -> list[Study]:
    """The studies of an experiment, which are in <experiment>/hpo."""
    found = find_experiment(client, f"{experiment}/hpo")
    if found is None:
        return []
    runs = list(search(client, found, ""))
    trials: dict[str, list[Any]] = defaultdict(list)
    for run in runs:
        if run.data.tags.get("paddock.kind") == "trial":
            trials[run.data.tags.get("paddock.study", "")].append(run)
    studies = [
        _study(run, trials[run.data.tags.get("paddock.study", "")])
        for run in runs
        if run.data.tags.get("paddock.kind") == "study"
    ]
    return sorted(studies, key=lambda study: study.name)


def _study(run: Any, trials: Sequence[Any]) -> Study:
    counted = [run.data.metrics.get(f"trials/{state}") for state in _STATES]
    known = [int(number) for number in counted if number is not None]
    # The trials of a worker that died are tried again.
    ended = [trial for trial in trials if trial.info.status in ("FINISHED", "FAILED")]
    return Study(
        run_id=run.info.run_id,
        name=run.data.tags.get("paddock.study", ""),
        trials=sum(known) if known else len(trials),
        seconds=_sum(ended, "seconds"),
        epochs=_sum(ended, "epochs"),
        timed="paddock.timeout" in run.data.tags
        or any(trial.data.tags.get("paddock.stopped_by") == "timeout" for trial in trials),
        importances=_importances(run, trials),
    )


def _sum(trials: Sequence[Any], metric: str) -> float | None:
    """Of all trials; None where one does not say."""
    values = [trial.data.metrics.get(metric) for trial in trials]
    told = [value for value in values if value is not None]
    return sum(told) if told and len(told) == len(values) else None


def _importances(study: Any, trials: Sequence[Any]) -> dict[str, float]:
    """Optuna's own, of the trials as the store holds them; nothing where they do not tell."""
    try:
        import optuna
    except ImportError:
        return {}
    spaces = {
        key.removeprefix("search."): json.loads(text)
        for key, text in study.data.params.items()
        if key.startswith("search.")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        made = optuna.create_study(direction="maximize", storage=None)
        for trial in trials:
            value = _value(trial)
            if trial.data.tags.get("paddock.state") != "complete" or value is None:
                continue
            params, distributions = {}, {}
            for name, text in trial.data.params.items():
                drawn = _distribution(optuna, spaces.get(name, {}), text)
                if drawn is not None:
                    params[name], distributions[name] = drawn
            made.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=value)
            )
        if len(made.trials) < _FEWEST_TRIALS:
            return {}
        try:
            found = optuna.importance.get_param_importances(made)
        except (ValueError, RuntimeError, ImportError):
            return {}
    return {name: float(share) for name, share in found.items()}


def _value(trial: Any) -> float | None:
    values = [value for name, value in trial.data.metrics.items() if name.startswith("valid/")]
    return values[0] if values else None


def _distribution(optuna: Any, space: Mapping[str, Any], text: str) -> tuple[Any, Any] | None:
    """A parameter's value and distribution; None where the value is not in it."""
    if choices := space.get("choices"):
        labels = [str(json.dumps(each) if isinstance(each, list) else each) for each in choices]
        known = optuna.distributions.CategoricalDistribution(labels)
        return (text, known) if text in labels else None
    low, high = space.get("low"), space.get("high")
    if low is None or high is None:
        return None
    value, log = float(text), bool(space.get("log"))
    if not low <= value <= high:
        return None
    return value, optuna.distributions.FloatDistribution(float(low), float(high), log=log)
