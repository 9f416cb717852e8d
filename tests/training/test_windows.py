"""The strategy `windows` against a loop over every user's targets."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import TEST, TRAIN, VALID, Split
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.strategies.windows import Windows
from experiments.training.strategy import Task

NO_TICK = lambda done, total: None  # noqa: E731

CONFIG = {
    "MAX_ITEM_LIST_LENGTH": 5,
    "train_batch_size": 5,
    "loss": "softmax",
    "negatives": 4,
    "calibration": 0.75,
    "clip_grad_norm": None,
    "device": torch.device("cpu"),
    "learner": "adam",
    "learning_rate": 1e-3,
    "learning_rate_schedule": "constant",
    "epochs": 1,
    "weight_decay": 0.0,
}


class States(torch.nn.Module):
    """Keeps the windows that it is shown."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.item_embedding = torch.nn.Embedding(n_items + 1, 2)
        self.shown: list[list[list[int]]] = []

    def states(self, items_BL: torch.Tensor) -> torch.Tensor:
        self.shown.append(items_BL.tolist())
        return self.item_embedding(items_BL)


def split_of(histories: list[list[int]], train: list[int]) -> Split:
    """Histories whose first `train[u]` items train, and of which all others are valid or test.

    Items are numbered by their row, so that each of them names its place.
    """
    users = np.repeat(np.arange(1, len(histories) + 1), [len(items) for items in histories])
    place = np.concatenate([np.arange(len(items)) for items in histories])
    limit = np.repeat(train, [len(items) for items in histories])
    part = np.where(place < limit, TRAIN, np.where(place == limit, VALID, TEST))
    return Split(
        name="by hand",
        n_users=len(histories),
        n_items=len(users),
        row_users=users.astype(np.int32),
        row_items=np.arange(1, len(users) + 1, dtype=np.int32),
        part=part.astype(np.int8),
        hash="by hand",
        parts_hash="by hand",
    )


def windows_of(split: Split, *, longest: int, batch_size: int, seed: int) -> Windows:
    config = {**CONFIG, "MAX_ITEM_LIST_LENGTH": longest, "train_batch_size": batch_size}
    model = States(split.n_items)
    return Windows(Task(model=model, config=config, dataset=None, split=split, seed=seed))  # type: ignore[arg-type]


def epoch(strategy: Windows) -> list[tuple[list[int], list[int]]]:
    """One epoch's windows as (inputs, targets), padding cut off."""
    found = []
    for starts_B, lengths_B in strategy._batches():
        inputs_BL, targets_BL = strategy._rows(starts_B, lengths_B)
        for length, inputs, targets in zip(
            lengths_B.tolist(), inputs_BL.tolist(), targets_BL.tolist(), strict=True
        ):
            assert inputs[length:] == targets[length:] == [0] * (inputs_BL.shape[1] - length)
            found.append((inputs[:length], targets[:length]))
    return found


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), min_size=1, max_size=8),
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
def test_every_target_once_an_epoch_with_its_predecessors(
    sizes: list[tuple[int, int]], longest: int, batch_size: int, seed: int
) -> None:
    histories = [[0] * size for size, _ in sizes]
    split = split_of(histories, [train for _, train in sizes])
    assume(any(min(size, train) > 1 for size, train in sizes))
    strategy = windows_of(split, longest=longest, batch_size=batch_size, seed=seed)
    history = split.history("valid")
    expected = Counter(
        pair
        for user in range(1, split.n_users + 1)
        for pair in zip(history.of(user)[:-1].tolist(), history.of(user)[1:].tolist(), strict=True)
    )
    for _ in range(3):
        found = epoch(strategy)
        assert Counter(p for window in found for p in zip(*window, strict=True)) == expected
        for inputs, targets in found:
            assert 1 <= len(inputs) <= longest
            # Items are numbered by row: a window is a piece of one user's training rows.
            assert inputs == list(range(inputs[0], inputs[0] + len(inputs)))
            assert targets == [item + 1 for item in inputs]
            assert split.row_users[inputs[0] - 1] == split.row_users[targets[-1] - 1]
            assert (split.part[np.array(targets) - 1] == TRAIN).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_batches_hold_so_many_windows_and_no_more(seed: int, batch_size: int) -> None:
    split = split_of([[0] * 30, [0] * 7, [0] * 2, [0] * 19], [28, 5, 2, 17])
    strategy = windows_of(split, longest=6, batch_size=batch_size, seed=seed)
    sizes = [len(starts) for starts, _ in strategy._batches()]
    assert all(1 <= size <= batch_size for size in sizes)
    assert sum(size < batch_size for size in sizes) <= 1


def test_a_short_history_is_one_window() -> None:
    split = split_of([[0] * 9, [0] * 4], [7, 2])
    strategy = windows_of(split, longest=6, batch_size=8, seed=1)
    assert sorted(epoch(strategy)) == [([1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7]), ([10], [11])]


