"""The sections of the report's page, each one object; a plug-in adds one.

A section is a function from the summary of a report to HTML, with a name and a title::

    @paddock.report_section("fairness", title="Who is served worst")
    def fairness(summary: Summary) -> str:
        return table("The worst tenth of the users", ("model", "NDCG@10"), rows)

What the function returns is HTML: text from the store must be escaped, which `reports.html.table`
does. A section that returns nothing is left out. A section with figures returns a `Content`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from experiments.config.metric_names import long_title
from paddock import ReportSection, report_section
from reports import cells, probes, text
from reports.errors import ReportError
from reports.figures import Figure, figures_of
from reports.html import fill, table
from reports.summarise import Summary


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a section holds: HTML, and figures below it, which are kept as SVG files as well."""

    html: str = ""
    figures: Sequence[Figure] = ()


Maker = Callable[[Summary], str | Content]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of the page.

    Attributes
    ----------
    name : str
        By which an address finds it: index.html#tables; made of a-z, 0-9 and "-".
    title : str
        Its heading.
    make : callable
        From the summary to HTML, or to a `Content` where figures belong to it.
    link : str
        How the page's list of sections calls it; "" for the title.
    """

    name: str
    title: str
    make: Maker
    link: str = ""

    def content(self, summary: Summary) -> Content:
        """The section of one report."""
        made = self.make(summary)
        return made if isinstance(made, Content) else Content(html=made)


SECTIONS: list[Section] = []
"""In the order of the page."""


def add(function: Any, *, link: str = "") -> None:
    """Add the section that a function makes, at the end of the page.

    Parameters
    ----------
    function : callable
        A `Maker` under `paddock.report_section`, which attaches the declaration. Added again, it
        changes nothing.
    link : str
        As in `Section`.

    Raises
    ------
    ReportError
        The name cannot be one, or is another section's.
    """
    declared: ReportSection = function.declaration
    if not re.fullmatch(r"[a-z][a-z0-9-]*", declared.name):
        raise ReportError(
            f"report section {declared.name!r}: a name is made of a-z, 0-9 and '-', "
            "and begins with a letter"
        )
    for other in SECTIONS:
        if other.name == declared.name:
            if other.make is function:
                return
            raise ReportError(
                f"report section {declared.name}: there is one of this name; choose another name"
            )
    SECTIONS.append(Section(name=declared.name, title=declared.title, make=function, link=link))


@report_section("tables", title="Who wins")
def tables(summary: Summary) -> str:
    """A table for every ranking."""
    return fill("sections/tables.html.j2", summary=summary, cells=cells, text=text)


@report_section("controls", title="What gains are due to")
def controls(summary: Summary) -> str:
    """Models against themselves with a control in place of the texts, or of the other members."""
    if not summary.gains:
        return (
            "<p>No model stands beside a control. Item texts: text_control=shuffled and =random; "
            "fusions: model=fusion-seeds.</p>"
        )
    head = (
        "model",
        "control",
        "metric",
        "mean",
        "control's mean",
        "difference",
        "share",
        "p over users",
    )
    note = (
        "The difference has its paired bootstrap interval over users; the share is of the control's "
        "mean. p is Wilcoxon's, uncorrected. A gain that the control has too is not due to what it "
        "stands for."
    )
    caption = "Each model against its controls"
    return table(caption, head, text.gains_body(summary)) + Markup(
        '<p class="notes">{}</p>\n'
    ).format(note)


@report_section("probes", title="What a language model's ranking rests on")
def probe_tables(summary: Summary) -> str:
    """A table for every row that was measured with probes; nothing where none was."""
    made = Markup("")
    for row in probes.probed(summary):
        tiny = " (tiny language model: mechanics only)" if row.mechanics_only else ""
        caption = f"{row.label}{tiny}: the same test with one thing taken away"
        made += table(caption, probes.HEAD, probes.body(row), numbers=False)
    return made


@report_section("cost", title="What it cost")
def cost(summary: Summary) -> str:
    """Parameters, seconds, memory and trials of every row."""
    caption = "Cost and budget of each row, means over seeds"
    note = "Seconds and memory are of the machine that each run was made on."
    return table(caption, text.COST_HEAD, text.cost_body(summary)) + Markup(
        '<p class="notes">{}</p>\n'
    ).format(note)


@report_section("figures", title="Figures")
def figures(summary: Summary) -> Content:
    """Every figure for which the store holds the numbers."""
    found = figures_of(summary)
    return Content(
        html="" if found else "<p>The store holds the numbers of none.</p>", figures=found
    )


@report_section("comparisons", title="Significance in full")
def comparisons(summary: Summary) -> str:
    """Every comparison that was made."""
    body = [
        [
            cells.label(row),
            made.against,
            long_title(metric),
            f"{made.difference:+.4f}",
            cells.interval(made),
            cells.probability(made.p_users),
            cells.probability(made.p_users_holm),
            cells.probability(made.p_retrained_holm),
            made.verdict,
        ]
        for ranking, metrics in summary.tables.items()
        for row in summary.ranked(ranking)
        for metric in metrics
        if (value := row.values.get(metric)) and (made := value.comparison)
    ]
    if not body:
        return (
            "<p>Nothing was tested: there is a single row, or the per-user tables are out of "
            "reach.</p>"
        )
    head = (
        "model",
        "against",
        "metric",
        "difference",
        "bootstrap interval",
        "p over users",
        "p over users, after Holm",
        "p over users and seeds, after Holm",
        "verdict",
    )
    return table("Each row against the model that its gain is relative to", head, body)


@report_section("reproduce", title="Make a number again")
def reproduce(summary: Summary) -> str:
    """The command of every run, and what all rows share."""
    return fill("sections/reproduce.html.j2", summary=summary, cells=cells)


@report_section("left-out", title="Left out")
def left_out(summary: Summary) -> str:
    """The runs that do not compare, with the reasons, and configurations that are not shown."""
    return fill("sections/left-out.html.j2", summary=summary)


def _add_own() -> None:
    for function, link in (
        (tables, "Tables"),
        (controls, "Controls"),
        (probe_tables, "Probes"),
        (cost, "Cost"),
        (figures, "Figures"),
        (comparisons, "Significance"),
        (reproduce, "Reproduce"),
        (left_out, "Left out"),
    ):
        add(function, link=link)


_add_own()
