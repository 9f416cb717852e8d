"""Slices against evaluations of splits in which the phase holds nothing but the slice."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.components.registry import functions
from experiments.config.schema import RankingConfig, SlicesConfig
from experiments.evaluation.evaluate import RankingTask, evaluate
from experiments.protocol.candidates import candidates
from experiments.protocol.slices import definition_hash, outer_shares, slices
from experiments.protocol.split import TEST, TRAIN, VALID, split_interactions
from paddock import Metric

from .toy import PROTOCOLS, Table, loo, random_toy, split_of, toy

RANKINGS = {
    "full": RankingConfig(cutoffs=[1, 5, 10]),
    "c8": RankingConfig(candidates=8, cutoffs=[1, 3]),
}
N_USERS, N_ITEMS = 90, 50
METRICS = list(functions(Metric))


@pytest.fixture(scope="module")
def data():
    return random_toy(7, n_users=N_USERS, n_items=N_ITEMS, longest=25)


def tied_scores():
    """So few different scores that targets tie with each other and with everything else."""
    return np.random.default_rng(2).integers(0, 6, (N_USERS + 1, N_ITEMS + 1)).astype(np.float32)


def alone(split, among):
    """The split whose test holds the chosen targets; a user's other ones are in his history."""
    keys = split.targets("test").row_of_item() * (N_ITEMS + 1) + split.targets("test").items
    chosen = np.isin(
        split.row_users.astype(np.int64) * (N_ITEMS + 1) + split.row_items, keys[among]
    )
    part = np.where((split.part == TEST) & ~chosen, VALID, split.part)
    return replace(split, part=part.astype(np.int8))


def chosen_rows(drawn, among):
    return replace(
        drawn,
        users=drawn.users[among],
        targets=drawn.targets[among],
        items_TC=drawn.items_TC[among],
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_slice_is_an_evaluation_of_its_own(data, name, tmp_path):
    split = split_interactions(data, PROTOCOLS[name])
    drawn = candidates(data, split, "test", size=8, seed=1, folder=tmp_path)
    shared = {"phase": "test", "rankings": RANKINGS, "metrics": METRICS}
    scorer = Table(tied_scores())
    task = RankingTask(split=split, candidates={"c8": drawn}, slicing=SlicesConfig(), **shared)
    whole = evaluate(scorer, task)
    masks = slices(split, "test", SlicesConfig())
    measured = 0
    for slice_name, among in masks.items():
        path = f"slice/{slice_name}"
        assert whole.slices[f"{path}/targets"] == among.sum()
        own = {key: value for key, value in whole.slices.items() if key.startswith(f"{path}/")}
        users = own.pop(f"{path}/users")
        del own[f"{path}/targets"]
        if not among.any():
            assert own == {}
            assert users == 0
            continue
        task = RankingTask(
            split=alone(split, among), candidates={"c8": chosen_rows(drawn, among)}, **shared
        )
        expected = evaluate(scorer, task)
        assert users == expected.n_users
        assert own == {f"{path}/{key}": pytest.approx(v) for key, v in expected.means.items()}
        if path in whole.per_user.columns:
            members, names = whole.per_user.filter(pl.col(path)), list(expected.means)
            assert members["user"].equals(expected.per_user["user"])
            assert members.select(*names).equals(expected.per_user.select(*names))
        measured += 1
    assert measured >= (3 if name.startswith("cold") else 4)  # all its items, or users, are new
    assert set(whole.aggregates) == {*whole.means, *whole.slices}
    told = {name.removeprefix("slice/") for name in whole.per_user.columns if "slice/" in name}
    assert {each for each in masks if each.startswith("users_")} <= told
    if (split.targets("test").lengths <= 1).all():
        assert told == set(masks)
    else:
        assert not {"items_cold", "items_warm"} & told, "users are half in these"


def test_a_slice_of_everything_is_the_whole(data, tmp_path, monkeypatch):
    split = split_interactions(data, PROTOCOLS["random"])
    n_targets = len(split.targets("test").items)
    everything = {"all": np.ones(n_targets, dtype=bool)}
    monkeypatch.setattr("experiments.evaluation.evaluate.slices", lambda *given: everything)
    drawn = candidates(data, split, "test", size=8, seed=1, folder=tmp_path)
    task = RankingTask(
        split=split,
        phase="test",
        rankings=RANKINGS,
        candidates={"c8": drawn},
        metrics=METRICS,
        slicing=SlicesConfig(),
    )
    made = evaluate(Table(tied_scores()), task)
    assert made.slices == {
        "slice/all/targets": n_targets,
        "slice/all/users": made.n_users,
        **{f"slice/all/{name}": value for name, value in made.means.items()},
    }


def test_which_targets_are_in_which_slice():
    # Items 1 to 5 train once, twice, ... five times; item 6 never does, item 7 nowhere occurs.
    trained = [[item] * item for item in range(1, 6)]
    tested = [[6], [1, 2, 3], [4, 5, 6], [5], [1]]
    data = toy([a + b for a, b in zip(trained, tested, strict=True)] + [[2]], 7)
    part = [[TRAIN] * len(a) + [TEST] * len(b) for a, b in zip(trained, tested, strict=True)]
    split = split_of(data, np.concatenate([*part, [TEST]]))
    masks = slices(split, "test", SlicesConfig(items=0.4, users=0.3))
    users, items = split.targets("test").row_of_item(), split.targets("test").items
    found = {
        name: list(zip(users[mask].tolist(), items[mask].tolist(), strict=True))
        for name, mask in masks.items()
    }
    assert found == {
        "items_cold": [(2, 1), (2, 2), (5, 1), (6, 2)],
        "items_unseen": [(1, 6), (3, 6)],
        "items_warm": [(3, 4), (3, 5), (4, 5)],
        # Users with histories of 1, 2, 3, 4 and 5; the sixth was never trained on.
        "users_cold": [(1, 6)],
        "users_unseen": [(6, 2)],
        "users_warm": [(5, 1)],
    }
    assert set(slices(split, "test", SlicesConfig(items=None, users=None))) == {
        "items_unseen",
        "users_unseen",
    }


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60).map(np.array),
    st.floats(0.01, 0.5),
    st.integers(0, 2**16),
)
def test_shares_are_apart_and_keep_equals_together(values, share, seed):
    among = np.random.default_rng(seed).random(len(values)) < 0.8
    low, high = outer_shares(values, among, share)
    assert not (low & high).any()
    assert not ((low | high) & ~among).any()
    for mask in (low, high):
        assert not set(values[mask]) & set(values[among & ~mask])
    if low.any() and (among & ~low).any():
        assert values[low].max() < values[among & ~low].min()
    if high.any() and (among & ~high).any():
        assert values[high].min() > values[among & ~high].max()


def test_different_values_give_exact_shares():
    low, high = outer_shares(np.random.default_rng(0).permutation(100), np.ones(100, bool), 0.35)
    assert low.sum() == high.sum() == 35
    same = outer_shares(np.full(10, 4), np.ones(10, bool), 0.35)
    assert not any(mask.any() for mask in same)


def test_without_slicing_there_are_no_slices(data):
    task = RankingTask(
        split=loo(data),
        phase="test",
        rankings={"full": RANKINGS["full"]},
        candidates={},
        metrics=["hit"],
    )
    made = evaluate(Table(tied_scores()), task)
    assert made.slices == {}
    assert made.aggregates == made.means


def test_other_shares_are_another_question():
    assert definition_hash(SlicesConfig()) == definition_hash(SlicesConfig())
    assert definition_hash(SlicesConfig()) != definition_hash(SlicesConfig(items=0.2))
