"""Models side by side, from the run folders alone: mean ± standard deviation over seeds.

Only runs that answer the same question stand side by side: one data set, one protocol, and equal
hashes of the data, the split and the candidates. All others are listed below, with the reason.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.errors import PaddockError
from experiments.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration over its seeds.

    Attributes
    ----------
    label : str
        The model's name, with the first 6 characters of the config_hash where the model has
        several configurations.
    means, stds : dict
        By metric, in the order of the columns. A single seed has no standard deviation, and a
        metric that not every seed reports has neither.
    marks : dict
        By metric: "best" or "second".
    flags : tuple of str
        What a reader should know before trusting the row.
    left_out : str
        Why the row does not compare, or "".
    """

    label: str
    model_key: str
    config_hash: str
    seeds: tuple[int, ...]
    means: dict[str, float] = field(default_factory=dict)
    stds: dict[str, float] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    train_seconds: float | None = None
    flags: tuple[str, ...] = ()
    left_out: str = ""


@dataclass(frozen=True)
class _Entry:
    """One run folder, read."""

    run: dict[str, Any]
    result: dict[str, Any]

    @property
    def question(self) -> dict[str, str]:
        """What two runs must share to be comparable."""
        return {
            "dataset": self.run["dataset"],
            "protocol": self.run["protocol"],
            **{f"{name} hash": value for name, value in self.run["hashes"].items()},
        }

    @property
    def key(self) -> str:
        return repr(sorted(self.question.items()))


def leaderboard(folders: Sequence[RunFolder], *, metrics: Sequence[str] | None = None) -> list[Row]:
    """Group finished runs by configuration, the best first, then the rows that are left out.

    Parameters
    ----------
    folders : sequence of RunFolder
    metrics : sequence of str, optional
        Full names, such as "test/full/ndcg_at_10". By default, every test metric at the cut-off
        that the protocol selects by, and hit_at_1 among candidates.

    Returns
    -------
    list of Row
        Sorted by the test counterpart of the protocol's `valid_metric`, higher first.

    Raises
    ------
    PaddockError
        A metric that no run reports.
    """
    entries, left_out = _read(folders)
    shown = _shared_question(entries)
    comparable = [entry for entry in entries if entry.question == shown]
    names = _columns(comparable, metrics)
    selector = _selector(comparable)
    ranked: list[tuple[float, Row]] = []
    for group in _by_configuration(entries):
        if reason := _difference(group[0].question, shown):
            left_out.append(_named(group, left_out=reason))
        else:
            row = _row(group, names)
            score = _mean(group, selector)
            ranked.append((-np.inf if score is None or np.isnan(score) else score, row))
    rows = [row for _, row in sorted(ranked, key=lambda pair: (-pair[0], pair[1].label))]
    return _told_apart(_marked(rows, names) + left_out)


