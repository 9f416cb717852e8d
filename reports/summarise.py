"""Summarising: runs to the rows of a report, with marks, gains and significance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from experiments.config.metric_names import leading
from experiments.integrity import say_once
from experiments.runs.compare import (
    Comparable,
    LeftOut,
    best_of_each_model,
    collapse_notes,
    comparable,
    marks,
)
from experiments.runs.compare import by_metric as ordered_by
from experiments.runs.configuration import Configuration
from reports.controls import Gain, gains, is_control
from reports.costs import Budget, Cost, budget_flags, budget_of, cost_of
from reports.errors import ReportError
from reports.metrics import columns
from reports.options import Options, nearest
from reports.read import Curve, Run, Source, read_curves
from reports.rivals import rivals_of
from reports.significance import Comparison, Floats, compare
from reports.studies import Study, read_studies
from reports.users import read_users

MOST_ROWS = 30
"""A table of more rows is no table; the pairs to test grow with its square."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One cell: mean and sample standard deviation over seeds; a single seed has none.

    Attributes
    ----------
    mark : str
        "best", "second" or "".
    gain : float or None
        Relative to the row `against`.
    against : str
        The label of the row that it is compared with; "" where there is none.
    """

    mean: float
    std: float | None = None
    mark: str = ""
    gain: float | None = None
    against: str = ""
    comparison: Comparison | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One configuration.

    Attributes
    ----------
    values : dict
        By metric; a metric that not every seed reports is missing.
    flags : tuple of str
        What a reader should know before trusting the row.
    footnotes : tuple of int
        Which of the summary's footnotes stand beside it, counted from 1.
    """

    label: str
    configuration: Configuration[Run]
    values: Mapping[str, Value]
    cost: Cost
    budget: Budget
    flags: tuple[str, ...] = ()
    footnotes: tuple[int, ...] = ()

    @property
    def runs(self) -> Sequence[Run]:
        return self.configuration.runs

    @property
    def mechanics_only(self) -> bool:
        return self.configuration.mechanics_only


@dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """Everything that a report says.

    Attributes
    ----------
    tables : dict
        Ranking -> its metrics, in the order of their columns.
    leads : dict
        Ranking -> the metric that its table is sorted by.
    users : dict
        Row -> metric -> (S, U): the values of every seed and user, where the store holds them.
    curves : dict
        Row -> one curve a seed.
    others : list of Configuration
        Those of which another configuration of the same model is in the table.
    apart : list of Row
        Of models that were trained on another part than those of `rows`, compared among themselves alone.
    gains : list of Gain
        Models against their controls, by the leading metric of every ranking.
    footnotes : list of str
        What models declare of themselves, such as "reads no valid item".
    """

    options: Options
    source: Source
    question: Mapping[str, str]
    selecting: str
    tables: Mapping[str, Sequence[str]]
    leads: Mapping[str, str]
    rows: Sequence[Row]
    others: Sequence[Configuration[Run]]
    left_out: Sequence[LeftOut]
    studies: Sequence[Study]
    apart: Sequence[Row] = ()
    footnotes: Sequence[str] = ()
    users: Mapping[str, Mapping[str, Floats]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Curve]] = field(default_factory=dict)
    gains: Sequence[Gain] = ()

    @property
    def metrics(self) -> list[str]:
        return [metric for metrics in self.tables.values() for metric in metrics]

    @property
    def lead(self) -> str:
        """The first ranking's leading metric."""
        return next(iter(self.leads.values()))

    def ranked(self, ranking: str, *, apart: bool = False) -> list[Row]:
        """The rows by a ranking's leading metric, the best first; rows without it come last.

        Parameters
        ----------
        apart : bool
            Whether those of the table that stands apart.
        """
        return by_metric(self.apart if apart else self.rows, self.leads[ranking])


def by_metric(rows: Sequence[Row], metric: str) -> list[Row]:
    """The rows by their mean of a metric, the best first; rows without it come last.

    Parameters
    ----------
    metric : str
        Without a phase, such as "full/ndcg_at_10".
    """

    def key(row: Row) -> tuple[float, str]:
        value = row.values.get(metric)
        return (-value.mean if value else np.inf, row.label)

    return sorted(rows, key=key)


@dataclass(frozen=True, kw_only=True)
class _Picked:
    """The configurations that a report shows, and those of which others are shown."""

    found: Comparable[Run]
    chosen: list[Configuration[Run]]
    others: list[Configuration[Run]]
    apart: list[Configuration[Run]]

    @property
    def runs(self) -> list[Run]:
        return [run for each in (*self.chosen, *self.apart) for run in each.runs]


