"""The best items of a user by approximate search, held against all products."""

import numpy as np
import pytest

from experiments.serving.products import factors_of
from experiments.serving.recommender import Recommender
from experiments.serving.requests import Request
from tests.commands.command_line import CommandLine

pytest.importorskip("faiss")

PRODUCTS = {
    "sasrec": ("model.epochs=1", "model.hidden_size=16"),
    "bpr": ("model.epochs=1",),
    "lightgcn": ("model.epochs=1",),
    "als": ("model.epochs=2",),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(tmp_path_factory.mktemp("products"))


def opened(paddock: CommandLine, model: str, *words: str, above: int | None) -> Recommender:
    run = paddock.trained("dataset=tiny", "device=cpu", f"model={model}", *words)
    return Recommender.load(run.path, index_above=above, text_encoder=None)


@pytest.mark.parametrize("model", list(PRODUCTS))
def test_approximate_lists_are_nearly_the_exact_ones(model: str, trained: CommandLine) -> None:
    words = PRODUCTS[model]
    exact = opened(trained, model, *words, above=None)
    indexed = Recommender.load(exact.origin.folder, index_above=0, text_encoder=None)
    assert exact.products is None
    assert indexed.products is not None
    assert indexed.products.recall > 0.95
    shares = []
    for number in range(1, 21):
        request = Request(user=f"u{number}", k=10)
        all_of_them, found = exact.recommend(request), indexed.recommend(request)
        assert all_of_them.notes == ()
        (note,) = found.notes
        assert note.endswith("of the ten best are found")
        scores = {
            item.item: item.score
            for item in exact.recommend(Request(user=f"u{number}", k=400)).items
        }
        for item in found.items:  # nothing of the history, and the scores of the model itself
            assert item.score == pytest.approx(scores[item.item], rel=1e-3, abs=1e-4)
        both = {item.item for item in all_of_them.items} & {item.item for item in found.items}
        shares.append(len(both) / 10)
    assert np.mean(shares) > 0.95
    assert found.items[0].reasons[0] == all_of_them.items[0].reasons[0]


def test_what_asks_for_more_is_looked_through_whole(trained: CommandLine) -> None:
    recommender = opened(trained, "sasrec", *PRODUCTS["sasrec"], above=0)
    of_history = recommender.recommend(Request(history=("i3", "i9"), k=5))
    assert "searched approximately" in of_history.notes[0]
    for request in (
        Request(user="u1", k=5, dislikes=("i3",)),
        Request(user="u1", k=5, where="year>=1990"),
        Request(user="u1", k=5, query="dragon"),
        Request(user="u1", k=100_000),
        Request(k=5),
    ):
        notes = recommender.recommend(request).notes
        assert not any("searched approximately" in note for note in notes), request


def test_scores_that_are_no_products_are_never_indexed(trained: CommandLine) -> None:
    recommender = opened(trained, "ease", above=0)
    assert factors_of(recommender.scoring, recommender.data) is None
    assert recommender.products is None


def test_vectors_that_do_not_make_the_scores_are_not_taken(trained: CommandLine) -> None:
    recommender = opened(trained, "bpr", *PRODUCTS["bpr"], above=0)
    scorer = recommender.scoring.known
    exact = scorer.score(np.arange(1, 5)).clone()
    model = recommender.scoring.model
    whole = model.full_sort_predict
    model.full_sort_predict = lambda batch: whole(batch) * 1.01
    assert not np.allclose(scorer.score(np.arange(1, 5)), exact)
    assert factors_of(recommender.scoring, recommender.data) is None
