"""Sections of the page: those that every report has, and one that a plug-in brings."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from experiments.components import plugins
from paddock import report_section
from reports import interactive, sections, svg
from reports.errors import ReportError
from reports.figures import Bars, Figure, Line, Look, Panel, figures_of
from reports.html import table
from reports.options import parse
from reports.read import read
from reports.render import files
from reports.sections import Content
from reports.summarise import Summary, summarise
from tests.reports.conftest import Report

BUILT_IN = ["tables", "controls", "cost", "figures", "comparisons", "reproduce", "left-out"]


@pytest.fixture(scope="module")
def summary(store: str) -> Summary:
    options = parse([f"tracking.uri={store}"])
    return summarise(read(options), options)


@pytest.fixture(autouse=True)
def own_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test adds is gone after it."""
    monkeypatch.setattr(sections, "SECTIONS", list(sections.SECTIONS))


def declared(make: Any, *, name: str = "fairness", title: str = "Who is served worst") -> Any:
    """The function, declared as a plug-in does."""
    return report_section(name, title=title)(make)


def figure(name: str = "worst") -> Figure:
    line = Line(label="bpr", x=[1, 2], y=[0.25, 0.5], look=Look(color="#000000"))
    return Figure(
        name=name,
        title="Worst",
        text="A line.",
        head=("a",),
        body=[("1",)],
        panels=[Panel(marks=[line])],
    )


def ids(page: str) -> list[str]:
    return re.findall(r'<section id="([\w-]+)" aria-labelledby="\1-title">', page)


def test_a_report_has_its_own_sections_in_order(summary: Summary) -> None:
    page = files(summary)["index.html"]
    assert ids(page) == BUILT_IN
    assert re.findall(r'<a href="#([\w-]+)">', page) == BUILT_IN


def test_a_plug_in_adds_a_section_with_a_table_and_a_figure(summary: Summary) -> None:
    def worst(given: Summary) -> Content:
        rows = [(row.label, "<b>") for row in given.rows]
        return Content(html=table("The worst", ("model", "value"), rows), figures=[figure()])

    sections.add(declared(worst))
    sections.add(worst)
    made = files(summary)
    page = made["index.html"]
    assert ids(page) == [*BUILT_IN, "fairness"]
    assert '<a href="#fairness">Who is served worst</a>' in page
    assert '<h2 id="fairness-title">Who is served worst</h2>' in page
    own = page[page.index('<section id="fairness"') :]
    assert all(f'<th scope="row">{row.label}</th><td>&lt;b&gt;</td>' in own for row in summary.rows)
    assert 'id="figure-worst"' in own
    ElementTree.fromstring(made["figures/worst.svg"])
    plots = re.search(r'id="plots">(.*?)</script>', page)
    assert plots is not None
    assert json.loads(plots[1])["worst"]["data"][0]["y"] == [0.25, 0.5]
    # The other files are those of a report without it.
    assert {name for name in made if "worst" not in name} == {
        "index.html",
        "summary.json",
        "table.md",
        "table.tex",
        *(f"figures/{name}.svg" for name in ("curves", "cost", "slices", "users")),
    }


def test_a_section_may_be_plain_html(summary: Summary) -> None:
    sections.add(declared(lambda given: f"<p>{len(given.rows)} rows</p>"))
    assert f"<p>{len(summary.rows)} rows</p>" in files(summary)["index.html"]


def test_names_that_meet_are_refused(summary: Summary) -> None:
    for name, message in (
        ("tables", "report section tables: there is one"),
        ("Worst users", "a name is made of"),
        ("../x", "a name is made of"),
    ):
        with pytest.raises(ReportError, match=message):
            sections.add(declared(lambda given: "", name=name))
    sections.add(declared(lambda given: Content(figures=[figure("cost")])))
    with pytest.raises(ReportError, match="fairness: another section has a figure named cost"):
        files(summary)


def test_both_drawers_draw_every_mark_of_a_figure(summary: Summary) -> None:
    for each in figures_of(summary):
        marks = [mark for panel in each.panels for mark in panel.marks]
        assert [trace["name"] for trace in interactive.plot(each)["data"]] == [
            mark.label for mark in marks
        ]
        picture = svg.draw(each)
        shown = "".join(ElementTree.fromstring(picture).itertext())
        for panel in each.panels:
            assert panel.x_label in shown
            assert panel.y_label in shown
            assert all(name in shown for name in panel.categories)
        for mark in marks:
            assert mark.look.color.lower() in picture.lower()
        listed = {mark.label for mark in each.panels[0].marks} if each.legend else set()
        assert all(label in shown for label in listed)


def test_lying_bars_are_drawn_in_order_from_above() -> None:
    bars = Bars(
        label="importance", values={"lr": 0.75, "dropout": 0.25}, look=Look(color="#000000")
    )
    panel = Panel(marks=[bars], categories=["lr", "dropout"], stacked=True)
    one = Figure(name="x", title="x", text="x", head=(), body=(), panels=[panel])
    (trace,) = interactive.plot(one)["data"]
    # plotly counts from below.
    assert (trace["y"], trace["x"]) == (["dropout", "lr"], [0.25, 0.75])
    places = {
        text.text: float(str(text.get("y") or str(text.get("transform")).split()[-1].rstrip(")")))
        for text in ElementTree.fromstring(svg.draw(one)).iter("{http://www.w3.org/2000/svg}text")
        if text.text in bars.values
    }
    assert places["lr"] < places["dropout"]


def test_a_folder_brings_a_section(
    store: str, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_loaded", {})
    folder = tmp_path / "worst_plugin"
    folder.mkdir()
    (folder / "fairness.py").write_text(
        "from paddock import report_section\n\n\n"
        "@report_section('fairness', title='Who is served worst')\n"
        "def fairness(summary):\n"
        "    return f'<p>{len(summary.rows)} rows, served</p>'\n"
    )
    made = report(store, f"plugins=[{folder}]")
    assert made.code == 0, made.err
    page = (made.folder / "index.html").read_text(encoding="utf-8")
    assert ids(page) == [*BUILT_IN, "fairness"]
    assert "<p>3 rows, served</p>" in page
    refused = report(store, f"plugins=[{tmp_path}/none]")
    assert refused.code == 2
    assert "there is no such folder" in refused.err
