"""Autoencoders on compressed rows, against RecBole's own classes on dense ones."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import MultiVAE as RecBoleMultiVAE
from recbole.model.general_recommender import RaCT as RecBoleRaCT
from torch import nn

from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.training.build import build
from experiments.training.context import TrainingContext
from models.multivae import MultiVAE
from models.ract import RaCT

CLASSES = {"MultiVAE": (MultiVAE, RecBoleMultiVAE), "RaCT": (RaCT, RecBoleRaCT)}
SMALL: dict[str, dict[str, Any]] = {
    "MultiVAE": {"mlp_hidden_size": [16, 12], "latent_dimension": 8},
    "RaCT": {
        "mlp_hidden_size": [16, 12],
        "latent_dimension": 8,
        "critic_layers": [5],
        "metrics_k": 10,
        "train_stage": "actor_pretrain",
    },
}
USERS = torch.tensor([5, 0, 3, 77, 3, 200, 1])
"""Out of order, one of them twice, and the padding, which has no items."""

Make = Callable[..., tuple[Any, Any]]


@pytest.fixture
def both(tiny_data: Prepared, tiny_split: Split, tmp_path: Path) -> Make:
    """Our model and RecBole's in training mode, with equal weights that are not the initial ones."""

    def make(
        name: str, data: Prepared = tiny_data, split: Split = tiny_split, **own: Any
    ) -> tuple[Any, Any]:
        ours, dataset, config = build(
            resolve_model({"name": name, **SMALL[name], **own}).last,
            TrainingContext(
                data=data, split=split, seed=3, device=torch.device("cpu"), folder=tmp_path
            ),
        )
        theirs = CLASSES[name][1](config, dataset)
        assert (type(ours), type(theirs)) == CLASSES[name]
        generator = torch.Generator().manual_seed(0)
        for value in ours.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.randn(value.shape, generator=generator).abs())
        theirs.load_state_dict(ours.state_dict())
        ours.load_state_dict(theirs.state_dict())
        return ours.train(), theirs.train()

    return make


def users(ids: torch.Tensor = USERS) -> Interaction:
    return Interaction({"user_id": ids})


def loss_and_gradients(model: nn.Module, batch: Interaction) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(5)  # the noise of the latent code
    loss = model.calculate_loss(batch)
    loss.backward()
    learned = {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}
    return {"loss": loss.detach(), **learned}


@pytest.mark.parametrize("total_anneal_steps", [0, 3, 1000])
@pytest.mark.parametrize("name", CLASSES)
def test_loss_and_gradients_without_dropout(name: str, total_anneal_steps: int, both: Make) -> None:
    ours, theirs = both(name, dropout_prob=0.0, total_anneal_steps=total_anneal_steps)
    for _ in range(4):  # the annealing goes on with every batch
        found = loss_and_gradients(ours, users())
        expected = loss_and_gradients(theirs, users())
        assert found.keys() == expected.keys()
        for part, value in expected.items():
            assert value.abs().max() > 1e-4, part
            torch.testing.assert_close(found[part], value, rtol=1e-5, atol=1e-5, msg=part)


