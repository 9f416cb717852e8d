"""Probes of language models: what is taken away is gone, and a model that cheats is found out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments.config.compose import compose, typed
from experiments.config.resolve import resolve_model
from experiments.config.schema import RankingConfig
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.evaluation import probes as module
from experiments.evaluation.evaluate import RankingTask
from experiments.evaluation.probes import (
    list_completion,
    neutral,
    popularity,
    probes,
    removed,
    shuffled,
)
from experiments.protocol.candidates import candidates
from experiments.protocol.split import Sequences, Split

SEQUENCES = Sequences(
    indptr=np.array([0, 0, 3, 3, 8]), items=np.array([5, 6, 7, 1, 2, 3, 4, 9], dtype=np.int32)
)


def test_a_shuffled_history_holds_the_same_items() -> None:
    made = shuffled(SEQUENCES)
    assert [sorted(made.of(row)) for row in range(4)] == [
        sorted(SEQUENCES.of(row)) for row in range(4)
    ]
    long = Sequences(indptr=np.array([0, 0, 50]), items=np.arange(50, dtype=np.int32))
    assert not np.array_equal(shuffled(long).items, long.items)
    assert np.array_equal(shuffled(long).items, shuffled(long).items)


def test_a_removed_history_is_empty() -> None:
    made = removed(SEQUENCES)
    assert len(made) == len(SEQUENCES)
    assert made.lengths.sum() == 0


def test_neutral_titles_differ_and_tell_no_order() -> None:
    made = neutral([f"film {number}" for number in range(40)])
    assert made[0] == ""
    assert len(set(made)) == 40
    numbers = [int(title.removeprefix("Item ")) for title in made[1:]]
    assert sorted(numbers) != numbers


class Reciter:
    """As much of a language model as knows a list by heart, or likes titles by a table."""

    eos = 0

    def opening(self) -> list[int]:
        return []

    def tokens(self, texts: list[str]) -> list[list[int]]:
        return [
            [1 + TITLES.index(line) for line in text.split("\n") if line and line in TITLES]
            for text in texts
        ]

    def embed(self, tokens: Tensor) -> Tensor:
        return tokens

    device = torch.device("cpu")


TITLES = ["", *(f"Film {chr(65 + number % 26)}{number}" for number in range(60))]


def recited(_: Any, embedded: Any, prompt_B: Tensor, answers: Any) -> Tensor:
    """The title after the prompt's last one is the likeliest."""
    rows = embedded(torch.arange(len(prompt_B)), int(prompt_B.max()))
    last_B = rows.gather(1, prompt_B[:, None] - 1)[:, 0]
    return -(answers.tokens_BCT[:, :, 0] - (last_B + 1)[:, None]).abs().float()


def test_a_model_that_knows_the_catalogue_by_heart_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "rank_in_pieces", recited)
    tokens = ["", *(str(number) for number in range(60))]
    found = list_completion(Reciter(), TITLES, tokens)  # type: ignore[arg-type]
    assert found["list_hit_at_1"] == 1.0
    assert found["list_control_hit_at_1"] < 0.3
    # In another order of the catalogue, it knows nothing.
    mixed = ["", *(str(number * 7 % 60) for number in range(1, 61))]
    assert list_completion(Reciter(), TITLES, mixed)["list_hit_at_1"] < 0.3  # type: ignore[arg-type]


def test_a_model_that_likes_what_is_popular_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    interactions = np.array([0, *np.random.default_rng(1).permutation(60)])

    def liked(_: Any, embedded: Any, prompt_B: Tensor, answers: Any) -> Tensor:
        return torch.from_numpy(interactions)[answers.tokens_BCT[:, :, 0] - 1].float()

    monkeypatch.setattr(module, "rank_in_pieces", liked)
    assert popularity(Reciter(), TITLES, interactions) == {"spearman": pytest.approx(1.0)}  # type: ignore[arg-type]
    assert popularity(Reciter(), TITLES, -interactions) == {"spearman": pytest.approx(-1.0)}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def measured(
    fit: Callable[..., Any],
    tiny_data: Prepared,
    tiny_split: Split,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, float]:
    """All probes of a small A-LLMRec."""
    from tests.small_allmrec import SMALL

    folder = tmp_path_factory.mktemp("candidates")
    names = "[history_shuffled,history_removed,titles_neutral,leakage,popularity]"
    words = ["model=a_llmrec", "dataset=tiny", *SMALL, f"model.probes={names}"]
    trained = fit(resolve_model(typed(compose(words)).model), tiny_data, tiny_split)
    ranking = RankingConfig(candidates=5, cutoffs=[1, 5])
    task = RankingTask(
        split=tiny_split,
        phase="test",
        rankings={"c5": ranking},
        candidates={"c5": candidates(tiny_data, tiny_split, "test", size=5, seed=1, folder=folder)},
        metrics=["hit", "ndcg"],
    )
    before = trained.model.prompts
    made = probes(
        trained.model,
        trained.dataset,
        task,
        titles=tiny_data.item_titles,
        tokens=tiny_data.item_tokens,
    )
    assert trained.model.prompts is before
    return made


def test_every_probe_is_told_under_its_name(measured: dict[str, float]) -> None:
    rankings = {
        f"{name}/c5/hit_at_5" for name in ("history_shuffled", "history_removed", "titles_neutral")
    }
    lists = {"leakage/list_hit_at_1", "leakage/list_control_hit_at_1", "popularity/spearman"}
    assert rankings | lists <= set(measured)
    assert all(measured[name] == 1.0 for name in rankings)
    assert all(np.isfinite(value) for value in measured.values())


def test_an_unknown_probe_is_told() -> None:
    with pytest.raises(PaddockError, match="probes: magic is unknown: choose of history_shuffled"):
        resolve_model(typed(compose(["model=a_llmrec", "model.probes=[magic]"])).model)
