"""Answers to the survey: the last ones of each visitor, beside the feedback."""

import sqlite3
from pathlib import Path

from experiments.serving.feedback import Feedback, FeedbackStore
from experiments.talk.answers import SurveyAnswers


def test_the_last_answers_of_each_visitor_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "feedback.db"
    store = FeedbackStore(f"sqlite:///{file}")
    store.add([Feedback(key="k", item="i", kind="like", time=1.0, session="s")])
    answers = SurveyAnswers(store)
    answers.keep("one", {"skin_type": "oily", "age": "25"})
    answers.keep("two", {"skin_type": "dry'); DROP TABLE paddock_feedback; --"})
    answers.keep("one", {"skin_type": "dry"})
    assert answers.values("skin_type") == ["dry", "dry'); DROP TABLE paddock_feedback; --"]
    assert answers.values("age") == []
    answers.keep("one", {})
    again = SurveyAnswers(FeedbackStore(store.url))
    assert again.values("skin_type") == ["dry'); DROP TABLE paddock_feedback; --"]
    assert len(store.read()) == 1
    with sqlite3.connect(file) as plain:
        assert plain.execute("SELECT count(*) FROM paddock_survey").fetchone() == (1,)