def summarise(source: Source, options: Options) -> Summary:
    """Choose the rows, read what belongs to them, and compare them.

    Parameters
    ----------
    source : Source
        The open store, with its runs.
    options : Options

    Raises
    ------
    ReportError
        No run compares, or a wanted metric or baseline is in no run.
    """
    picked, read = _pick_whole(source, options)
    found, chosen, apart = picked.found, picked.chosen, picked.apart
    reported = {name for each in chosen for run in each.runs for name in run.metrics}
    tables = columns(reported, options.metrics)
    if not tables:
        raise ReportError(f"no run of {source.title} reports a metric of the test part")
    metrics = [metric for names in tables.values() for metric in names]
    runs = [run for each in chosen for run in each.runs]
    users = _by_user(chosen, read, metrics)
    curves = read_curves(source, runs)
    studies = read_studies(source.client, source.experiment)
    footnotes = list(
        dict.fromkeys(note for each in (*chosen, *apart) for note in each.runs[0].notes)
    )

    def rows(
        configurations: Sequence[Configuration[Run]],
        tested: Mapping[str, Mapping[str, Floats]],
        asked: Options,
    ) -> list[Row]:
        return [
            replace(row, footnotes=tuple(footnotes.index(note) + 1 for note in row.runs[0].notes))
            for row in _rows(configurations, metrics, tested, studies, asked)
        ]

    leads = {ranking: leading(names, found.selecting) for ranking, names in tables.items()}
    return Summary(
        options=options,
        source=source,
        question=found.question,
        selecting=found.selecting,
        tables=tables,
        leads=leads,
        rows=rows(chosen, users, options),
        # A baseline of the one table need not be in the other.
        apart=rows(apart, _by_user(apart, read, metrics), replace(options, baselines=()))
        if apart
        else [],
        footnotes=footnotes,
        others=picked.others,
        left_out=found.left_out,
        studies=studies,
        users=users,
        gains=gains(chosen, users, list(leads.values()), alpha=options.alpha),
        curves={
            each.label: [curves[run.run_id] for run in each.runs if run.run_id in curves]
            for each in chosen
        },
    )


def _pick_whole(source: Source, options: Options) -> tuple[_Picked, dict[str, pl.DataFrame]]:
    """What the report shows, with the tables of users; runs whose table is damaged are left out."""
    tables: dict[str, pl.DataFrame] = {}
    runs = _asked_for(source, options)
    asked: set[str] = set()
    while True:
        picked = _pick(source, options, runs)
        # Where a run goes, another configuration of its model may come.
        read = read_users(source, [run for run in picked.runs if run.run_id not in asked])
        asked |= {run.run_id for run in picked.runs}
        tables |= read.tables
        if not read.damaged:
            return picked, tables
        runs = [replace(run, unfit=read.damaged.get(run.run_id, run.unfit)) for run in runs]
        for run in runs:
            if run.run_id in read.damaged:
                say_once(f"left out: {run.model} seed {run.seed} (run {run.short_id}): {run.unfit}")


def _pick(source: Source, options: Options, runs: Sequence[Run]) -> _Picked:
    """Choose what is shown of the runs that compare.

    Raises
    ------
    ReportError
        None compares.
    """
    found = comparable(runs, uncommitted=options.dirty, refitted=options.refit == "valid")
    if not found.configurations:
        raise ReportError(_nothing(source, found, options))
    chosen: list[Configuration[Run]] = list(found.configurations)
    others: list[Configuration[Run]] = []
    if options.configurations == "best":
        # Where a store holds controls alone, they are all that there is to show.
        own = [each for each in chosen if not each.control] or chosen
        chosen, others = best_of_each_model(own)
        # A control is of its model as it is shown, whatever else it does better.
        for control in [each for each in found.configurations if each not in own]:
            shown = any(is_control(control, each) for each in chosen)
            (chosen if shown else others).append(control)
    chosen = ordered_by(chosen, f"valid/{found.selecting}")
    return _Picked(
        found=found,
        chosen=chosen[:MOST_ROWS],
        others=[*others, *chosen[MOST_ROWS:]],
        apart=_apart(found, options),
    )


