"""The page of a conversation: survey, chat with cards, a state to edit, items, and dashboards.

Streamlit runs this file from top to bottom for every click; everything that lasts is in the session or the engine. Titles,
texts and messages are written by `st.text` and tables, which read no markup.
"""

import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl
import streamlit as st

from experiments.config.schema import TrackingConfig
from experiments.errors import PaddockError
from experiments.serving.feedback import Feedback, FeedbackStore
from experiments.talk.answers import SurveyAnswers
from experiments.talk.engine import Engine
from experiments.talk.evidence import Card
from experiments.talk.opened import opened
from experiments.talk.say import language_of, suggestion_line
from experiments.talk.sharing import Sharing
from experiments.talk.state import State
from experiments.talk.survey import answered, survey
from experiments.talk.turn import Turn
from experiments.tracking.traces import Traces
from experiments.visible import json_text, visible

PAGES = ("Talk", "Items", "Dashboards")
# Rows of a table. (A string below it would be shown: Streamlit draws what stands alone.)
MOST = 200
# Bars of a chart.
BARS = 30


@st.cache_resource(show_spinner="Opening the run…")
def engine_and_store(
    overrides: tuple[str, ...],
) -> tuple[Engine, FeedbackStore, TrackingConfig, Sharing]:
    """The engine, the database of feedback, where traces go, what items share: made once for all sessions."""
    engine, config = opened(overrides)
    store = FeedbackStore(config.talk.feedback)
    return engine, store, config.tracking, Sharing(engine.catalogue)


def page(overrides: Sequence[str]) -> None:
    """Draw the page.

    Parameters
    ----------
    overrides : sequence of str
        As of `run.py`.
    """
    st.set_page_config(page_title="Paddock", layout="centered")
    try:
        engine, store, tracking, sharing = engine_and_store(tuple(overrides))
    except PaddockError as error:
        st.error(_plain(str(error)))
        return
    session = st.session_state
    session.setdefault("state", State())
    session.setdefault("turns", [])
    session.setdefault("id", uuid.uuid4().hex)
    if "traces" not in session:
        session.traces = Traces(tracking, dataset=engine.name, session=session.id)
    st.title("Paddock")
    chosen = st.radio("Page", PAGES, horizontal=True, label_visibility="collapsed")
    if chosen == "Talk":
        # What is said changes the state, which the panel shows.
        _hear(engine)
        _sidebar(engine, store)
        _chat(engine, store)
    elif chosen == "Items":
        _items(engine, sharing)
    else:
        _dashboards(engine, store)


def _sidebar(engine: Engine, store: FeedbackStore) -> None:
    session = st.session_state
    with st.sidebar:
        origin = engine.ranker.origin
        st.caption("Ranked by")
        st.text(visible(f"{origin.get('model', '')} on {engine.name}"))
        with st.form("survey form"):
            st.subheader("About you")
            answers = {}
            for question in survey(engine.catalogue):
                known = session.state.profile.get(question.column, "")
                if question.options:
                    options = ["", *question.options]
                    place = options.index(known) if known in options else 0
                    answers[question.column] = st.selectbox(
                        question.name, options, index=place, key=f"survey {question.column}"
                    )
                else:
                    answers[question.column] = st.text_input(
                        question.name, known, max_chars=10, key=f"survey {question.column}"
                    )
            if st.form_submit_button("Save"):
                try:
                    session.state = answered(session.state, answers, engine.catalogue)
                    SurveyAnswers(store).keep(session.id, session.state.profile)
                    st.rerun()
                except PaddockError as error:
                    st.error(_plain(str(error)))
        with st.form("state form"):
            st.subheader("What I know")
            st.caption("Likes, dislikes, filters and profile: edit them as you like.")
            edited = st.text_area(
                "State", json_text(asdict(session.state)), height=260, label_visibility="collapsed"
            )
            if st.form_submit_button("Apply"):
                try:
                    changed = State.from_json(edited)
                    engine.check(changed)
                    session.state = changed
                    st.rerun()
                except PaddockError as error:
                    st.error(_plain(str(error)))
        if st.button("Start over"):
            session.state, session.turns = State(), []
            st.rerun()


