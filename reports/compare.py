"""What compares: runs that answer the same question, grouped by configuration."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.read import Run

_STATES = {"RUNNING": "still running", "FAILED": "failed", "KILLED": "was killed"}
_LONGEST_LABEL = 60


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A run that does not count, and why."""

    model: str
    seed: int
    run_id: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Configuration:
    """The runs that differ by their seed alone, in the order of the seeds."""

    label: str
    runs: Sequence[Run]

    @property
    def model(self) -> str:
        return self.runs[0].model

    @property
    def config_hash(self) -> str:
        return self.runs[0].config_hash

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)

    def values(self, metric: str) -> list[float]:
        """One value a seed; empty where not every seed reports the metric."""
        found = [run.metrics.get(metric, np.nan) for run in self.runs]
        return [] if np.isnan(found).any() else found

    def mean(self, metric: str) -> float:
        """The mean over seeds; NaN where not every seed reports the metric."""
        values = self.values(metric)
        return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True, kw_only=True)
class Comparable:
    """Configurations that may stand in one table, and what was left out of it."""

    configurations: Sequence[Configuration]
    left_out: Sequence[LeftOut]
    question: Mapping[str, str]


def comparable(runs: Sequence[Run], *, dirty: bool = False) -> Comparable:
    """Group the runs that answer the question which most of them answer.

    Parameters
    ----------
    runs : sequence of Run
        In the order in which they began.
    dirty : bool
        Whether runs of uncommitted code count.
    """
    reasons = {run.run_id: _at_fault(run, dirty=dirty) for run in runs}
    question = _shared_question([run for run in runs if not reasons[run.run_id]])
    groups: dict[str, dict[int, Run]] = defaultdict(dict)
    for run in runs:
        if reasons[run.run_id]:
            continue
        if reason := _difference(run.question, question):
            reasons[run.run_id] = reason
            continue
        first = groups[run.config_hash].setdefault(run.seed, run)
        if first is not run:
            reasons[run.run_id] = f"repeats run {first.run_id[:8]} with the same seed"
    configurations = [
        Configuration(label=group[min(group)].model, runs=[group[seed] for seed in sorted(group)])
        for group in groups.values()
    ]
    left_out = [
        LeftOut(model=run.model, seed=run.seed, run_id=run.run_id, reason=reasons[run.run_id])
        for run in runs
        if reasons[run.run_id]
    ]
    return Comparable(
        configurations=_told_apart(configurations), left_out=left_out, question=question
    )


def best_of_each_model(
    configurations: Sequence[Configuration],
) -> tuple[list[Configuration], list[Configuration]]:
    """Of each model the configuration with the best valid metric, and the others.

    Choosing by the test would make the model with the most configurations look best. A model on a
    tiny LLM is one of its own.
    """
    best: dict[tuple[str, bool], Configuration] = {}
    for each in configurations:
        key = each.model, each.runs[0].mechanics_only
        if key not in best or _score(each) > _score(best[key]):
            best[key] = each
    chosen = list(best.values())
    return chosen, [each for each in configurations if each not in chosen]


def _score(configuration: Configuration) -> tuple[float, str]:
    score = configuration.mean(configuration.runs[0].valid_metric)
    return (-np.inf if np.isnan(score) else score, configuration.config_hash)


def _at_fault(run: Run, *, dirty: bool) -> str:
    if run.status != "FINISHED":
        return _STATES.get(run.status, run.status.lower())
    if not run.config_hash:
        return "has no config_hash, so that its seeds cannot be told from other configurations"
    if run.dirty and not dirty:
        return "made by uncommitted code, which cannot be made again (dirty=true keeps it)"
    return ""


def _shared_question(runs: Sequence[Run]) -> Mapping[str, str]:
    """The question that most runs answer; of equally many, the most recent one's."""
    if not runs:
        return {}
    asked = Counter(_key(run) for run in runs)
    return max(runs, key=lambda run: (asked[_key(run)], run.started)).question


def _key(run: Run) -> str:
    return repr(sorted(run.question.items()))


def _difference(question: Mapping[str, str], shown: Mapping[str, str]) -> str:
    """What two questions do not share, in words; "" where they are equal."""
    told = [
        f"{name.replace('_', ' ')} hash {_short(question.get(name))} instead of "
        f"{_short(shown.get(name))}"
        for name in {**shown, **question}
        if question.get(name) != shown.get(name)
    ]
    return "answers another question: " + ", ".join(told) if told else ""


def _short(value: str | None) -> str:
    return value[:6] if value else "none"


def _told_apart(configurations: Sequence[Configuration]) -> list[Configuration]:
    """Where a model has several configurations, each is labelled by what sets it apart."""
    by_model: dict[str, list[Configuration]] = defaultdict(list)
    for each in configurations:
        by_model[each.model].append(each)
    told: list[Configuration] = []
    for group in by_model.values():
        if len(group) == 1:
            told += group
            continue
        params = [
            {key: value for key, value in each.runs[0].params.items() if key.startswith("model.")}
            for each in group
        ]
        keys = sorted({key for each in params for key in each})
        varied = [key for key in keys if len({each.get(key) for each in params}) > 1]
        for each, own in zip(group, params, strict=True):
            words = [f"{key.removeprefix('model.')}={own.get(key, 'none')}" for key in varied]
            text = " ".join(words)
            if not words or len(text) > _LONGEST_LABEL:
                text = each.config_hash[:6]
            told.append(replace(each, label=f"{each.model} {text}"))
    # Two configurations may differ outside the model, by their device for example.
    labels = Counter(each.label for each in told)
    return [
        replace(each, label=f"{each.label} {each.config_hash[:6]}")
        if labels[each.label] > 1
        else each
        for each in told
    ]
