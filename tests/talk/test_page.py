"""The page: its logic by streamlit's own tester, its looks in a browser over a real server."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.commands.talk_page import PAGE, environment, page_command
from experiments.serving.feedback import FeedbackStore
from experiments.talk.answers import SurveyAnswers
from experiments.talk.state import State
from experiments.tracking.page import free_port
from tests.browser import open_page
from tests.commands.command_line import ROOT, CommandLine
from tests.llm_server import Server

LIKED = "The Longing Heart"
PATIENCE = 300


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    paddock = CommandLine(tmp_path_factory.mktemp("page"))
    answer = paddock("dataset=tiny", "model=ease", "device=cpu")
    assert answer.code == 0, answer.err
    store = f"talk.feedback=sqlite:///{paddock.folder / 'feedback.db'}"
    return ["dataset=tiny", "k=3", store, *paddock.arguments()]


@pytest.fixture
def app(overrides: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    testing = pytest.importorskip("streamlit.testing.v1")
    monkeypatch.setattr(sys, "argv", ["page.py", *overrides])
    return testing.AppTest.from_file(str(PAGE), default_timeout=PATIENCE).run()


def texts(app: Any) -> str:
    return "\n".join(each.value for each in app.text)


def say(app: Any, message: str) -> Any:
    return app.chat_input[0].set_value(message).run()


def button(app: Any, label: str, place: int = 0) -> Any:
    return [each for each in app.button if each.label == label][place]


def test_a_conversation(app: Any, overrides: list[str]) -> None:
    assert not app.exception
    say(app, f"I loved {LIKED}")
    assert app.session_state.state.likes == ("i1",)
    assert f"Noted: you like {LIKED}." in texts(app)
    assert "1. " in texts(app)
    made = app.session_state.turns[-1][1]
    button(app, "Dislike", 1).click().run()
    assert app.session_state.state.dislikes == (made.items[1].item,)
    url = next(each for each in overrides if "feedback" in each).partition("=")[2]
    (record,) = [each for each in FeedbackStore(url).read() if each.session == app.session_state.id]
    assert (record.item, record.kind) == (made.items[1].item, "dislike")
    say(app, "how many items are there")
    assert app.dataframe[0].value.to_numpy().tolist() == [[120]]
    assert "SELECT" in app.code[0].value
    say(app, "x" * 5000)
    assert "characters" in app.error[0].value
    assert not app.exception
    button(app, "Start over").click().run()
    assert app.session_state.state == State()


def test_a_suggestion_stands_apart(
    overrides: list[str], monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    testing = pytest.importorskip("streamlit.testing.v1")
    words = [f"llm_client.base_url={server.url}", "talk.suggest_outside=true", "talk.llm_steps=[]"]
    monkeypatch.setattr(sys, "argv", ["page.py", *overrides, *words])
    app = testing.AppTest.from_file(str(PAGE), default_timeout=PATIENCE).run()
    server.says({"title": "A <b>Trip</b> to the Moon"})
    say(app, "a romance from before 1900")
    assert not app.exception
    made = app.session_state.turns[-1][1]
    assert made.items == ()
    assert "Not in this catalogue" in [each.value for each in app.caption]
    shown = [each.value for each in app.text if "A <b>Trip</b> to the Moon" in each.value]
    assert len(shown) == 1
    assert shown[0].startswith("From outside of the catalogue, unchecked")


def test_the_state_is_edited(app: Any) -> None:
    app.text_area[0].set_value('{"likes": ["i1"], "filters": ["year >= 2000"]}')
    button(app, "Apply").click().run()
    assert app.session_state.state == State(likes=("i1",), filters=("year >= 2000",))
    for text, said in (
        ('{"likes": ["zzz"]}', "no item"),
        ("{", "no JSON"),
        ('{"filters": ["a"]}', "sign"),
    ):
        app.text_area[0].set_value(text)
        button(app, "Apply").click().run()
        assert said in app.error[0].value
    assert app.session_state.state.likes == ("i1",)


def test_the_survey(app: Any, overrides: list[str]) -> None:
    country = next(each for each in app.selectbox if each.label == "country")
    country.set_value("kr")
    button(app, "Save").click().run()
    assert app.session_state.state.profile == {"country": "kr"}
    url = next(each for each in overrides if "feedback" in each).partition("=")[2]
    answers = SurveyAnswers(FeedbackStore(url))
    assert "kr" in answers.values("country")
    before = len(answers.values("country"))
    button(app, "Save").click().run()
    assert len(answers.values("country")) == before
    say(app, "recommend something")
    assert "country=kr" in texts(app)
    age = next(each for each in app.text_input if each.label == "age")
    age.set_value("old")
    button(app, "Save").click().run()
    assert "is a number" in app.error[0].value
    app.radio[0].set_value("Dashboards").run()
    assert f"country, answered here by {before}" in texts(app)


def test_items_and_dashboards(app: Any) -> None:
    # Nothing is drawn that only stands in the code.
    assert not app.markdown
    app.radio[0].set_value("Items").run()
    item, fact = app.selectbox
    assert isinstance(item.value, int)
    assert "people read it" in texts(app)
    genre = next(each for each in fact.options if each.startswith("genres: "))
    fact.set_value(tuple(genre.split(": "))).run()
    shown = app.dataframe[0].value
    assert shown["people"].is_monotonic_decreasing
    assert f"{len(shown)} items" in texts(app)
    app.radio[0].set_value("Dashboards").run()
    assert "country, of the 200 users" in texts(app)
    assert "answers of" in texts(app)
    assert not app.exception


def test_no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    testing = pytest.importorskip("streamlit.testing.v1")
    paddock = CommandLine(tmp_path)
    monkeypatch.setattr(sys, "argv", ["page.py", *paddock.arguments("dataset=tiny")])
    app = testing.AppTest.from_file(str(PAGE), default_timeout=PATIENCE).run()
    assert "no finished run" in app.error[0].value
    assert not app.exception


@pytest.fixture(scope="module")
def address(overrides: list[str]) -> Iterator[str]:
    """The page as `paddock talk` serves it."""
    port = free_port(8501)
    process = subprocess.Popen(
        page_command(overrides, port=port),
        cwd=ROOT,
        env={**environment(), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, "the page ended"
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < end, "the page does not answer"
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(browser: Any, address: str, width: int) -> None:
    """On a desk and on a phone: a message is answered by cards, and nothing is asked of other hosts."""
    opened = open_page(browser, address, allowed=address, viewport={"width": width, "height": 840})
    page = opened.page
    box = page.get_by_placeholder("Say what you like, or ask for something")
    box.wait_for()
    box.fill("I loved The Longing Heart <script>document.title='hacked'</script>")
    box.press("Enter")
    page.get_by_text("Noted: you like The Longing Heart.").wait_for()
    page.get_by_role("button", name="Like", exact=True).first.wait_for()
    assert page.title() == "Paddock"
    fits = "document.documentElement.scrollWidth <= window.innerWidth"
    assert page.evaluate(fits)
    for name, shown in (("Items", "Everything with the same"), ("Dashboards", "country, of the")):
        page.get_by_text(name, exact=True).first.click()
        page.get_by_text(shown).first.wait_for()
        assert page.evaluate(fits)
    page.context.close()
    assert not [each for each in opened.blocked if each.startswith("http")]


def test_the_page_is_on_loopback() -> None:
    assert "--server.address=127.0.0.1" in page_command([])
    assert environment()["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)
