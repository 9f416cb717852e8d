"""Which runs compare, and how configurations are grouped, labelled, ordered and marked.

Runs compare that are finished and share the data, the split, the candidates, the
slices and what models read at test: the same question, put to several models. Models that were trained on
the valid part too stand apart: they know more than the others.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic

import numpy as np

from experiments.config.metric_names import LOWER, NEITHER, parse
from experiments.runs.configuration import DECIMALS, AnyRun, Configuration, Run

_LONGEST_LABEL = 60


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A run that is not compared, with the reason.

    Attributes
    ----------
    model : str
        The model's configuration name.
    seed : int
        The run's seed.
    run_id : str
        The run's id.
    reason : str
        Such as "not finished".
    """

    model: str
    seed: int
    run_id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Comparable(Generic[AnyRun]):
    """Configurations that may be shown in one table, and what was left out of it.

    Attributes
    ----------
    configurations : sequence of Configuration
        Of models that were trained on the training part alone; of the others, if those were asked for.
    apart : sequence of Configuration
        Those of the other kind that answer the same question: no table of the former holds them.
    question : dict
        The hashes that all share.
    selecting : str
        The metric that chose the epochs of most runs, without a phase; "" where nothing compares.
    """

    configurations: Sequence[Configuration[AnyRun]]
    apart: Sequence[Configuration[AnyRun]] = ()
    left_out: Sequence[LeftOut]
    question: Mapping[str, str]
    selecting: str


def comparable(
    runs: Iterable[AnyRun],
    *,
    uncommitted: bool = True,
    refitted: bool = False,
    like: AnyRun | None = None,
) -> Comparable[AnyRun]:
    """Group the runs that answer the question which most of them answer, or that of a given run.

    Of equally many, the question of the most recent run counts. Of runs of one configuration with the
    same seed the oldest counts.

    Parameters
    ----------
    runs : iterable of AnyRun
        Runs of any questions.
    uncommitted : bool
        Whether runs of uncommitted code count.
    refitted : bool
        Whether the table is of the models that were trained on the valid part too.
    like : AnyRun, optional
        One of the runs, with which all others are compared.
    """
    ordered = sorted(runs, key=lambda run: (run.started, run.run_id))
    reasons = {run.run_id: _unfit(run, uncommitted=uncommitted) for run in ordered}
    shown = like or _shared([run for run in ordered if not reasons[run.run_id]])
    groups: dict[str, dict[int, AnyRun]] = defaultdict(dict)
    for run in ordered:
        if reasons[run.run_id] or shown is None:
            continue
        if reason := _difference(run, shown):
            reasons[run.run_id] = reason
            continue
        first = groups[run.config_hash].setdefault(run.seed, run)
        if first is not run:
            reasons[run.run_id] = f"repeats run {first.short_id} with the same seed"
    configurations = [
        Configuration(label=group[min(group)].model, runs=[group[seed] for seed in sorted(group)])
        for group in groups.values()
    ]
    chosen = [each for each in configurations if each.refitted is refitted]
    return Comparable(
        configurations=_labelled(chosen),
        apart=_labelled([each for each in configurations if each.refitted is not refitted]),
        left_out=[
            LeftOut(model=run.model, seed=run.seed, run_id=run.run_id, reason=reasons[run.run_id])
            for run in ordered
            if reasons[run.run_id]
        ],
        question={} if shown is None else shown.question,
        selecting=_most_common(run.selecting for each in chosen for run in each.runs),
    )


def best_of_each_model(
    configurations: Sequence[Configuration[AnyRun]],
) -> tuple[list[Configuration[AnyRun]], list[Configuration[AnyRun]]]:
    """Of each model the configuration with the best valid metric, and the others.

    Choosing by the test would make the model with the most configurations look best. A model on a
    tiny LLM is one of its own, and so is one whose texts a control stands in for.

    Parameters
    ----------
    configurations : sequence of Configuration[AnyRun]
        Comparable configurations.

    Returns
    -------
    chosen, others : list of Configuration
        The best of each model, and the rest.
    """
    best: dict[tuple[str, bool, str], Configuration[AnyRun]] = {}
    for each in configurations:
        key = each.model, each.mechanics_only, each.control
        if key not in best or _valid(each) > _valid(best[key]):
            best[key] = each
    chosen = list(best.values())
    return chosen, [each for each in configurations if each not in chosen]


def by_metric(
    configurations: Iterable[Configuration[AnyRun]], metric: str
) -> list[Configuration[AnyRun]]:
    """The configurations by their mean of a metric, the best first; those without it come last.

    Parameters
    ----------
    configurations : iterable of Configuration[AnyRun]
        Comparable configurations.
    metric : str
        A full name, such as "test/full/ndcg_at_10".
    """
    sign = 1 if parse(metric).better == LOWER else -1

    def key(each: Configuration[AnyRun]) -> tuple[float, str]:
        mean = each.mean(metric)
        return (np.inf if np.isnan(mean) else sign * mean, each.label)

    return sorted(configurations, key=key)


def marks(means: Mapping[str, float], metric: str) -> dict[str, str]:
    """The best and the second of several means of one metric.

    Values that are shown equal share a mark: no reader can see why one of two equal numbers should
    be bold. A value alone is not the best of anything, and of some metrics no value is better.

    Parameters
    ----------
    means : mapping of str to float
        Label -> mean; NaN where there is none.
    metric : str
        A full name, such as "test/full/ndcg_at_10".

    Returns
    -------
    dict
        By label, "best" or "second".
    """
    better = parse(metric).better
    shown = {label: round(mean, DECIMALS) for label, mean in means.items() if not np.isnan(mean)}
    if len(shown) < 2 or better == NEITHER:
        return {}
    ladder = sorted(set(shown.values()), reverse=better != LOWER)
    names = dict(zip(ladder, ("best", "second"), strict=False))
    return {label: names[value] for label, value in shown.items() if value in names}