def _hear(engine: Engine) -> None:
    session = st.session_state
    message = st.chat_input("Say what you like, or ask for something")
    if message:
        try:
            made = engine.turn(session.state, message)
            session.state = made.state
            session.traces.log(
                made.trace, message=message, words=made.words, state=asdict(made.state)
            )
            session.turns = [*session.turns, (message, made, "")]
        except PaddockError as error:
            session.turns = [*session.turns, (message, None, str(error))]


def _chat(engine: Engine, store: FeedbackStore) -> None:
    session = st.session_state
    if not session.turns:
        best_known = engine.catalogue.titles[int(engine.catalogue.popularity.argmax())]
        st.text(visible(f"For example: I loved {best_known}. Recommend something like it."))
        st.caption("The panel on the left has a short survey, and all that I know of you.")
    for number, (said, made, problem) in enumerate(session.turns):
        with st.chat_message("user"):
            st.text(visible(said))
        with st.chat_message("assistant"):
            if made is None:
                st.error(_plain(problem))
            else:
                _turn(engine, store, made, said, number, last=number == len(session.turns) - 1)


def _turn(
    engine: Engine, store: FeedbackStore, made: Turn, said: str, number: int, *, last: bool
) -> None:
    if made.table is not None:
        frame = pl.DataFrame(
            made.table.rows, schema=made.table.columns, orient="row", infer_schema_length=None
        )
        st.dataframe(frame, hide_index=True)
        numbers = [name for name, kind in frame.schema.items() if kind.is_numeric()]
        if frame.height > 1 and numbers and frame.columns[0] not in numbers[-1:]:
            st.bar_chart(frame, x=frame.columns[0], y=numbers[-1])
        st.code(made.table.sql, language="sql", wrap_lines=True)
        return
    lines = made.words.split("\n")
    # What is on the cards is not said twice.
    on_cards = {f"{card.rank}. " for card in made.items}
    st.text("\n".join(line for line in lines if not line.startswith(tuple(on_cards))) or lines[0])
    if made.outside is not None:
        with st.container(border=True):
            st.caption("Not in this catalogue")
            st.text(visible(suggestion_line(made.outside, language_of(said))))
    for card in made.items:
        _card(engine, store, made, card, f"{number} {card.item}", last=last)


def _card(
    engine: Engine, store: FeedbackStore, made: Turn, card: Card, key: str, *, last: bool
) -> None:
    with st.container(border=True):
        st.text(visible(f"{card.rank}. {card.title}"))
        st.text(visible("; ".join(f"{name}: {value}" for name, value in card.facts)))
        for reason in card.reasons:
            st.text(visible(f"because {reason.text}"))
        for quote in card.quotes:
            st.text(visible(f"“{quote.text}” [{quote.id}]"))
        st.caption(f"Score {card.score:.3f}")
        if last:
            # Columns would stand one below the other on a phone.
            with st.container(horizontal=True):
                if st.button("Like", key=f"like {key}"):
                    _judge(store, made, card, "like")
                if st.button("Dislike", key=f"dislike {key}"):
                    _judge(store, made, card, "dislike")


def _judge(store: FeedbackStore, made: Turn, card: Card, kind: Any) -> None:
    """Take an opinion over into the state and the database."""
    session = st.session_state
    session.state = session.state.judged(card.item, kind)
    record = Feedback(
        key=f"{made.trace['id']} {card.item[:150]} {kind}",
        item=card.item,
        kind=kind,
        time=time.time(),
        user=session.state.user,
        session=session.id,
        origin=str(made.trace["origin"].get("run_id") or "") or None,
    )
    try:
        store.add([record])
        session.traces.assess(made.trace["id"], item=card.item, kind=kind)
        st.toast("Noted.")
    except PaddockError as error:
        st.error(_plain(str(error)))
    else:
        st.rerun()