def _rows(
    chosen: Sequence[Configuration[Run]],
    metrics: Sequence[str],
    users: Mapping[str, Mapping[str, Floats]],
    studies: Sequence[Study],
    options: Options,
) -> list[Row]:
    means = {
        metric: {
            each.label: each.mean(f"test/{metric}")
            for each in chosen
            if each.values(f"test/{metric}")
        }
        for metric in metrics
    }
    baselines = _baselines(chosen, options)
    by_label = {each.label: each for each in chosen}
    references = {
        (label, metric): reference
        for metric, by_row in means.items()
        for label in by_row
        if (reference := _reference(label, by_row, baselines, by_label)) is not None
    }
    compared = compare(users, references=references, alpha=options.alpha)
    marked = {metric: marks(by_row, metric) for metric, by_row in means.items()}
    budgets = {each.label: budget_of(each, studies) for each in chosen}
    flags = budget_flags(budgets)
    most = max(len(each.runs) for each in chosen)
    rows = []
    for each in chosen:
        values: dict[str, Value] = {}
        for metric in metrics:
            if each.label not in means[metric]:
                continue
            reference = references.get((each.label, metric))
            base = means[metric][reference] if reference else 0.0
            values[metric] = Value(
                mean=each.mean(f"test/{metric}"),
                std=each.std(f"test/{metric}"),
                mark=marked[metric].get(each.label, ""),
                gain=each.mean(f"test/{metric}") / base - 1 if base else None,
                against=reference or "",
                comparison=compared.get((each.label, metric)),
            )
        rows.append(
            Row(
                label=each.label,
                configuration=each,
                values=values,
                cost=cost_of(each),
                budget=budgets[each.label],
                flags=(*_flags(each, most=most, tested=each.label in users), *flags[each.label]),
            )
        )
    return rows


def _baselines(chosen: Sequence[Configuration[Run]], options: Options) -> set[str] | None:
    """The labels of the baselines; None where every row is one of all others."""
    if not options.baselines:
        return None
    known = sorted({each.model for each in chosen} | {each.label for each in chosen})
    for name in options.baselines:
        if name not in known:
            raise ReportError(f"baselines: no run of {name} compares; {nearest(name, known)}")
    return {
        each.label
        for each in chosen
        if each.model in options.baselines or each.label in options.baselines
    }


def _reference(
    label: str,
    means: Mapping[str, float],
    baselines: set[str] | None,
    by_label: Mapping[str, Configuration[Run]],
) -> str | None:
    """The best baseline, which has none itself; where all rows are baselines, the best other row.

    The best row of all stands against the best that makes a fair opponent.
    """
    allowed = [other for other in means if baselines is None or other in baselines]
    ordered = sorted(allowed, key=lambda other: (-means[other], other))
    if baselines is None:
        best = ordered[0]
        ordered = (
            rivals_of(label, by_label, means)
            if label == best
            else [other for other in ordered if other != label]
        )
    return ordered[0] if ordered and ordered[0] != label else None


def _flags(each: Configuration[Run], *, most: int, tested: bool) -> tuple[str, ...]:
    flags = []
    if len(each.runs) < most:
        flags.append(f"{len(each.runs)} of {most} seeds")
    if each.n_commits > 1:
        flags.append("seeds of several commits")
    if each.dirty:
        flags.append("uncommitted code")
    if not tested:
        flags.append("not tested: no table of its users, or of the slice, is within reach")
    return (*flags, *collapse_notes(each), *each.runs[0].notes)


def _by_user(
    chosen: Sequence[Configuration[Run]], tables: Mapping[str, pl.DataFrame], metrics: Sequence[str]
) -> dict[str, dict[str, Floats]]:
    """Row -> metric -> (S, U), of the rows with a table of the same users for every seed."""
    known = [tables[run.run_id] for each in chosen for run in each.runs if run.run_id in tables]
    if not known:
        return {}
    shared = known[0]["user"]
    made: dict[str, dict[str, Floats]] = {}
    for each in chosen:
        own = [tables.get(run.run_id) for run in each.runs]
        whole = [table for table in own if table is not None and table["user"].equals(shared)]
        if len(whole) == len(own):
            made[each.label] = {
                metric: np.stack([table[metric].to_numpy() for table in whole])
                for metric in metrics
                if all(metric in table.columns for table in whole)
            }
    return made


def _asked_for(source: Source, options: Options) -> list[Run]:
    """The runs of the models that the report is of."""
    known = sorted({run.model for run in source.runs})
    for name in options.models:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "it holds no runs"
            raise ReportError(f"models: no run of {name} in {source.title}; {there}")
    return [run for run in source.runs if not options.models or run.model in options.models]


def _apart(found: Comparable[Run], options: Options) -> list[Configuration[Run]]:
    """The rows of the table that stands apart; their best ones are chosen as those of the others are."""
    chosen = list(found.apart)
    if options.configurations == "best":
        chosen, _ = best_of_each_model(chosen)
    return ordered_by(chosen, f"valid/{found.selecting}")[:MOST_ROWS]


def _nothing(source: Source, found: Comparable[Run], options: Options) -> str:
    if found.apart:
        other = "none" if options.refit == "valid" else "valid"
        return f"no run of {source.title} compares with refit={options.refit}; give refit={other}"
    if not found.left_out:
        return f"the experiment {source.experiment} holds no runs"
    reasons = sorted({each.reason for each in found.left_out})
    return (
        f"no run of {source.experiment} compares: of {len(found.left_out)}, the reasons are: "
        + "; ".join(reasons)
    )