def test_epochs_differ_in_order_and_in_cuts() -> None:
    split = split_of([[0] * 60] * 6, [50] * 6)
    strategy = windows_of(split, longest=10, batch_size=2, seed=1)
    epochs = [epoch(strategy) for _ in range(4)]
    assert len({repr(windows) for windows in epochs}) == 4
    cuts = [sorted(inputs[0] for inputs, _ in windows) for windows in epochs]
    assert len({repr(starts) for starts in cuts}) == 4


def test_every_cut_is_drawn() -> None:
    split = split_of([[0] * 20], [12])
    strategy = windows_of(split, longest=4, batch_size=2, seed=1)
    first = Counter(len(min(epoch(strategy))[0]) for _ in range(400))
    assert set(first) == {1, 2, 3, 4}
    assert min(first.values()) > 60


def test_seeds() -> None:
    split = split_of([[0] * 60] * 6, [50] * 6)

    def epochs(seed: int) -> list[Any]:
        strategy = windows_of(split, longest=10, batch_size=2, seed=seed)
        return [epoch(strategy) for _ in range(2)]

    assert epochs(1) == epochs(1)
    assert epochs(1) != epochs(2)


def test_users_of_a_single_item_give_nothing() -> None:
    split = split_of([[0], [0, 0], [0] * 5, [0] * 5], [1, 0, 1, 3])
    strategy = windows_of(split, longest=4, batch_size=2, seed=1)
    assert epoch(strategy) == [([9, 10], [10, 11])]


def test_data_without_a_pair_in_a_row_is_told(prepared: Any, fit: Any) -> None:
    data, split = prepared([[1, 2, 3], [2, 3, 1], [3]])
    for strategy in ("windows", "recbole"):
        values = resolve_model({"name": "SASRec", "strategy": strategy, "epochs": 1})
        with pytest.raises(PaddockError, match="no user of toy has two training interactions"):
            fit(values, data, split)


def test_the_loss_is_that_of_a_loop_over_prefixes(
    tiny_data: Prepared, tiny_split: Split, tmp_path: Any
) -> None:
    """Every target's cross-entropy from its own prefix, by RecBole's one state a row."""
    length, batch_size = 9, 64
    values = resolve_model(
        {
            "name": "SASRec",
            "strategy": "windows",
            "MAX_ITEM_LIST_LENGTH": length,
            "train_batch_size": batch_size,
            "learning_rate": 1e-30,
            "hidden_dropout_prob": 0.0,
            "attn_dropout_prob": 0.0,
        }
    )
    model, dataset, config = build(
        values.last,
        TrainingContext(
            data=tiny_data, split=tiny_split, seed=1, device=torch.device("cpu"), folder=tmp_path
        ),
    )
    task = Task(model=model, config=config, dataset=dataset, split=tiny_split, seed=1)
    loss = Windows(task).train_epoch(0, NO_TICK)
    again = Windows(task)
    history = tiny_split.history("valid")
    means = []
    for starts_B, lengths_B in again._batches():
        losses = []
        for start, n_targets in zip(starts_B, lengths_B, strict=True):
            window = history.items[start : start + n_targets + 1].astype(np.int64)
            prefixes = torch.zeros(n_targets, length, dtype=torch.int64)
            for end in range(1, n_targets + 1):
                prefixes[end - 1, :end] = torch.from_numpy(window[:end])
            with torch.no_grad():
                states = model.forward(prefixes, torch.arange(1, n_targets + 1))
                logits = states @ model.item_embedding.weight.T
            losses.append(F.cross_entropy(logits, torch.from_numpy(window[1:]), reduction="none"))
        means.append(torch.cat(losses).mean())
    assert loss == pytest.approx(torch.stack(means).mean().item(), abs=1e-5)


def test_a_model_without_states_is_told() -> None:
    task = SimpleNamespace(model=torch.nn.Linear(1, 1))
    with pytest.raises(PaddockError, match=r"Linear has none: use model\.strategy=recbole"):
        Windows(task)  # type: ignore[arg-type]


def test_the_optimizer_is_the_configured_one(tiny_split: Split) -> None:
    def made(**config: Any) -> torch.optim.Optimizer:
        values = {**CONFIG, "learning_rate": 0.25, "weight_decay": 0.5, **config}
        model = States(3)
        task = Task(model=model, config=values, dataset=None, split=tiny_split, seed=1)  # type: ignore[arg-type]
        return Windows(task).optimizers["optimizer"]

    optimizer = made(learner="AdamW")
    assert type(optimizer) is torch.optim.AdamW
    assert [optimizer.param_groups[0][key] for key in ("lr", "weight_decay")] == [0.25, 0.5]
    assert type(made(learner="adam")) is torch.optim.Adam
    with pytest.raises(PaddockError, match=r"model\.learner=sparse_adam is not offered"):
        made(learner="sparse_adam")


def test_gradients_are_clipped(tiny_data: Prepared, tiny_split: Split) -> None:
    split = tiny_split
    moved = []
    for clip in (None, {"max_norm": 0.0}):
        strategy = windows_of(split, longest=8, batch_size=64, seed=1)
        strategy._steps._clip = clip
        before = strategy._model.item_embedding.weight.detach().clone()
        strategy.train_epoch(0, NO_TICK)
        moved.append(not torch.equal(before, strategy._model.item_embedding.weight))
    assert moved == [True, False]
