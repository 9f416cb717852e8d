"""What models read of a user when they are scored, against rows made another way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.bridge.inputs import attributes, reads_histories, rows_of
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.training.build import Built, build
from experiments.training.context import TrainingContext

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

USERS = np.arange(1, 201)

NETWORKS: dict[str, dict[str, Any]] = {
    "MultiVAE": {},
    "RaCT": {"train_stage": "actor_pretrain"},
    "MultiDAE": {},
    "MacridVAE": {},
    "RecVAE": {},
    "CDAE": {},
    "DiffRec": {"dims_dnn": [8]},
    "FISM": {},
    "NAIS": {},
    "SimpleX": {"history_len": 100},
    "DMF": {},
}
"""Models with weights and rows of their users' items."""

Make = Callable[..., Built]


@pytest.fixture
def make(tiny_data: Prepared, tmp_path: Path) -> Make:
    def build_on(split: Split, name: str, **keys: Any) -> Built:
        context = TrainingContext(
            data=tiny_data, split=split, seed=1, device=torch.device("cpu"), folder=tmp_path
        )
        return build(dict(resolve_model({"name": name, **keys}).last), context)

    return build_on


def scored(built: Built, split: Split, phase: Any, **how: Any) -> torch.Tensor:
    scorer = RecBoleScorer(built.model, dataset=built.dataset, history=split.history(phase), **how)
    torch.manual_seed(0)  # DiffRec draws while it scores
    return scorer.score(USERS)


def history_matrix(split: Split) -> np.ndarray:
    """The interactions of the test's histories, counted one by one."""
    counts = np.zeros((split.n_users + 1, split.n_items + 1))
    for user, item, part in zip(split.row_users, split.row_items, split.part, strict=True):
        if part < 2:
            counts[user, item] += 1
    return counts


@pytest.mark.parametrize("name", ["EASE", "SLIMElastic"])
def test_linear_models_multiply_the_whole_history(name: str, tiny_split: Split, make: Make) -> None:
    built = make(tiny_split, name)
    weights_NN = built.model.item_similarity
    weights_NN = weights_NN.toarray() if name == "SLIMElastic" else np.asarray(weights_NN)
    expected = history_matrix(tiny_split)[USERS] @ weights_NN
    np.testing.assert_allclose(
        scored(built, tiny_split, "test").numpy(), expected, rtol=1e-4, atol=1e-5
    )


def test_admm_slim_adds_no_more_than_its_noise(tiny_split: Split, make: Make) -> None:
    built = make(tiny_split, "ADMMSLIM", center_columns=False)
    expected = history_matrix(tiny_split)[USERS] @ built.model.item_similarity
    error = np.abs(scored(built, tiny_split, "test").numpy() - expected)
    assert error.max() < 1e-4


def test_item_neighbours_add_up_over_the_whole_history(tiny_split: Split, make: Make) -> None:
    built = make(tiny_split, "ItemKNN")
    expected = history_matrix(tiny_split)[USERS] @ built.model.w.toarray()
    np.testing.assert_allclose(
        scored(built, tiny_split, "test").numpy(), expected, rtol=1e-5, atol=1e-6
    )


def test_asymmetric_neighbours_weigh_the_whole_history(tiny_split: Split, make: Make) -> None:
    """RecBole's own matrix of predictions, of a model that was made of the training rows alone."""
    built = make(tiny_split, "AsymKNN", beta=0.3, q=2)
    scorer = RecBoleScorer(built.model, dataset=built.dataset, history=tiny_split.history("test"))
    known = history_matrix(tiny_split)
    weights_NN = built.model.w.toarray()
    row_norms = np.sqrt((known**2).sum(1)) ** (2 * 0.3)
    item_norms = np.sqrt((weights_NN**2).sum(1)) ** (2 * 0.7)
    expected = ((known @ weights_NN) / (np.outer(row_norms, item_norms) + 1e-6)) ** 2
    np.testing.assert_allclose(scorer.score(USERS).numpy(), expected[USERS], rtol=1e-4, atol=1e-9)
    # The same formula on the training rows is what RecBole computes.
    with attributes(built.model, None):
        own = built.model.pred_mat.toarray()
    trained = np.zeros_like(known)
    np.add.at(trained, (tiny_split.train_users, tiny_split.train_items), 1)
    row_norms = np.sqrt((trained**2).sum(1)) ** (2 * 0.3)
    again = ((trained @ weights_NN) / (np.outer(row_norms, item_norms) + 1e-6)) ** 2
    np.testing.assert_allclose(own, again, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_score_as_if_made_on_the_whole_history(
    name: str, tiny_split: Split, make: Make
) -> None:
    """The same weights in a model that RecBole makes with the valid items among its rows."""
    ours = make(tiny_split, name, **NETWORKS[name])
    other = make(tiny_split.refitted(), name, **NETWORKS[name])
    other.model.load_state_dict(ours.model.state_dict())
    if name == "DMF":
        # Its items are read from the users of the training part, whoever is scored.
        other.model.interaction_matrix = ours.model.interaction_matrix
    expected = scored(other, tiny_split, "test", trained_rows=True)
    found = scored(ours, tiny_split, "test")
    torch.testing.assert_close(found[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-6)
    assert not torch.equal(found, scored(ours, tiny_split, "test", trained_rows=True))


@pytest.mark.parametrize("name", ["EASE", "ItemKNN", "MultiVAE", "FISM"])
def test_a_model_keeps_its_own_rows(name: str, tiny_split: Split, make: Make) -> None:
    built = make(tiny_split, name)
    before = scored(built, tiny_split, "valid")
    scored(built, tiny_split, "test")
    assert torch.equal(scored(built, tiny_split, "valid"), before)
    # Training rows need not be laid out again for every validation.
    assert rows_of(built.model, built.dataset, tiny_split.history("valid")) is None


def test_scoring_leaves_the_random_bits_of_training(tiny_split: Split, make: Make) -> None:
    built = make(tiny_split, "MultiDAE")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert rows_of(built.model, built.dataset, tiny_split.history("test")) is not None
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("ItemKNN", {"knn_method": "user"}),
        ("AsymKNN", {"knn_method": "user"}),
        ("BPR", {}),
        ("LightGCN", {}),
        ("ENMF", {}),
    ],
)
def test_models_with_a_learned_user_read_no_history(
    name: str, keys: dict[str, Any], tiny_split: Split, make: Make
) -> None:
    built = make(tiny_split, name, **keys)
    assert not reads_histories(built.model)
    torch.testing.assert_close(
        scored(built, tiny_split, "test"), scored(built, tiny_split, "valid")
    )


def test_the_second_training_holds_train_and_valid_and_no_test(tiny_split: Split) -> None:
    again = tiny_split.refitted()
    held = set(zip(again.train_users.tolist(), again.train_items.tolist(), strict=True))
    known = {
        (user, item)
        for user, item, part in zip(
            tiny_split.row_users.tolist(),
            tiny_split.row_items.tolist(),
            tiny_split.part.tolist(),
            strict=True,
        )
        if part < 2
    }
    assert held == known
    assert len(again.users("valid")) == 0
    for phase_of in ("history", "targets", "masked"):
        theirs, ours = getattr(again, phase_of)("test"), getattr(tiny_split, phase_of)("test")
        np.testing.assert_array_equal(theirs.items, ours.items)
    assert again.hash != tiny_split.hash
    assert again.parts_hash != tiny_split.parts_hash
