"""Texts of others on the terminal and on pages: shown as they are, and none of them acts."""

import io
import json
import logging
import re
import sys
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markupsafe import Markup
from rich.progress import Progress

from experiments.commands.progress import RunProgress
from experiments.commands.recommend import show
from experiments.config.schema import Format
from experiments.data.sources.transfer import DownloadBar
from experiments.errors import PaddockError
from experiments.failures import answering
from experiments.runs.leaderboard import leaderboard, render
from experiments.terminal import PlainConsole
from experiments.visible import json_text, visible
from reports import html, svg
from reports.figures import Figure, Line, Look, Panel
from reports.text import escaped

from .runs.run_folders import make_run

HOSTILE = (
    "A\x1b[2J\x1b[31mB",  # clears the screen
    "A\x1b]8;;http://x\x07B",  # a link
    "A\rB",
    "A\nB",
    "A\tB",
    "A\x08\x7fB",
    "A\x9b31mB",
    "A\u2028B",
    "A\u202eB",
    "A\u2066B\u2069",
    "A\u200fB\u061c",
    "A\ud800B",
    "A\U000e0041B",
    "A[red]B[/red]",
    "A[/]B",
    "A[link=http://x]B[/link]",
    "A:smile:B",
)
# What only colours and bold text of rich's own need.
STYLES = re.compile(r"\x1b\[[\d;]*m")


def acting(text: str) -> set[str]:
    """Controls, turns of the direction of writing, halves of characters and unseen tags."""
    turns = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    marks = "\u200e\u200f\u061c"
    return {
        letter
        for letter in text
        if (unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") and letter != "\n")
        or unicodedata.bidirectional(letter) in turns
        or letter in marks
        or 0xE0000 <= ord(letter) < 0xE0080
    }


def terminal() -> PlainConsole:
    return PlainConsole(file=io.StringIO(), width=300, force_terminal=True, color_system="standard")


def printed(console: PlainConsole) -> str:
    assert isinstance(console.file, io.StringIO)
    text = STYLES.sub("", console.file.getvalue())
    assert acting(text) == set()
    assert text.encode()
    return text


def test_ordinary_texts_are_left_alone() -> None:
    for text in (
        "Amélie (2001)",
        "千と千尋",
        "שלום",
        "نمی\u200cخواهم",
        "👩\u200d🚀",
        "a\u00a0b",
        "",
    ):
        assert visible(text) == text
    assert visible("a\x1b[2J\r\n\t\u202eb\x9b") == r"a\x1b[2J\r\n\t\u202eb\x9b"


def test_recommended_titles() -> None:
    items = [{"rank": 1, "item": f"i{title}", "title": title, "score": 0.5} for title in HOSTILE]
    made = [{"user": title, "items": items} for title in HOSTILE]
    console = terminal()
    show(made, form=Format.table, console=console)
    text = printed(console)
    for title in HOSTILE:
        assert f" i{visible(title)} " in text
        assert f"User {visible(title)}" in text
    # A row for each item, none of which a title can add.
    assert len([line for line in text.split("\n") if line.startswith("│")]) == len(HOSTILE) ** 2


def test_recommendations_as_json_are_the_same_and_harmless() -> None:
    made = [{"user": "u", "items": [{"title": title} for title in HOSTILE]}]
    text = json_text(made)
    assert acting(text) == set()
    assert json.loads(text) == made


def test_the_leaderboard_of_runs_from_elsewhere(tmp_path: Path) -> None:
    folders = []
    # Half of a character can be in no file, and a run whose key has a slash is refused.
    names = [name for name in HOSTILE if not {"\ud800", "/"} & set(name)]
    for number, name in enumerate(names):
        folder = make_run(tmp_path, model=f"m{number}", lr=number)
        notes = {"paddock.note.0": name, "paddock.full_ranking": name}
        folder.update(model_key=name, tags=notes, hashes={"dataset": str(number % 2)})
        folders.append(folder)
    console = terminal()
    render(leaderboard(folders), console)
    text = printed(console)
    for name in names:
        assert visible(name) in text


def _failing(title: str) -> None:
    with answering():
        # What shows warnings where nobody set up logging; pytest did.
        shown = logging.StreamHandler(sys.stderr)
        shown.setFormatter(getattr(logging.lastResort, "formatter", None))
        shown.handle(logging.makeLogRecord({"msg": "careful: %s", "args": (title,)}))
        raise PaddockError(f"{title}: not there")


def test_errors_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    for title in HOSTILE:
        with pytest.raises(SystemExit):
            _failing(title)
        text = capsys.readouterr().err
        assert acting(text) == set()
        assert sum(line.startswith("error: ") for line in text.splitlines()) == 1
        if "\n" not in title:
            assert f"careful: {visible(title)}\nerror: {visible(title)}: not there\n" == text


def test_progress_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    for title in HOSTILE:
        console = terminal()
        bar = RunProgress(label=title, metric="m", bars=True, console=console)
        download = DownloadBar(title, shown=True)
        bar.on_stage("train", 3)
        for progress in (bar._progress, download._progress):
            assert isinstance(progress, Progress)
            console.print(progress.get_renderable())
        text = printed(console)
        assert text.count(visible(title)) == 2


def test_pages_and_tables_of_reports() -> None:
    for title in HOSTILE:
        page = html.table(title, ["model", title], [[title, "1"]])
        assert isinstance(page, Markup)
        assert acting(page.replace("\t", "")) == set()
        assert acting(escaped(title)) == set()
    look = Look(color="#000000")
    lines = [Line(label=title, x=[0, 1], y=[0, 1], look=look) for title in HOSTILE]
    figure = Figure(
        name="f", title="t", text="", head=[], body=[], panels=[Panel(marks=lines)], legend="above"
    )
    picture = svg.draw(figure)
    assert acting(picture.replace("\t", "")) == set()
    assert ElementTree.fromstring(picture).tag.endswith("svg")