COLLAPSED = 0.5
"""A seed below this part of its siblings' median may have collapsed."""

_SPREADS = 6
"""How many of its siblings' median deviations a seed lies off, at least, that collapsed."""


def collapsed(configuration: Configuration[AnyRun]) -> list[tuple[int, float]]:
    """The seeds whose training failed, by the test value of the metric that chose their epochs.

    Of three seeds or more, one collapsed whose value is below half the median of the others (above its
    double where lower is better) and lies further from it than six median absolute deviations of the
    others, so that metrics which scatter widely by nature flag nobody.

    Parameters
    ----------
    configuration : Configuration[AnyRun]
        One configuration with its runs.

    Returns
    -------
    list of (int, float)
        Seed and value.
    """
    metric = f"test/{configuration.runs[0].selecting}"
    values = np.array(configuration.values(metric))
    if len(values) < 3 or (better := parse(metric).better) == NEITHER:
        return []
    if values.min() >= COLLAPSED * values.max():
        return []  # as nearly always: no value is half of another
    found = []
    for place, seed in enumerate(configuration.seeds):
        value, others = values[place], np.delete(values, place)
        middle = np.median(others)
        spread = np.median(np.abs(others - middle))
        bad = value * COLLAPSED > middle if better == LOWER else value < COLLAPSED * middle
        if bad and abs(value - middle) > _SPREADS * spread:
            found.append((seed, float(value)))
    return found


def cautions(configuration: Configuration[AnyRun]) -> list[str]:
    """Short notes that a reader should know before trusting a row.

    Parameters
    ----------
    configuration : Configuration[AnyRun]
        One configuration with its runs.
    """
    known = {
        "uncommitted": configuration.dirty,
        f"{configuration.n_commits} commits": configuration.n_commits > 1,
        "tiny LLM: mechanics only": configuration.mechanics_only,
    }
    general = [text for text, holds in known.items() if holds]
    return general + collapse_notes(configuration) + list(configuration.runs[0].notes)


def collapse_notes(configuration: Configuration[AnyRun]) -> list[str]:
    """A note for each seed that `collapsed`, with its value."""
    return [f"seed {seed} collapsed: {value:.4f}" for seed, value in collapsed(configuration)]


def _valid(configuration: Configuration[AnyRun]) -> tuple[float, str]:
    score = configuration.mean(f"valid/{configuration.runs[0].selecting}")
    return (-np.inf if np.isnan(score) else score, configuration.config_hash)


def _unfit(run: Run, *, uncommitted: bool) -> str:
    if run.unfit:
        return run.unfit
    if not run.config_hash:
        return "has no config_hash, so that its seeds cannot be told from other configurations"
    if run.dirty and not uncommitted:
        return "made by uncommitted code, which cannot be made again (dirty=true keeps it)"
    return ""


def _shared(runs: Sequence[AnyRun]) -> AnyRun | None:
    """A run with the question that most runs answer; of equally many, the most recent one's."""
    counts = Counter(_key(run) for run in runs)
    return max(runs, key=lambda run: (counts[_key(run)], run.started), default=None)


def _key(run: Run) -> str:
    return repr((run.experiment, run.inputs, sorted(run.question.items())))


def _difference(run: Run, shown: Run) -> str:
    """What the questions of two runs do not share, as a reason; "" where they are equal."""
    found = (
        [f"{run.experiment} instead of {shown.experiment}"]
        if run.experiment != shown.experiment
        else []
    )
    if run.inputs != shown.inputs:
        found.append(f"protocol.inputs={run.inputs} instead of {shown.inputs}")
    found += [
        f"{name.replace('_', ' ')} hash {_six(run.question.get(name))} instead of "
        f"{_six(shown.question.get(name))}"
        for name in {**shown.question, **run.question}
        if run.question.get(name) != shown.question.get(name)
    ]
    return f"answers another question: {', '.join(found)}" if found else ""


def _six(value: str | None) -> str:
    return value[:6] if value else "none"


def _most_common(names: Iterable[str]) -> str:
    counted = Counter(names).most_common(1)
    return counted[0][0] if counted else ""


def _labelled(configurations: Sequence[Configuration[AnyRun]]) -> list[Configuration[AnyRun]]:
    """Where a model has several configurations, each is labelled by what sets it apart."""
    by_model: dict[str, list[Configuration[AnyRun]]] = defaultdict(list)
    for each in configurations:
        by_model[each.model].append(each)
    labelled: list[Configuration[AnyRun]] = []
    for group in by_model.values():
        if len(group) == 1:
            labelled += group
            continue
        params = [
            {key: value for key, value in each.runs[0].params.items() if key.startswith("model.")}
            for each in group
        ]
        keys = sorted({key for each in params for key in each})
        varied = [key for key in keys if len({each.get(key) for each in params}) > 1]
        for each, own in zip(group, params, strict=True):
            text = " ".join(
                f"{key.removeprefix('model.')}={own.get(key, 'none')}" for key in varied
            )
            if not text or len(text) > _LONGEST_LABEL:
                text = each.config_hash[:6]
            labelled.append(replace(each, label=f"{each.model} {text}"))
    # Two configurations may differ outside the model, by their device for example.
    labels = Counter(each.label for each in labelled)
    return [
        replace(each, label=f"{each.label} {each.config_hash[:6]}")
        if labels[each.label] > 1
        else each
        for each in labelled
    ]
