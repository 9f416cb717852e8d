"""The tables in Markdown, LaTeX and JSON."""

import json
import re
from collections.abc import Sequence
from typing import Any

from experiments.config.metric_names import long_title, title
from experiments.runs.compare import Configuration
from reports import cells
from reports.read import Run
from reports.summarise import Row, Summary

FORMAT = 2
"""Raised when a key of summary.json changes its meaning or goes."""

_TEX = {
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "–": "--",
    "†": r"$^\dagger$",
    "▲": r"$^{\ast}$",
    "▼": r"$_{\ast}$",
    "△": r"$^{\circ}$",
    "▽": r"$_{\circ}$",
    "<": "$<$",
}


def to_markdown(summary: Summary) -> str:
    """Every table, what was left out, and the footnotes."""
    options = summary.options
    lines = [f"# {summary.source.title}", "", cells.headline(summary), ""]
    for ranking, metrics in summary.tables.items():
        lines += [f"## {ranking_title(ranking)}", ""]
        head = ["model", *map(title, metrics), f"gain {title(summary.leads[ranking])}", "seeds"]
        body = [
            [
                cells.label(row),
                *(_markdown_cell(row, metric) for metric in metrics),
                cells.gain(row.values.get(summary.leads[ranking])),
                str(len(row.runs)),
            ]
            for row in summary.ranked(ranking)
        ]
        lines += [*_markdown(head, body), ""]
    lines += ["## Cost and budget", "", *_markdown(COST_HEAD, cost_body(summary)), ""]
    lines += [f"- {note}" for note in cells.notes(summary)]
    if summary.left_out:
        lines += ["", "## Left out", ""]
        lines += [f"- {line}" for line in left_out(summary)]
    lines += [
        "",
        f"Made by `python -m reports experiment={options.experiment} "
        f"dataset={options.dataset} protocol={options.protocol}"
        f"{f' slice={options.slice}' if options.slice else ''}`.",
    ]
    return "\n".join(lines) + "\n"


def to_tex(summary: Summary) -> str:
    """A booktabs table for every ranking; \\usepackage{booktabs} is all it needs."""
    parts = []
    for ranking, metrics in summary.tables.items():
        heads = ["Model", *map(title, metrics), "Gain", "Seeds"]
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(caption(summary, ranking))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
            r"\toprule",
            " & ".join(map(_tex, heads)) + r" \\",
            r"\midrule",
        ]
        for row in summary.ranked(ranking):
            entries = [
                _tex(cells.label(row)),
                *(_tex_cell(row, metric) for metric in metrics),
                _tex(cells.gain(row.values.get(summary.leads[ranking]))),
                str(len(row.runs)),
            ]
            lines.append(" & ".join(entries) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        parts.append("\n".join(lines))
    notes = [f"% {line}" for note in cells.notes(summary) for line in [note]]
    signs = "% In these tables * is written for solid and o for hollow triangles, above for better."
    return "\n\n".join([*parts, "\n".join([*notes, signs])]) + "\n"


def to_json(summary: Summary) -> str:
    """The whole summary for machines; under one `FORMAT` keys neither go nor change their meaning."""
    options = summary.options
    content = {
        "format": FORMAT,
        "experiment": summary.source.experiment,
        "slice": options.slice,
        "question": dict(summary.question),
        "alpha": options.alpha,
        "valid_metric": summary.selecting,
        "tables": {ranking: list(metrics) for ranking, metrics in summary.tables.items()},
        "rows": [_row(row) for row in summary.rows],
        "other_configurations": [_other(each, summary) for each in summary.others],
        "left_out": [vars(each) for each in summary.left_out],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


COST_HEAD = (
    "model",
    "trials",
    "parameters trained",
    "train s",
    "peak memory MB",
    "scoring ms per user",
    "note",
)


def cost_body(summary: Summary) -> list[list[str]]:
    """Every row's cost and budget."""
    return [
        [
            cells.label(row),
            cells.trials(row),
            cells.count(row.cost.parameters),
            cells.measured(row.cost.train_seconds),
            cells.measured(row.cost.memory_mb),
            cells.measured(row.cost.ms_per_user),
            "; ".join(row.flags),
        ]
        for row in summary.ranked(next(iter(summary.tables)))
    ]


def ranking_title(ranking: str) -> str:
    """The heading of a ranking: "Full ranking"."""
    if ranking == "full":
        return "Full ranking"
    size = re.fullmatch(r"c(\d+)", ranking)
    return f"Candidate ranking, {size[1]} candidates" if size else f"Ranking {ranking}"


def caption(summary: Summary, ranking: str) -> str:
    """What the table of a ranking is of."""
    return f"{ranking_title(ranking)} on {summary.options.dataset}, protocol {summary.options.protocol}"


def left_out(summary: Summary) -> list[str]:
    """A line for every run that does not compare, with the reason."""
    return [
        f"{each.model} seed {each.seed} (run {each.run_id[:8]}): {each.reason}"
        for each in summary.left_out
    ]


def _markdown_cell(row: Row, metric: str) -> str:
    value = row.values.get(metric)
    shown = cells.number(value)
    form = {"best": "**{}**", "second": "<u>{}</u>"}.get(value.mark if value else "", "{}")
    return " ".join(filter(None, [form.format(shown), cells.symbol(value)]))


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    return [line(head), f"|:---|{'---:|' * (len(head) - 1)}", *map(line, body)]


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


def _tex_cell(row: Row, metric: str) -> str:
    value = row.values.get(metric)
    form = {"best": r"\textbf{%s}", "second": r"\underline{%s}"}.get(
        value.mark if value else "", "%s"
    )
    return form % _tex(cells.number(value)) + _tex(cells.symbol(value))


def _row(row: Row) -> dict[str, Any]:
    return {
        "label": row.label,
        "model": row.configuration.model,
        "config_hash": row.configuration.config_hash,
        "mechanics_only": row.mechanics_only,
        "flags": list(row.flags),
        "trials": row.budget.trials,
        "study": row.budget.study or None,
        "cost": vars(row.cost),
        "runs": [
            {"seed": run.seed, "run_id": run.run_id, "command": run.command, "commit": run.commit}
            for run in row.runs
        ],
        "metrics": {
            metric: {
                "mean": value.mean,
                "std": value.std,
                "mark": value.mark or None,
                "gain": value.gain,
                "comparison": None if value.comparison is None else vars(value.comparison),
            }
            for metric, value in row.values.items()
        },
    }


def _other(each: Configuration[Run], summary: Summary) -> dict[str, Any]:
    means = {metric: each.mean(f"test/{metric}") for metric in summary.leads.values()}
    return {
        "label": each.label,
        "config_hash": each.config_hash,
        "seeds": list(each.seeds),
        "metrics": {long_title(metric): mean for metric, mean in means.items() if mean == mean},
    }
