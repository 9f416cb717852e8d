"""The leaderboard as a table on the terminal."""

from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.config.metric_names import by_ranking, leading, long_name, parse, short
from experiments.runs.configuration import DECIMALS
from experiments.runs.leaderboard.rows import Row
from experiments.terminal import make_console
from experiments.visible import visible

REFITTED_TITLE = (
    "Trained on train and valid, for the epochs that valid chose (protocol.refit=valid); compare these "
    "with one another only"
)

NOT_APPLICABLE_CELL = "n/a"

_HERE = "→"
_FEWEST = 2
"""Metrics that the narrowest table shows."""

_LABEL = 24
"""Columns that labels get before a metric gives way to them; longer ones go on in another line."""

_EDGES = 2 + len(" seeds ") + len(" train s ")
_MOST, _BEST, _AROUND = 15, 5, 3
"""Rows of a table around one row: if there are more, the best ones and its neighbours."""

_STYLES = {"best": "bold", "second": "underline"}
_MARKDOWN = {"best": "**{}**", "second": "<u>{}</u>"}


def render(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print the leaderboard: the best value per metric bold, the second underlined.

    A terminal that is too narrow for all metrics shows those that matter most, and says which others
    there are. What a reader should know before trusting a row is a foot-note. Of a long table that
    was asked for by one run, the best rows are shown and those around the run's.

    Parameters
    ----------
    rows : sequence of Row
        What `leaderboard` returns.
    console : Console, optional
        Where to print; by default the terminal.
    """
    console = console or make_console()
    compared, left_out = _split(rows)
    for group in _groups(compared):
        if group[0].refitted:
            console.print(f"\n{REFITTED_TITLE}:", highlight=False)
        _print(group, console)
    if not compared:
        console.print("No finished runs.")
    for row in left_out:
        console.print(Text(visible(_left_out(row))))


def _print(rows: Sequence[Row], console: Console) -> None:
    """One table, and below it what its marks mean."""
    notes = list(dict.fromkeys(flag for row in rows for flag in row.flags))
    place = next((at for at, row in enumerate(rows, start=1) if row.asked_for), None)
    if len(rows) == 1:
        place = None  # among no others
    labels = [_label(row, notes) for row in rows]
    shown, hidden = _fitting(rows, labels, console.width - (0 if place is None else 2))
    console.print(_table(rows, labels, shown, place=place))
    below = [(_raised(number), note) for number, note in enumerate(notes, start=1)]
    if place is not None:
        by = long_name(rows[0].sorted_by)
        ranked = [row for row in rows if not row.not_applicable]
        at = f"place {place} of {len(ranked)} by {by}" if place <= len(ranked) else "not ranked"
        below.append((_HERE, f"this configuration: {at}"))
    if hidden:
        names = ", ".join(map(long_name, hidden))
        below.append(("", f"No room for {names}: a wider terminal shows more."))
    if below:
        grid = Table.grid(padding=(0, 1, 0, 0), pad_edge=True)
        for mark, text in below:
            grid.add_row(f" {mark}".rstrip(), Text(visible(text)))
        console.print(grid, highlight=False)


def _table(
    rows: Sequence[Row], labels: Sequence[str], names: Sequence[str], *, place: int | None
) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="")
    if place is not None:
        table.add_column("", no_wrap=True)
    table.add_column("\nmodel", min_width=_longest_word(labels))
    table.add_column("\nseeds", justify="right", no_wrap=True)
    for ranking, own in by_ranking(names).items():
        for position, name in enumerate(own):
            # The ranking is named once, above the first of its columns.
            head = f"{ranking}\n" if position == 0 else "\n"
            table.add_column(head + short(name), justify="right", no_wrap=True)
    table.add_column("\ntrain s", justify="right", no_wrap=True)
    ordered = [name for own in by_ranking(names).values() for name in own]
    before = 0
    for at in _kept(len(rows), place):
        if at > before + 1:
            table.add_row(*([""] if place is not None else []), f"… {at - before - 1} more")
        before = at
        row = rows[at - 1]
        mark = [] if place is None else [_HERE if row.asked_for else ""]
        values = [
            Text.assemble((_value(row, name), _STYLES.get(row.marks.get(name, ""), "")))
            for name in ordered
        ]
        table.add_row(*mark, Text(labels[at - 1]), str(len(row.seeds)), *values, _seconds(row))
    if before < len(rows):
        table.add_row("", f"… {len(rows) - before} more")
    return table


def _kept(number: int, place: int | None) -> list[int]:
    """The places that are shown: of a long table around one row, the best and its neighbours."""
    if place is None or number <= _MOST:
        return list(range(1, number + 1))
    around = range(place - _AROUND, place + _AROUND + 1)
    return [at for at in range(1, number + 1) if at <= _BEST or at in around]


def _fitting(rows: Sequence[Row], labels: Sequence[str], width: int) -> tuple[list[str], list[str]]:
    """The metrics that there is room for, and the others, each in the order of their columns."""
    grouped = by_ranking(rows[0].means)
    names = [name for own in grouped.values() for name in own]
    lead = leading(names, rows[0].sorted_by)
    ranking = parse(lead).group
    # Of each ranking the last column is what it is sorted by.
    ordered = [lead, *grouped[ranking][::-1]]
    ordered += [name for group, own in grouped.items() if group != ranking for name in own[::-1]]
    ordered = list(dict.fromkeys(ordered))
    rest = max(_longest_word(labels), min(_LABEL, max(map(cell_len, labels)))) + _EDGES
    rest += max(len("train s"), *(len(_seconds(row)) for row in rows)) - len("train s")
    widths = {
        name: 2 + max(len(short(name)), *(cell_len(_value(row, name)) for row in rows))
        for name in names
    }
    while len(ordered) > _FEWEST and rest + sum(widths[name] for name in ordered) > width:
        ordered.pop()
    return [n for n in names if n in ordered], [n for n in names if n not in ordered]


def _label(row: Row, notes: Sequence[str]) -> str:
    """The row's label with the numbers of its foot-notes."""
    numbers = " ".join(map(_raised, sorted(notes.index(flag) + 1 for flag in row.flags)))
    return f"{visible(row.label)} {numbers}".rstrip()


def _longest_word(labels: Sequence[str]) -> int:
    return max(cell_len(word) for label in labels for word in label.split())


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _value(row: Row, name: str) -> str:
    return _cell(row, name).replace("± ", "±")


def _split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    return [row for row in rows if not row.left_out], [row for row in rows if row.left_out]


def _groups(compared: Sequence[Row]) -> list[list[Row]]:
    """The rows of models that know the training part alone, and those that know the valid part too."""
    groups = [[row for row in compared if row.refitted is kind] for kind in (False, True)]
    return [group for group in groups if group]


def _cell(row: Row, name: str) -> str:
    mean = row.means[name]
    if np.isnan(mean):
        return NOT_APPLICABLE_CELL if row.not_applicable else "–"
    return f"{mean:.{DECIMALS}f}" + (
        f" ± {row.stds[name]:.{DECIMALS}f}" if name in row.stds else ""
    )


def _seconds(row: Row) -> str:
    return "–" if row.train_seconds is None else f"{row.train_seconds:.1f}"


def _left_out(row: Row) -> str:
    plural = "s" if len(row.seeds) > 1 else ""
    seeds = ", ".join(map(str, row.seeds))
    return f"left out: {row.label} (seed{plural} {seeds}): {row.left_out}"
