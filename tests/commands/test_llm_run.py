"""A run with the tiny language model says what its numbers are not."""

import pytest

from tests.small_allmrec import SMALL

from .command_line import CommandLine

COMMON = ("model=a_llmrec", "dataset=tiny", "device=cpu", "threads=1", "protocol.scored_users=20")
AGAIN = "full: the backbone's top 4 ranked again"


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The leaderboard of each protocol."""
    paddock = CommandLine(tmp_path_factory.mktemp("llm"))
    told = {}
    for protocol in ("loo", "loo-c20"):
        paddock.trained(*COMMON, *SMALL, f"protocol={protocol}")
        answer = paddock("mode=leaderboard", "dataset=tiny", f"protocol={protocol}")
        assert answer.code == 0, answer.err
        told[protocol] = " ".join(answer.out.split())
    return told


def test_the_tiny_language_model_is_marked(boards: dict[str, str]) -> None:
    for told in boards.values():
        assert "tiny LLM: mechanics only" in told


def test_ranking_again_is_told_where_all_items_are_ranked(boards: dict[str, str]) -> None:
    assert AGAIN in boards["loo"]
    assert AGAIN not in boards["loo-c20"]