def _items(engine: Engine, sharing: Sharing) -> None:
    """An item's facts, and everything that shares one of them."""
    catalogue = engine.catalogue
    order = sorted(range(len(catalogue.titles)), key=lambda row: catalogue.titles[row].casefold())
    row = st.selectbox(
        "Item",
        order,
        format_func=lambda each: visible(catalogue.titles[each] or catalogue.tokens[each]),
    )
    if row is None:
        return
    st.text(f"{int(catalogue.popularity[row])} people {engine.past} it")
    if engine.texts is not None:
        for quote in engine.texts.quotes(row, "", most=5):
            st.text(visible(f"“{quote.text}” [{quote.id}]"))
    facts = sharing.facts(row)
    if not facts:
        st.caption("Nothing else is known of it.")
        return
    fact = st.selectbox(
        "Everything with the same",
        facts,
        format_func=lambda each: visible(f"{each[0].replace('_', ' ')}: {each[1]}"),
    )
    if fact is None:
        return
    shares = sharing.rows(*fact)
    st.text(f"{len(shares)} items")
    st.dataframe(
        pl.DataFrame(
            {
                "title": [
                    visible(catalogue.titles[each] or catalogue.tokens[each])
                    for each in shares[:MOST]
                ],
                "people": [int(catalogue.popularity[each]) for each in shares[:MOST]],
            }
        ),
        hide_index=True,
    )


def _dashboards(engine: Engine, store: FeedbackStore) -> None:
    """Who the users are, by the questions of the survey, and what was said of recommendations."""
    known = engine.catalogue.users
    questions = survey(engine.catalogue)
    try:
        answers = SurveyAnswers(store)
        told = {each.column: answers.values(each.column) for each in questions}
        records = store.read()
    except PaddockError as error:
        st.error(_plain(str(error)))
        return
    st.subheader("Survey")
    for question in questions:
        here = told[question.column]
        for who, cells in (
            (f"of the {known.height} users", known[question.column]),
            (f"answered here by {len(here)}", pl.Series("value", here, dtype=pl.String)),
        ):
            if len(cells):
                st.text(visible(f"{question.name}, {who}"))
                st.bar_chart(_counted(cells), x="value", y="people", height=220)
    st.subheader("Feedback")
    st.text(f"{len(records)} answers of {len({each.who for each in records})} people")
    if not records:
        return
    kinds = pl.Series("value", [each.kind for each in records])
    st.bar_chart(_counted(kinds), x="value", y="people", height=220, y_label="answers")
    titles = dict(zip(engine.catalogue.tokens, engine.catalogue.titles, strict=True))
    counted = Counter((each.item, each.kind) for each in records)
    rows = [
        {"title": visible(titles.get(item) or item), "kind": kind, "answers": count}
        for (item, kind), count in counted.most_common(MOST)
    ]
    st.dataframe(pl.DataFrame(rows), hide_index=True)


def _counted(cells: pl.Series) -> pl.DataFrame:
    """How many people have each value; numbers of many values by tens."""
    values = cells.explode() if isinstance(cells.dtype, pl.List) else cells
    values = values.drop_nulls().alias("value")
    numbers = values.cast(pl.Float64, strict=False)
    if not numbers.null_count() and numbers.n_unique() > BARS:
        values = (numbers // 10 * 10).cast(pl.Int64).alias("value")
    counts = values.value_counts(sort=True, name="people").head(BARS)
    return counts.with_columns(pl.col("value").cast(pl.String).map_elements(visible, pl.String))


def _plain(text: str) -> str:
    """A text whose marks are no markup, for what reads markup."""
    marks = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]()<>#+-.!|$:~"})
    return visible(text).translate(marks)


if __name__ == "__main__":
    page(sys.argv[1:])
