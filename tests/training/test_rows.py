"""The strategy `rows`: every user with training items once an epoch, in batches of like sizes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.model.abstract_recommender import AutoEncoderMixin
from recbole.utils import ModelType

from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import Split
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.strategies.rows import Rows
from experiments.training.strategy import Task

NO_TICK = lambda done, total: None  # noqa: E731

CONFIG = {
    "MODEL_TYPE": ModelType.GENERAL,
    "model": "Autoencoder",
    "train_batch_size": 4,
    "clip_grad_norm": None,
    "device": torch.device("cpu"),
    "learner": "sgd",
    "learning_rate": 1.0,
    "learning_rate_schedule": "constant",
    "weight_decay": 0.0,
    "epochs": 3,
}


class Autoencoder(torch.nn.Module, AutoEncoderMixin):
    """Keeps the users that it is shown; its loss is a weight times the batch's mean user."""

    USER_ID = "user_id"

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.shown: list[list[int]] = []

    def calculate_loss(self, interaction: Any) -> torch.Tensor:
        self.shown.append(interaction["user_id"].tolist())
        return self.weight * interaction["user_id"].float().mean() + 1.0


def rows_of(users: list[int], *, batch_size: int = 4, seed: int = 1, **own: Any) -> Rows:
    split = SimpleNamespace(train_users=np.array(users, dtype=np.int32))
    config = {**CONFIG, "train_batch_size": batch_size, **own}
    return Rows(Task(model=Autoencoder(), config=config, dataset=None, split=split, seed=seed))  # type: ignore[arg-type]


def epoch(strategy: Rows) -> list[list[int]]:
    strategy._model.shown = []
    strategy.train_epoch(0, NO_TICK)
    return strategy._model.shown


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 60), min_size=1), st.integers(1, 12), st.integers(0, 2**32))
def test_every_user_of_the_training_part_once(users: list[int], size: int, seed: int) -> None:
    strategy = rows_of(users, batch_size=size, seed=seed)
    for _ in range(2):
        shown = epoch(strategy)
        assert sorted(user for batch in shown for user in batch) == sorted(set(users))
        sizes = [len(batch) for batch in shown]
        assert len(sizes) == -(-len(set(users)) // size)
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1


def test_order() -> None:
    def epochs(seed: int) -> list[list[list[int]]]:
        strategy = rows_of(list(range(1, 41)), seed=seed)
        return [epoch(strategy) for _ in range(2)]

    assert epochs(1) == epochs(1)
    assert epochs(1) != epochs(2)
    first, second = epochs(1)
    assert first != second
    assert first[0] != sorted(first[0])


def test_the_mean_loss_and_the_steps() -> None:
    ticks: list[tuple[int, int]] = []
    strategy = rows_of([1, 2, 3], batch_size=1)
    loss = strategy.train_epoch(0, lambda *tick: ticks.append(tick))
    assert ticks == [(1, 3), (2, 3), (3, 3)]
    # Plain descent: the weight falls by each batch's user, and the losses are taken on the way.
    weight, losses = 0.0, []
    for (user,) in strategy._model.shown:
        losses.append(weight * user + 1.0)
        weight -= user
    assert strategy._model.weight.item() == weight == -6.0
    assert loss == pytest.approx(np.mean(losses))


def test_gradients_are_clipped() -> None:
    strategy = rows_of([8], clip_grad_norm={"max_norm": 0.5})
    epoch(strategy)
    assert strategy._model.weight.item() == pytest.approx(-0.5, rel=1e-4)


def test_a_diverged_loss_is_told() -> None:
    strategy = rows_of([8], learning_rate=float("inf"))
    epoch(strategy)
    with pytest.raises(PaddockError, match="training loss of Autoencoder is -inf in epoch 1"):
        epoch(strategy)


@pytest.mark.parametrize(
    ("name", "told"), [("BPR", "BPR is none"), ("RecVAE", "RecVAE, which has an epoch of its own")]
)
def test_models_that_it_cannot_train(
    name: str, told: str, tiny_data: Prepared, tiny_split: Split, tmp_path: Any
) -> None:
    values = resolve_model({"name": name, "strategy": "recbole"})
    model, dataset, config = build(
        values.last,
        TrainingContext(
            data=tiny_data, split=tiny_split, seed=1, device=torch.device("cpu"), folder=tmp_path
        ),
    )
    task = Task(model=model, config=config, dataset=dataset, split=tiny_split, seed=1)
    with pytest.raises(PaddockError, match=rf"{told}.*use model\.strategy=recbole"):
        Rows(task)


@pytest.mark.parametrize("name", ["MultiVAE", "MultiDAE", "CDAE", "MacridVAE", "DiffRec"])
def test_recboles_autoencoders_learn(
    name: str, fit: Any, tiny_data: Prepared, tiny_split: Split
) -> None:
    small = {"DiffRec": {"dims_dnn": [8]}}.get(name, {})
    values = {"name": name, "strategy": "rows", "epochs": 6, "learning_rate": 0.01, **small}
    records: list[dict[str, Any]] = []
    fit(resolve_model(values), tiny_data, tiny_split, on_epoch=records.append)
    losses = [record["metrics"]["train/loss"] for record in records]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("users", [19, 20, 21])
def test_ract_trains_with_any_number_of_users(users: int, fit: Any, prepared: Any) -> None:
    """A batch norm refuses a batch of one, which 21 users would leave beside 20."""
    data, split = prepared([[1, 2, 3, 4, 5 + user % 3] for user in range(users)])
    stages = {
        stage: {"train_stage": stage, "epochs": 1} for stage in ("critic_pretrain", "finetune")
    }
    values = {"name": "RaCT", "strategy": "rows", "train_batch_size": 20, "stages": stages}
    assert fit(resolve_model(values), data, split).progress.step == 2
