"""The strategy `masked` against what the Cloze task says: which items are hidden, and their loss."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import Split
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.strategies.masked import Masked
from experiments.training.strategy import Task

NO_TICK = lambda done, total: None  # noqa: E731
MASK = -1

CONFIG = {
    "MAX_ITEM_LIST_LENGTH": 5,
    "train_batch_size": 5,
    "mask_ratio": 0.3,
    "ft_ratio": 0.5,
    "loss_type": "CE",
    "clip_grad_norm": None,
    "device": torch.device("cpu"),
    "learner": "adam",
    "learning_rate": 1e-3,
    "learning_rate_schedule": "constant",
    "weight_decay": 0.0,
    "epochs": 100,
}


class Shown(torch.nn.Module):
    """Keeps the windows that it is shown; its logits are an item's own."""

    mask_token = MASK

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(n_items + 1, 1))
        self.shown: list[list[list[int]]] = []

    def encode(self, items_BL: torch.Tensor) -> torch.Tensor:
        self.shown.append(items_BL.tolist())
        return torch.ones(*items_BL.shape, 1)

    def logit_factors(self, encoded_PD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return encoded_PD, self.weight


def masked_of(lengths: list[int], *, longest: int = 5, seed: int = 1, **own: Any) -> Masked:
    """The strategy over histories of these lengths, whose items are numbered by their row."""
    indptr = np.concatenate(([0, 0], np.cumsum(lengths)))
    items = np.arange(1, indptr[-1] + 1, dtype=np.int32)
    history = SimpleNamespace(indptr=indptr, items=items, lengths=np.diff(indptr))
    split = SimpleNamespace(training=lambda: history)
    config = {**CONFIG, "MAX_ITEM_LIST_LENGTH": longest, **own}
    model = Shown(len(items))
    return Masked(Task(model=model, config=config, dataset=None, split=split, seed=seed))  # type: ignore[arg-type]


def epoch(strategy: Masked) -> list[tuple[list[int], list[bool]]]:
    """One epoch's windows as (items, which are masked), padding cut off."""
    found = []
    for batch in strategy._batches():
        items_BL, masked_BL = strategy._rows(*batch)
        for length, items, masked in zip(
            batch[1], items_BL.tolist(), masked_BL.tolist(), strict=True
        ):
            assert items[length:] == [0] * (len(items) - length)
            assert not any(masked[length:]), "padding is never masked"
            found.append((items[:length], masked[:length]))
    return found


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any),
    st.integers(1, 12),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 2**32),
)
def test_every_item_is_in_one_window_and_every_window_has_a_mask(
    lengths: list[int], longest: int, mask_ratio: float, ft_ratio: float, seed: int
) -> None:
    strategy = masked_of(
        lengths, longest=longest, mask_ratio=mask_ratio, ft_ratio=ft_ratio, seed=seed
    )
    user_of = np.repeat(np.arange(len(lengths)), lengths)
    for _ in range(2):
        found = epoch(strategy)
        assert Counter(i for items, _ in found for i in items) == Counter(
            range(1, sum(lengths) + 1)
        )
        for items, masked in found:
            assert 1 <= len(items) <= longest
            assert items == list(range(items[0], items[0] + len(items)))
            assert user_of[items[0] - 1] == user_of[items[-1] - 1]
            assert any(masked)


def test_the_share_of_masked_items() -> None:
    strategy = masked_of([50] * 200, longest=50, mask_ratio=0.3, ft_ratio=0.0)
    masked = np.array([row for _, row in epoch(strategy)])
    assert masked.mean() == pytest.approx(0.3, abs=0.02)
    assert masked.mean(axis=0).min() > 0.15, "at every position"
    # Of 50 draws the numbers are binomial: their spread tells that items are drawn one by one.
    assert masked.sum(axis=1).std() == pytest.approx((50 * 0.3 * 0.7) ** 0.5, rel=0.2)


def test_the_last_alone() -> None:
    def shares(ft_ratio: float) -> float:
        strategy = masked_of([12] * 400, longest=12, mask_ratio=0.9, ft_ratio=ft_ratio)
        rows = [row for _, row in epoch(strategy)]
        return float(np.mean([row == [False] * 11 + [True] for row in rows]))

    assert shares(0.0) == 0.0
    assert shares(1.0) == 1.0
    assert shares(0.25) == pytest.approx(0.25, abs=0.07)


