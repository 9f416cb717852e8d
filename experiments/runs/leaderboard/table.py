"""The leaderboard as text: for a terminal, and in Markdown."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.config.metric_names import by_ranking, short
from experiments.runs.compare import DECIMALS
from experiments.runs.leaderboard.rows import Row

REFITTED_TITLE = (
    "Trained on train and valid, for the epochs that valid chose (protocol.refit=valid); compare these "
    "with one another only"
)

_STYLES = {"best": "[bold]{}[/bold]", "second": "[underline]{}[/underline]"}
_MARKDOWN = {"best": "**{}**", "second": "<u>{}</u>"}


def render(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print the leaderboard: the best value per metric bold, the second underlined.

    Parameters
    ----------
    rows : sequence of Row
        What `leaderboard` returns.
    console : Console, optional
        Where to print; by default the terminal.
    """
    console = console or Console()
    compared, left_out = _split(rows)
    for group in _groups(compared):
        if group[0].refitted:
            console.print(f"\n{REFITTED_TITLE}:", highlight=False)
        console.print(_table(group))
    if not compared:
        console.print("No finished runs.")
    for row in left_out:
        console.print(_left_out(row), highlight=False, markup=False)


def to_markdown(rows: Sequence[Row]) -> str:
    """The leaderboard as a Markdown table: the best value per metric bold, the second underlined.

    Parameters
    ----------
    rows : sequence of Row
        What `leaderboard` returns.
    """
    compared, left_out = _split(rows)
    lines: list[str] = []
    for group in _groups(compared):
        if group[0].refitted:
            lines += ["", f"{REFITTED_TITLE}:", ""] if lines else [f"{REFITTED_TITLE}:", ""]
        grouped = by_ranking(group[0].means)
        names = [name for columns in grouped.values() for name in columns]
        heads = [f"{ranking} {short(name)}" for ranking in grouped for name in grouped[ranking]]
        titles = ["model", "seeds", *heads, "train s", "note"]
        lines.append(f"| {' | '.join(titles)} |")
        lines.append(f"|:---|{'---:|' * (len(titles) - 2)}:---|")
        for row in group:
            values = [_marked(_cell(row, name), row, name, _MARKDOWN) for name in names]
            cells = [row.label, str(len(row.seeds)), *values, _seconds(row), ", ".join(row.flags)]
            lines.append(f"| {' | '.join(cells)} |")
    if compared and left_out:
        lines.append("")
    lines += [f"- {_left_out(row)}" for row in left_out]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="")
    table.add_column("\nmodel", overflow="fold")
    table.add_column("\nseeds", justify="right")
    grouped = by_ranking(rows[0].means)
    for ranking, names in grouped.items():
        for position, name in enumerate(names):
            # The ranking is named once, above the first of its columns.
            head = f"{ranking}\n" if position == 0 else "\n"
            table.add_column(head + short(name), justify="right")
    table.add_column("\ntrain s", justify="right")
    flagged = any(row.flags for row in rows)
    if flagged:
        table.add_column("\nnote", overflow="fold")
    for row in rows:
        values = [
            # In a narrow terminal the deviation goes to a line of its own.
            _marked(_cell(row, name).replace("± ", "±"), row, name, _STYLES)
            for names in grouped.values()
            for name in names
        ]
        note = [", ".join(row.flags)] if flagged else []
        table.add_row(escape(row.label), str(len(row.seeds)), *values, _seconds(row), *note)
    return table


def _split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    return [row for row in rows if not row.left_out], [row for row in rows if row.left_out]


def _groups(compared: Sequence[Row]) -> list[list[Row]]:
    """The rows of models that know the training part alone, and those that know the valid part too."""
    groups = [[row for row in compared if row.refitted is kind] for kind in (False, True)]
    return [group for group in groups if group]


def _cell(row: Row, name: str) -> str:
    mean = row.means[name]
    if np.isnan(mean):
        return "–"
    return f"{mean:.{DECIMALS}f}" + (
        f" ± {row.stds[name]:.{DECIMALS}f}" if name in row.stds else ""
    )


def _marked(cell: str, row: Row, name: str, forms: dict[str, str]) -> str:
    return forms.get(row.marks.get(name, ""), "{}").format(cell)


def _seconds(row: Row) -> str:
    return "–" if row.train_seconds is None else f"{row.train_seconds:.1f}"


def _left_out(row: Row) -> str:
    plural = "s" if len(row.seeds) > 1 else ""
    seeds = ", ".join(map(str, row.seeds))
    return f"left out: {row.label} (seed{plural} {seeds}): {row.left_out}"
