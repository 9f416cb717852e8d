"""The words that a report is asked for by."""

import subprocess
import sys
from pathlib import Path

import pytest

from reports.errors import ReportError
from reports.options import Options, parse

ROOT = Path(__file__).parents[2]

MISTAKES = {
    "a misspelt key": (["dataste=ml-1m"], ["dataste", "did you mean dataset?"]),
    "a misspelt dotted key": (["tracking.url=x"], ["did you mean tracking.uri?"]),
    "no value": (["dataset"], ["KEY=VALUE"]),
    "alpha that is no number": (["alpha=small"], ["alpha=small", "number"]),
    "alpha out of range": (["alpha=1.5"], ["alpha=1.5", "below 1"]),
    "a truth value": (["dirty=yes"], ["dirty=yes", "true or false"]),
    "an unknown choice": (["configurations=bset"], ["did you mean best?"]),
    "a name that leaves the folder": (["name=../elsewhere"], ["name=../elsewhere"]),
    "an empty data set": (["dataset="], ["dataset", "empty"]),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_told_in_one_sentence(what: str) -> None:
    words, told = MISTAKES[what]
    with pytest.raises(ReportError) as caught:
        parse(words)
    for part in told:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_words_become_options() -> None:
    made = parse(
        ["dataset=ml-1m", "metrics=[full/hit@1, c20/hit_at_1]", "alpha=0.01", "dirty=true"]
    )
    assert made == Options(
        dataset="ml-1m", metrics=("full/hit@1", "c20/hit_at_1"), alpha=0.01, dirty=True
    )
    assert parse([]) == Options()


def test_main_is_the_experiment_of_data_set_and_protocol() -> None:
    assert parse(["dataset=a", "protocol=b"]).experiment_name == "a/b"
    assert parse(["dataset=a", "protocol=b", "experiment=hpo"]).experiment_name == "a/b/hpo"
    assert parse(["dataset=a", "protocol=b", "experiment=hpo"]).folder == "a-b-hpo"


def test_the_command_line_answers_in_one_sentence(tmp_path: Path) -> None:
    """A store that is not there is not created either."""
    for words in (["dataste=x"], [f"tracking.uri=sqlite:///{tmp_path}/none.db"]):
        done = subprocess.run(
            [sys.executable, "-m", "reports", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
