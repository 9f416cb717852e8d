"""A run with the tiny language model says what its numbers are not."""

from pathlib import Path

import pytest

from tests.small_allmrec import SMALL

from .command_line import CommandLine

COMMON = ("model=a_llmrec", "dataset=tiny", "device=cpu", "threads=1", "protocol.scored_users=20")
AGAIN = "full: the backbone's top 4 ranked again"


@pytest.fixture(scope="module")
def paddock(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(tmp_path_factory.mktemp("llm"))


@pytest.fixture(scope="module")
def boards(paddock: CommandLine) -> dict[str, str]:
    """The leaderboard of each protocol."""
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


def test_a_fusion_takes_the_finished_run_and_asks_the_language_model_nothing(
    paddock: CommandLine, boards: dict[str, str]
) -> None:
    language = [word.replace("model.", "model.members.language.") for word in SMALL]
    recommender = [
        word.replace("model.backbone.", "model.members.recommender.")
        for word in SMALL
        if word.startswith("model.backbone.")
    ]

    def kept() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in paddock.folder.rglob("scores/*")}

    before = kept()
    made = paddock.trained(
        "model=a_llmrec-fusion",
        "model.members.language=a_llmrec",
        *COMMON[1:],
        *language,
        *recommender,
        "protocol=loo-c20",
    )
    assert {record["stage"] for record in made.curve} == {"train"}
    assert made.result["reused_seconds"] > 0
    assert len(before) >= 1
    assert kept() == before
    weights = [
        made.result["metrics"][f"test/weights/{each}"] for each in ("recommender", "language")
    ]
    assert sum(weights) == pytest.approx(1)
    assert "paddock.mechanics_only" in made.run["tags"]


@pytest.mark.parametrize("model", ["llm_rec", "llm_srec"])
def test_a_context_that_is_too_short_is_one_sentence(paddock: CommandLine, model: str) -> None:
    own = [word for word in SMALL if ".stages." not in word and "rerank" not in word]
    answer = paddock(
        f"model={model}", *COMMON[1:], *own, "protocol=loo-c20", "model.llm.context=64"
    )
    assert answer.code != 0
    assert "the language model's context of 64 positions: lower model.history_items" in answer.err
    assert "Traceback" not in answer.err