def test_a_window_that_no_draw_masks_has_one_masked_anywhere() -> None:
    strategy = masked_of([10] * 500, longest=10, mask_ratio=0.0, ft_ratio=0.0)
    masked = np.array([row for _, row in epoch(strategy)])
    assert (masked.sum(axis=1) == 1).all()
    assert masked.sum(axis=0).min() > 20


def test_epochs_and_seeds() -> None:
    def epochs(seed: int) -> list[Any]:
        strategy = masked_of([60] * 6, longest=10, seed=seed)
        return [epoch(strategy) for _ in range(2)]

    first, second = epochs(1)
    assert first != second
    assert epochs(1) == [first, second]
    assert epochs(2) != [first, second]


def test_masked_items_are_hidden_and_are_the_targets() -> None:
    """With logits that are an item's own, the loss is the log of the catalogue's size."""
    strategy, same = (masked_of([7, 3], mask_ratio=0.5, learning_rate=1e-30) for _ in range(2))
    model = strategy._model
    model.weight.data[3] = 2.0
    ticks: list[tuple[int, int]] = []
    loss = strategy.train_epoch(0, lambda *tick: ticks.append(tick))
    batches = [same._rows(*batch) for batch in same._batches()]
    assert ticks == [(done, len(batches)) for done in range(1, len(batches) + 1)]
    expected = []
    for (items_BL, masked_BL), shown in zip(batches, model.shown, strict=True):
        assert shown == torch.where(masked_BL, MASK, items_BL).tolist()
        targets_P = items_BL[masked_BL]
        logits_PN = model.weight.detach().T.expand(len(targets_P), -1)
        expected.append(F.cross_entropy(logits_PN, targets_P))
    assert loss == pytest.approx(torch.stack(expected).mean().item(), abs=1e-5)


def test_gradients_are_clipped() -> None:
    moved = []
    for clip in (None, {"max_norm": 0.0}):
        strategy = masked_of([9, 9], clip_grad_norm=clip)
        strategy.train_epoch(0, NO_TICK)
        moved.append(bool(strategy._model.weight.any()))
    assert moved == [True, False]


def test_what_it_cannot_train(tiny_data: Prepared, tiny_split: Split, tmp_path: Any) -> None:
    def made(**values: Any) -> Masked:
        model, dataset, config = build(
            resolve_model({"strategy": "masked", **values}).last,
            TrainingContext(
                data=tiny_data,
                split=tiny_split,
                seed=1,
                device=torch.device("cpu"),
                folder=tmp_path,
            ),
        )
        return Masked(Task(model=model, config=config, dataset=dataset, split=tiny_split, seed=1))

    with pytest.raises(PaddockError, match=r"SASRec does not: use model\.strategy=recbole"):
        made(name="SASRec")
    with pytest.raises(
        PaddockError, match=r"model\.loss_type=BPR: strategy masked trains with loss_type=CE"
    ):
        made(name="BERT4Rec", loss_type="BPR")


def test_it_learns_what_stands_between(fit: Any, prepared: Any) -> None:
    """Items run in circles of ten: a hidden one is told by its neighbours, the next by the last."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 10, 60)
    circles = rng.integers(0, 2, 60)
    data, split = prepared(
        [
            [int(circle) * 10 + (int(start) + step) % 10 + 1 for step in range(12)]
            for start, circle in zip(starts, circles, strict=True)
        ]
    )
    values = {
        "name": "BERT4Rec",
        "strategy": "masked",
        "MAX_ITEM_LIST_LENGTH": 10,
        "n_layers": 1,
        "hidden_size": 32,
        "inner_size": 32,
        "initializer_range": 0.1,  # 60 windows an epoch are few for weights that start at 0.02
        "hidden_dropout_prob": 0.0,
        "attn_dropout_prob": 0.0,
        "learning_rate": 3e-3,
        "train_batch_size": 8,
        "epochs": 60,
    }
    trained = fit(resolve_model(values), data, split)
    scorer = RecBoleScorer(trained.model, dataset=trained.dataset, history=split.history("test"))
    users = split.users("test")
    best = scorer.score(users)[:, 1:].argmax(dim=1).numpy() + 1
    wanted = split.targets("test").take(users).items
    assert np.mean(best == wanted) > 0.95
