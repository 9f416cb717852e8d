"""The tables in Markdown, LaTeX and JSON."""

import json
import re
from collections.abc import Sequence
from typing import Any

from experiments.config.metric_names import long_title, title
from experiments.runs.configuration import Configuration
from experiments.visible import visible
from reports import cells
from reports.controls import SEEDS
from reports.headline import headline
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
    ">": "$>$",
    "\n": " ",
    **{raised: f"$^{{{digit}}}$" for digit, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}


def to_markdown(summary: Summary) -> str:
    """Every table, what was left out, and the footnotes."""
    options = summary.options
    lines = [f"# {escaped(summary.source.title)}", "", escaped(headline(summary)), ""]
    for ranking in summary.tables:
        lines += [f"## {ranking_title(ranking)}", "", *_ranking(summary, ranking), ""]
    if summary.apart:
        lines += [f"## {apart_title(summary)}", "", escaped(apart_note(summary)), ""]
        for ranking in summary.tables:
            lines += [f"### {ranking_title(ranking)}", ""]
            lines += [*_ranking(summary, ranking, apart=True), ""]
    cost = [list(map(escaped, line)) for line in cost_body(summary)]
    lines += ["## Cost and budget", "", *_markdown(COST_HEAD, cost), ""]
    lines += [f"- {escaped(note)}" for note in cells.notes(summary)]
    if summary.left_out:
        lines += ["", "## Left out", ""]
        lines += [f"- {escaped(line)}" for line in left_out(summary)]
    # Names of the command line hold no backtick that could end the code.
    lines += ["", f"Made by `{options.command.replace('`', '')}`."]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text of the store as one line of Markdown that shows it as it is: neither markup nor HTML."""
    line = (
        visible(" ".join(text.split()))
        .replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
    )
    line = re.sub(r"([\\`*\[\]|~$])", r"\\\1", line)
    # Within a word an underscore is no markup, and names of models are full of them.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)


def to_tex(summary: Summary) -> str:
    """A booktabs table for every ranking; \\usepackage{booktabs} is all it needs."""
    parts = []
    several = [(ranking, False) for ranking in summary.tables]
    several += [(ranking, True) for ranking in summary.tables if summary.apart]
    for ranking, apart in several:
        metrics = summary.tables[ranking]
        heads = ["Model", *map(title, metrics), "Gain", "Seeds"]
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(caption(summary, ranking, apart=apart))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
            r"\toprule",
            " & ".join(map(_tex, heads)) + r" \\",
            r"\midrule",
        ]
        for row in summary.ranked(ranking, apart=apart):
            entries = [
                _tex(cells.label(row)),
                *(_tex_cell(row, metric) for metric in metrics),
                _tex(cells.gain(row.values.get(summary.leads[ranking]))),
                str(len(row.runs)),
            ]
            lines.append(" & ".join(entries) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        parts.append("\n".join(lines))
    # A line break would end the comment.
    notes = [f"% {' '.join(note.split())}" for note in cells.notes(summary)]
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
        "refit": options.refit,
        "headline": headline(summary),
        "rows": [_row(row) for row in summary.rows],
        "controls": [{**vars(gain), "difference": gain.difference} for gain in summary.gains],
        "rows_apart": [_row(row) for row in summary.apart],
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


def gains_body(summary: Summary) -> list[list[str]]:
    """The rows of the table of models against their controls.

    Parameters
    ----------
    summary : Summary
    """
    return [
        [
            gain.label,
            f"{gain.kind} ({gain.control})" if gain.kind == SEEDS else gain.kind,
            long_title(gain.metric),
            f"{gain.mean:.4f}",
            f"{gain.control_mean:.4f}",
            f"{gain.difference:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]",
            "–" if gain.share is None else f"{gain.share:+.1%}",
            cells.probability(gain.p_users),
        ]
        for gain in summary.gains
    ]


def ranking_title(ranking: str) -> str:
    """The heading of a ranking: "Full ranking"."""
    if ranking == "full":
        return "Full ranking"
    size = re.fullmatch(r"c(\d+)", ranking)
    return f"Candidate ranking, {size[1]} candidates" if size else f"Ranking {ranking}"


def caption(summary: Summary, ranking: str, *, apart: bool = False) -> str:
    """What the table of a ranking is of."""
    told = f"{ranking_title(ranking)} on {summary.options.dataset}, protocol {summary.options.protocol}"
    return f"{told}, {apart_title(summary).lower()}" if apart else told


def apart_title(summary: Summary) -> str:
    """The heading of the table that stands apart."""
    if summary.options.refit == "valid":
        return "Trained on the training part alone"
    return "Trained on train and valid"


def apart_note(summary: Summary) -> str:
    """Why it stands apart."""
    other = "none" if summary.options.refit == "valid" else "valid"
    return (
        "These models were trained on other data than those above: they are compared among themselves "
        f"alone. refit={other} makes the whole report of them."
    )


def left_out(summary: Summary) -> list[str]:
    """A line for every run that does not compare, with the reason."""
    return [
        f"{each.model} seed {each.seed} (run {each.run_id[:8]}): {each.reason}"
        for each in summary.left_out
    ]


def _ranking(summary: Summary, ranking: str, *, apart: bool = False) -> list[str]:
    """The Markdown table of a ranking."""
    metrics, lead = summary.tables[ranking], summary.leads[ranking]
    body = [
        [
            escaped(cells.label(row)),
            *(_markdown_cell(row, metric) for metric in metrics),
            cells.gain(row.values.get(lead)),
            str(len(row.runs)),
        ]
        for row in summary.ranked(ranking, apart=apart)
    ]
    return _markdown(["model", *map(title, metrics), f"gain {title(lead)}", "seeds"], body)


def _markdown_cell(row: Row, metric: str) -> str:
    value = row.values.get(metric)
    shown = cells.of_row(row, metric)
    form = {"best": "**{}**", "second": "<u>{}</u>"}.get(value.mark if value else "", "{}")
    return " ".join(filter(None, [form.format(shown), cells.symbol(value)]))


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return [line(head), f"|:---|{'---:|' * (len(head) - 1)}", *map(line, body)]


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in visible(text))


def _tex_cell(row: Row, metric: str) -> str:
    value = row.values.get(metric)
    form = {"best": r"\textbf{%s}", "second": r"\underline{%s}"}.get(
        value.mark if value else "", "%s"
    )
    return form % _tex(cells.of_row(row, metric)) + _tex(cells.symbol(value))


def _row(row: Row) -> dict[str, Any]:
    return {
        "label": row.label,
        "model": row.configuration.model,
        "config_hash": row.configuration.config_hash,
        "mechanics_only": row.mechanics_only,
        "flags": list(row.flags),
        "trials": row.budget.trials,
        "study": row.budget.study or None,
        "study_seconds": row.budget.seconds,
        "study_epochs": row.budget.epochs,
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