@pytest.mark.parametrize("name", CLASSES)
def test_scores(name: str, both: Make) -> None:
    ours, theirs = both(name)
    found, expected = (model.eval().full_sort_predict(users()) for model in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert expected.view(len(USERS), -1).std(dim=0).min() > 1e-4, "users differ"
    items = torch.arange(len(USERS)) + 1
    pairs = Interaction({"user_id": USERS, "item_id": items})
    expected_B = expected.view(len(USERS), -1)[torch.arange(len(USERS)), items]
    torch.testing.assert_close(ours.predict(pairs), expected_B, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CLASSES)
def test_users_without_items(name: str, both: Make) -> None:
    ours, theirs = both(name, dropout_prob=0.0)
    nobody = users(torch.tensor([0, 0]))
    found, expected = loss_and_gradients(ours, nobody), loss_and_gradients(theirs, nobody)
    torch.testing.assert_close(found["loss"], expected["loss"])
    torch.testing.assert_close(
        ours.eval().full_sort_predict(nobody), theirs.eval().full_sort_predict(nobody)
    )


@pytest.mark.parametrize("name", CLASSES)
def test_dropout_is_that_of_dense_rows(name: str, both: Make) -> None:
    """Mean and variance of the first layer over many draws; RecBole's draws at every item."""
    ours, theirs = both(name, dropout_prob=0.3)
    users_B = USERS.repeat(3000)
    layers = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        seen: list[torch.Tensor] = []
        model.encoder[1].register_forward_hook(lambda m, inputs, o, seen=seen: seen.append(*inputs))
        with torch.no_grad():
            model.forward(model.get_rating_matrix(users_B))
        layers.append(seen[0].view(3000, len(USERS), -1))
    (found_mean, expected_mean) = (layer.mean(dim=0) for layer in layers)
    (found_std, expected_std) = (layer.std(dim=0) for layer in layers)
    has_items = USERS != 0
    assert expected_std[has_items].min() > 0
    error = (found_mean - expected_mean)[has_items] / expected_std[has_items]
    assert error.abs().max() < 5 * (2 / 3000) ** 0.5
    ratio = found_std[has_items] / expected_std[has_items]
    assert (ratio - 1).abs().max() < 0.1
    assert torch.equal(found_mean[~has_items], expected_mean[~has_items])


def test_rows_are_each_users_different_training_items(prepared: Any, both: Make) -> None:
    histories = [[4, 2, 4, 3, 9, 8], [7, 7, 7], [5, 1, 6, 2, 5, 10, 3]]
    data, split = prepared(histories)
    ours, theirs = both("MultiVAE", data, split)
    wanted = defaultdict(set)
    for user, item in zip(split.train_users.tolist(), split.train_items.tolist(), strict=True):
        wanted[user].add(item)
    assert len(wanted[1]) == 3, "one item repeats"
    ids = torch.tensor([3, 0, 1, 1, 2])
    rows = ours.get_rating_matrix(ids)
    found = [rows.items_E[a:b].tolist() for a, b in rows.bounds.unfold(0, 2, 1).tolist()]
    assert found == [sorted(wanted[user]) for user in ids.tolist()]
    assert rows.lengths_B.tolist() == [len(wanted[user]) for user in ids.tolist()]
    dense = rows.dense(torch.ones(len(rows.items_E)), ours.n_items)
    assert torch.equal(dense, theirs.get_rating_matrix(ids))
    assert rows.sums(rows.items_E.float()).tolist() == [sum(wanted[u]) for u in ids.tolist()]


def test_memory_is_that_of_the_interactions(prepared: Any, both: Make) -> None:
    """One user with a long history costs RecBole as much for every other user."""
    data, split = prepared(
        [list(range(1, 301)), *([user, user + 1, user + 2] for user in range(90))]
    )
    ours, theirs = both("MultiVAE", data, split)

    def held(model: nn.Module) -> int:
        tensors = [*model.buffers(), *(v for v in vars(model).values() if torch.is_tensor(v))]
        return sum(value.nbytes for value in tensors)

    assert held(ours) == 4 * len(split.train_items) + 8 * (data.n_users + 2)
    assert held(theirs) > 50 * held(ours)


def test_rows_are_no_part_of_what_is_saved(both: Make) -> None:
    for name in CLASSES:
        ours, theirs = both(name)
        assert list(ours.state_dict()) == list(theirs.state_dict())


class TestCritic:
    STAGES = ("critic_pretrain", "finetune")

    @pytest.fixture
    def fed(self, both: Make) -> Callable[..., tuple[Any, Any]]:
        """Our model and RecBole's in a later stage, with the same part of the rows held out."""

        def make(stage: str) -> tuple[Any, Any]:
            ours, theirs = both("RaCT", dropout_prob=0.5)
            for model in (ours, theirs):
                model.train_stage = stage
                model.encoder.requires_grad_(stage == "finetune")
                model.decoder.requires_grad_(stage == "finetune")
                model.critic_net.requires_grad_(stage == "critic_pretrain")
            return ours, theirs

        return make

    @pytest.fixture(autouse=True)
    def dropped_by_item(self, monkeypatch: pytest.MonkeyPatch, both: Make) -> None:
        """Dropout that drops every other item of a row, on dense rows and on compressed ones."""

        def every_other(values: torch.Tensor, p: float, training: bool) -> torch.Tensor:
            assert training
            assert p == 0.5
            flat = values.flatten()
            nonzero = torch.nonzero(flat).squeeze(1)
            kept = torch.zeros_like(flat)
            kept[nonzero[::2]] = flat[nonzero[::2]] / (1 - p)
            return kept.view_as(values)

        monkeypatch.setattr(torch.nn.functional, "dropout", every_other)
        monkeypatch.setattr("models._rows.dropout", every_other)

    def test_its_input(self, fed: Any) -> None:
        ours, theirs = fed("finetune")
        for model in (ours, theirs):
            torch.manual_seed(5)
            model.seen_input = model.construct_critic_input(model.calculate_actor_loss(users()))
        torch.testing.assert_close(ours.seen_input, theirs.seen_input, rtol=1e-5, atol=1e-5)
        rows = ours.get_rating_matrix(USERS)
        assert torch.equal(ours.seen_input[:, :2].sum(dim=1), rows.lengths_B.float())
        assert (ours.seen_input[:, :2].min(dim=1).values > 0).sum() == len(USERS) - 1

    def test_what_it_shall_predict_is_of_the_held_out_part(self, fed: Any) -> None:
        ours, theirs = fed("critic_pretrain")
        for model in (ours, theirs):
            torch.manual_seed(5)
            model.calculate_actor_loss(users())
        for part in ("input_matrix", "true_matrix"):
            found, expected = getattr(ours, part), getattr(theirs, part)
            assert torch.equal(found, expected != 0), part
        torch.testing.assert_close(ours.predict_matrix, theirs.predict_matrix)

    @pytest.mark.parametrize("stage", STAGES)
    def test_loss_and_gradients(
        self, stage: str, fed: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours, theirs = fed(stage)
        whole = RecBoleRaCT.calculate_ndcg

        def of_binary_relevance(self: Any, scores: Any, true: Any, fed: Any, k: int) -> Any:
            return whole(self, scores, (true > 0).float(), fed, k)

        monkeypatch.setattr(RecBoleRaCT, "calculate_ndcg", of_binary_relevance)
        batch = users(torch.arange(1, 60))
        found, expected = loss_and_gradients(ours, batch), loss_and_gradients(theirs, batch)
        assert found.keys() == expected.keys()
        assert {name.partition(".")[0] for name in found} == (
            {"loss", "encoder", "decoder"} if stage == "finetune" else {"loss", "critic_net"}
        )
        for part, value in expected.items():
            torch.testing.assert_close(found[part], value, rtol=1e-5, atol=1e-5, msg=part)

    def test_a_cut_off_beyond_the_items(self, fed: Any) -> None:
        ours, _ = fed("critic_pretrain")
        scores = torch.tensor([[0.0, 3.0, 2.0, 1.0]])
        held_out = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        fed_part = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
        assert ours.calculate_ndcg(scores, held_out, fed_part, 100).item() == pytest.approx(1.0)