def render(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print the board: the best value per metric bold, the second underlined."""
    console = console or Console()
    compared, left_out = _parted(rows)
    if compared:
        table = Table(box=None, padding=(0, 1), header_style="")
        table.add_column("\nmodel", overflow="fold")
        table.add_column("\nseeds", justify="right")
        for ranking, names in _by_ranking(compared[0].means).items():
            for position, name in enumerate(names):
                # The ranking is told once, above the first of its columns.
                head = f"{ranking}\n" if position == 0 else "\n"
                table.add_column(head + _short(name), justify="right")
        table.add_column("\ntrain s", justify="right")
        flagged = any(row.flags for row in compared)
        if flagged:
            table.add_column("\nnote", overflow="fold")
        styles = {"best": "bold", "second": "underline"}
        for row in compared:
            cells = [escape(row.label), str(len(row.seeds))]
            for names in _by_ranking(row.means).values():
                for name in names:
                    style = styles.get(row.marks.get(name, ""))
                    # In a narrow terminal the deviation goes to a line of its own.
                    cell = _cell(row, name).replace("± ", "±")
                    cells.append(f"[{style}]{cell}[/{style}]" if style else cell)
            cells.append(_seconds(row))
            table.add_row(*cells, *([", ".join(row.flags)] if flagged else []))
        console.print(table)
    else:
        console.print("No finished runs.")
    for row in left_out:
        console.print(f"left out: {row.label} {_seeds(row)}: {row.left_out}", highlight=False)


def to_markdown(rows: Sequence[Row]) -> str:
    """The board as a Markdown table: the best value per metric bold, the second underlined."""
    compared, left_out = _parted(rows)
    lines: list[str] = []
    if compared:
        grouped = _by_ranking(compared[0].means)
        names = [name for group in grouped.values() for name in group]
        heads = [f"{ranking} {_short(name)}" for ranking in grouped for name in grouped[ranking]]
        titles = ["model", "seeds", *heads, "train s", "note"]
        lines.append(f"| {' | '.join(titles)} |")
        lines.append(f"|:---|{'---:|' * (len(titles) - 2)}:---|")
        forms = {"best": "**{}**", "second": "<u>{}</u>"}
        for row in compared:
            values = [
                forms.get(row.marks.get(name, ""), "{}").format(_cell(row, name)) for name in names
            ]
            cells = [row.label, str(len(row.seeds)), *values, _seconds(row), ", ".join(row.flags)]
            lines.append(f"| {' | '.join(cells)} |")
    if compared and left_out:
        lines.append("")
    lines += [f"- left out: {row.label} {_seeds(row)}: {row.left_out}" for row in left_out]
    return "\n".join(lines) + "\n"


def _read(folders: Sequence[RunFolder]) -> tuple[list[_Entry], list[Row]]:
    entries, left_out = [], []
    for folder in folders:
        run = folder.run
        entry = _Entry(run, {})
        if run["state"] != "finished":
            left_out.append(_named([entry], left_out="not finished"))
            continue
        try:
            entries.append(_Entry(run, folder.result))
        except PaddockError as error:
            left_out.append(_named([entry], left_out=str(error)))
    return entries, left_out


def _by_configuration(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """Entries by config_hash, apart where one configuration met two versions of the data."""
    groups: dict[tuple[str, str], list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.run["config_hash"], entry.key].append(entry)
    return list(groups.values())


def _shared_question(entries: Sequence[_Entry]) -> dict[str, str]:
    """The question that most runs answer; of equally many, the most recent one."""
    asked = Counter(entry.key for entry in entries)
    if not entries:
        return {}
    return max(entries, key=lambda entry: (asked[entry.key], entry.run["started"])).question


def _difference(question: Mapping[str, str], shown: Mapping[str, str]) -> str:
    """The first thing that two questions do not share, in words."""
    for name in {**shown, **question}:
        ours, theirs = question.get(name), shown.get(name)
        if ours == theirs:
            continue
        if name.endswith(" hash"):
            ours, theirs = (value[:6] if value else None for value in (ours, theirs))
        return f"{name} {ours or 'absent'}, the board's is {theirs or 'absent'}"
    return ""


def _columns(entries: Sequence[_Entry], metrics: Sequence[str] | None) -> list[str]:
    reported = {name: None for entry in entries for name in entry.result["metrics"]}
    if metrics is not None:
        for name in metrics:
            if entries and name not in reported:
                raise PaddockError(
                    f"no run reports the metric {name!r}; there are: {', '.join(sorted(reported))}"
                )
        return list(metrics)
    cutoff = _selector(entries).rpartition("_at_")[2]
    return [
        name
        for name in reported
        if name.startswith("test/")
        and (
            name.endswith(f"_at_{cutoff}")
            or (name.endswith("/hit_at_1") and not name.startswith("test/full/"))
        )
    ]


def _selector(entries: Sequence[_Entry]) -> str:
    """The test counterpart of the metric that selects epochs and hyper-parameters."""
    if not entries:
        return ""
    return f"test/{entries[0].run['config']['protocol']['valid_metric']}"


def _named(group: Sequence[_Entry], *, left_out: str = "") -> Row:
    run = group[0].run
    seeds = tuple(sorted(entry.run["seed"] for entry in group))
    return Row(
        label=run["model_key"],
        model_key=run["model_key"],
        config_hash=run["config_hash"],
        seeds=seeds,
        left_out=left_out,
    )


def _row(group: Sequence[_Entry], names: Sequence[str]) -> Row:
    means: dict[str, float] = {}
    stds: dict[str, float] = {}
    for name in names:
        mean = _mean(group, name)
        # A missing value keeps its column, so that every row has the same ones.
        means[name] = np.nan if mean is None else mean
        if mean is not None and len(group) > 1:
            stds[name] = float(np.std([entry.result["metrics"][name] for entry in group], ddof=1))
    seconds = [entry.result.get("phases", {}).get("train", {}).get("seconds") for entry in group]
    known = [each for each in seconds if each is not None]
    return replace(
        _named(group),
        means=means,
        stds=stds,
        train_seconds=float(np.mean(known)) if known else None,
        flags=_flags(group),
    )


def _mean(group: Sequence[_Entry], name: str) -> float | None:
    values = [entry.result["metrics"].get(name) for entry in group]
    return None if None in values else float(np.mean(values))


def _flags(group: Sequence[_Entry]) -> tuple[str, ...]:
    sources = [entry.run.get("git") or {} for entry in group]
    flags = []
    if any(git.get("dirty") for git in sources):
        flags.append("uncommitted")
    commits = {git.get("commit") for git in sources}
    if len(commits) > 1:
        flags.append(f"{len(commits)} commits")
    return tuple(flags)


def _marked(rows: list[Row], names: Sequence[str]) -> list[Row]:
    """Mark the best and the second value of every metric; equal values share a mark."""
    marks: list[dict[str, str]] = [{} for _ in rows]
    for name in names:
        # Rounded as printed: no reader can see why one of two equal numbers should be bold.
        values = [round(row.means[name], 4) for row in rows]
        ladder = sorted({value for value in values if not np.isnan(value)}, reverse=True)
        for mark, value in zip(("best", "second"), ladder, strict=False):
            for position, own in enumerate(values):
                if own == value and len(rows) > 1:
                    marks[position][name] = mark
    return [replace(row, marks=own) for row, own in zip(rows, marks, strict=True)]


def _told_apart(rows: list[Row]) -> list[Row]:
    hashes: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        hashes[row.model_key].add(row.config_hash)
    return [
        replace(row, label=f"{row.model_key} {row.config_hash[:6]}")
        if len(hashes[row.model_key]) > 1
        else row
        for row in rows
    ]


def _parted(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    return [row for row in rows if not row.left_out], [row for row in rows if row.left_out]


def _by_ranking(names: Mapping[str, float]) -> dict[str, list[str]]:
    """Metrics by phase and ranking: full before candidates, "test/" left unsaid."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[name.rpartition("/")[0].removeprefix("test/")].append(name)
    return dict(sorted(groups.items(), key=lambda item: (not item[0].endswith("full"), item[0])))


def _short(name: str) -> str:
    """The field's own spelling, which only MLflow refuses: ndcg@10 for test/full/ndcg_at_10."""
    return re.sub(r"_at_(\d+)$", r"@\1", name.rpartition("/")[2])


def _cell(row: Row, name: str) -> str:
    mean = row.means[name]
    if np.isnan(mean):
        return "–"
    return f"{mean:.4f}" + (f" ± {row.stds[name]:.4f}" if name in row.stds else "")


def _seconds(row: Row) -> str:
    return "–" if row.train_seconds is None else f"{row.train_seconds:.1f}"


def _seeds(row: Row) -> str:
    return f"(seed{'s' if len(row.seeds) > 1 else ''} {', '.join(map(str, row.seeds))})"
