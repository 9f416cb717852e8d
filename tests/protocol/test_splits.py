"""What holds for every split, and what each of them promises of itself."""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from recbole.data.dataset import Dataset

from experiments.config.protocol_keys import splits
from experiments.config.schema import ProtocolConfig
from experiments.errors import PaddockError
from experiments.protocol.candidates import candidates
from experiments.protocol.split import TEST, TRAIN, VALID, split_interactions
from experiments.protocol.splits.cold_items import cold_items
from experiments.protocol.splits.cold_users import cold_users
from experiments.protocol.splits.parts import GIVEN, UNUSED, counts_by_ratio

from .toy import PROTOCOLS, random_toy, toy

N_ITEMS = 14
PARTS = (TRAIN, VALID, TEST)
ROOT = Path(__file__).parents[2]
GOLDEN = {
    "loo": "4e7e0e562f4a6fef0c7007c07a1cd50cc4e280eb933d95ffa68280ea012ba446",
    "temporal": "003fa7db1b4932227c34f83c1a03ef73131a943258a461454cee24c95b594d29",
    "cold_items": "fa4d6693f68f4f38ce5784d14dab49fadb47fc2d136881a929f31f5a9d280c61",
    "cold_users": "999b02af6f4b2ebcbc9758a6d39e939021d8f77e14c749a4c4aaaec85aa718b7",
    "random": "262ecfec2e1443f601ea4af0186e28f92d5330800cc29c4063ce64ccfed9e99a",
}


GOLDEN_SAMPLE = [16, 21, 28, 33, 36, 40, 60]


@st.composite
def interactions(draw):
    """A data set with a clock, with repeats and ties, which every split can cut."""
    histories, times = [], []
    for user in range(draw(st.integers(1, 7))):
        shortest = 3 if user == 0 else 1
        line = st.lists(st.integers(1, N_ITEMS - 4), min_size=shortest, max_size=12)
        histories.append(draw(line))
        n = len(histories[-1])
        times.append(sorted(draw(st.lists(st.integers(0, 30), min_size=n, max_size=n))))
    return toy(histories, N_ITEMS, times=times)


def cut(data, name):
    """The split; data that rightly cannot be split so is passed over."""
    try:
        return split_interactions(data, PROTOCOLS[name])
    except PaddockError as error:
        assume("leaves" not in str(error))
        raise


def test_every_split_is_tested():
    assert set(PROTOCOLS) == set(GOLDEN) == set(splits())


@pytest.mark.parametrize("name", splits())
@settings(deadline=None)
@given(interactions())
def test_every_interaction_is_in_exactly_one_part(name, data):
    split = cut(data, name)
    rows = np.concatenate([split.rows(part) for part in (*PARTS, UNUSED, GIVEN)])
    assert len(split.rows(UNUSED)) == 0 or name.startswith("cold")
    assert len(split.rows(GIVEN)) == 0 or name == "cold_users"
    assert sorted(rows) == list(range(len(data.items)))
    for user in range(1, data.n_users + 1):
        of_user = data.users == user
        for phase, part in (("valid", VALID), ("test", TEST)):
            # Rows are in time order, and so is whatever is chosen of them.
            before = VALID if name == "cold_users" else part
            assert list(split.history(phase).of(user)) == list(
                data.items[of_user & (split.part < before)]
            )
            asked = data.items[of_user & (split.part == part)]
            assert list(split.targets(phase).of(user)) == list(dict.fromkeys(asked))


@settings(deadline=None)
@given(interactions())
def test_no_later_interaction_is_in_an_earlier_part(data):
    split = cut(data, "loo")
    for user in range(1, data.n_users + 1):
        of_user = split.part[data.users == user]
        assert list(of_user) == sorted(of_user)
    split = cut(data, "temporal")
    by_part = [data.timestamps[split.part == part] for part in PARTS]
    assert by_part[0].max() < by_part[1].min()
    assert by_part[1].max() < by_part[2].min()


@pytest.mark.parametrize("name", splits())
@settings(deadline=None, max_examples=40)
@given(interactions(), st.integers(0, 1000))
def test_candidates_hold_the_target_once_and_nothing_else_of_the_user(name, data, seed):
    split = cut(data, name)
    for phase in ("valid", "test"):
        with tempfile.TemporaryDirectory() as folder:
            drawn = candidates(data, split, phase, size=5, seed=seed, folder=Path(folder))
        assert list(drawn.users) == list(split.targets(phase).row_of_item())
        assert list(drawn.targets) == list(split.targets(phase).items)
        for user, target, row in zip(drawn.users, drawn.targets, drawn.items_TC, strict=True):
            assert len(set(row)) == len(row)
            assert set(row) & set(data.items[data.users == user]) == {target}


@settings(deadline=None)
@given(interactions())
def test_unseen_users_and_items_stay_and_are_counted(data):
    split = cut(data, "temporal")
    trained = split.part == TRAIN
    for phase, part in (("valid", VALID), ("test", TEST)):
        asked = split.part == part
        users, items = set(data.users[asked]), set(data.items[asked])
        assert list(split.users(phase)) == sorted(users)
        pairs = set(zip(data.users[asked], data.items[asked], strict=True))
        known = set(data.items[trained])
        assert split.unseen(phase) == (
            len(users - set(data.users[trained])),
            len(users),
            len(items - known),
            len(items),
            sum(item not in known for _, item in pairs),
            len(pairs),
        )


@pytest.mark.parametrize("name", splits())
@settings(deadline=None, max_examples=40)
@given(interactions(), st.integers(1, 5))
def test_a_sample_of_users_is_scored_as_they_would_be_among_all(name, data, n_users):
    """Others train as before, their held-out rows stay out, and who is drawn depends on nothing else."""
    whole = cut(data, name)
    sample = split_interactions(data, replace(PROTOCOLS[name], scored_users=n_users))
    assert np.array_equal(sample.part, whole.part)
    assert sample.parts_hash == whole.parts_hash == whole.hash
    left_out = any(len(whole.users(phase)) > n_users for phase in ("valid", "test"))
    assert (sample.hash != whole.hash) == left_out, "a sample of all is no other question"
    for phase in ("valid", "test"):
        users = set(sample.users(phase))
        assert users <= set(whole.users(phase))
        assert len(users) == min(n_users, len(whole.users(phase)))
        for user in range(1, data.n_users + 1):
            assert list(sample.history(phase).of(user)) == list(whole.history(phase).of(user))
            asked = list(whole.targets(phase).of(user)) if user in users else []
            assert list(sample.targets(phase).of(user)) == asked
            if user in users:
                assert list(sample.masked(phase).of(user)) == list(whole.masked(phase).of(user))
        fewer = replace(PROTOCOLS[name], scored_users=max(1, n_users - 1))
        assert set(split_interactions(data, fewer).users(phase)) <= users


def test_the_sample_is_the_same_everywhere():
    data = random_toy(3, n_users=60, n_items=40, longest=9)
    split = split_interactions(data, replace(PROTOCOLS["loo"], scored_users=7))
    assert split.users("test").tolist() == split.users("valid").tolist() == GOLDEN_SAMPLE


def test_unseen_is_told_in_words():
    data = toy([[1, 2], [3, 4], [5, 1]], 6, times=[[0, 1], [2, 5], [8, 9]])
    protocol = ProtocolConfig(name="t", split="temporal", cut_times=[2, 8])
    split = split_interactions(data, protocol)
    assert [list(split.history("test").of(user)) for user in (1, 2, 3)] == [[1, 2], [3, 4], []]
    assert split.unseen("test").many
    assert str(split.unseen("test")).startswith("1 of 1 users and 1 of 2 items (1 of 2 targets)")
    assert not split.unseen("test")._replace(users=0, targets=0).many


ratios = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(
    lambda drawn: [each / sum(drawn) for each in drawn]
)


@settings(deadline=None)
@given(ratios | st.just([0.8, 0.1, 0.1]), st.lists(st.integers(0, 400), min_size=1, max_size=30))
def test_counts_are_recboles(shares, totals):
    shares = [share / sum(shares) for share in shares]
    ours = np.stack(counts_by_ratio(np.array(totals), shares), axis=1)
    for total, counts in zip(totals, ours, strict=True):
        theirs = Dataset._calcu_split_ids(None, total, [s / sum(shares) for s in shares])
        assert list(np.cumsum(counts)[:-1]) == list(theirs)
        assert counts.sum() == total


@settings(deadline=None)
@given(interactions())
def test_random_counts_per_user_are_recboles(data):
    split = cut(data, "random")
    for user in range(1, data.n_users + 1):
        part = split.part[data.users == user]
        ids = Dataset._calcu_split_ids(None, len(part), [0.8, 0.1, 0.1])
        assert list(np.cumsum(np.bincount(part, minlength=3))[:-1]) == list(ids)


@settings(deadline=None)
@given(interactions())
def test_cold_items_are_those_of_a_walk_along_each_history(data):
    split = cut(data, "cold_items")
    cold = cold_items(data, 0.3, 2024)
    assert cold[1:].sum() == int(0.3 * data.n_items)
    for user in range(1, data.n_users + 1):
        rows = np.flatnonzero(data.users == user)
        expected = {row: UNUSED if cold[data.items[row]] else TRAIN for row in rows}
        target = None
        for row in rows:
            warm = [each for each in rows if each < row and not cold[data.items[each]]]
            if cold[data.items[row]] and len(warm) >= 2:
                target = row
        if target is not None:
            expected |= {row: UNUSED for row in rows if row > target} | {target: TEST}
        trained = [row for row in rows if expected[row] == TRAIN]
        if len(trained) >= 2:
            expected[trained[-1]] = VALID
        assert [split.part[row] for row in rows] == [expected[row] for row in rows]
    assert not cold[split.train_items].any()
    assert not cold[split.history("test").items].any()
    assert cold[split.targets("test").items].all()


def test_other_seeds_hold_other_items_out():
    data = random_toy(3, n_users=60, n_items=200, longest=30, shortest=8)
    first, other = (cold_items(data, 0.1, seed) for seed in (1, 2))
    assert first.sum() == other.sum() == 20
    assert (first != other).any()
    for share in (0.0, 1.0, -0.5):
        wrong = replace(PROTOCOLS["cold_items"], settings={"share": share})
        with pytest.raises(PaddockError, match=r"protocol\.settings\.share="):
            split_interactions(data, wrong)


@settings(deadline=None)
@given(interactions(), st.integers(0, 3))
def test_cold_users_give_their_first_items_and_ask_for_their_last_two(data, history):
    protocol = replace(PROTOCOLS["cold_users"], history=history)
    try:
        split = split_interactions(data, protocol)
    except PaddockError as error:
        assume("leaves" not in str(error))
        raise
    cold = cold_users(data, 0.3, 2024)
    assert cold[1:].sum() == max(1, int(0.3 * data.n_users))
    for user in range(1, data.n_users + 1):
        own = list(data.items[data.users == user])
        if not cold[user]:
            assert list(split.training().of(user)) == own
            assert len(split.targets("valid").of(user)) == len(split.targets("test").of(user)) == 0
            continue
        assert len(split.training().of(user)) == 0
        scored = len(own) >= history + 2
        assert list(split.targets("test").of(user)) == (own[-1:] if scored else [])
        assert list(split.targets("valid").of(user)) == (own[-2:-1] if scored else [])
        for phase in ("valid", "test"):
            given = own[:history] if scored else []
            assert list(split.history(phase).of(user)) == given
            assert set(split.masked(phase).of(user)) == set(given) - set(
                split.targets(phase).of(user)
            )


def test_the_same_users_are_held_out_whatever_is_given_of_them():
    data = random_toy(3, n_users=60, n_items=200, longest=30, shortest=8)
    bare, five = (
        split_interactions(data, replace(PROTOCOLS["cold_users"], history=n)) for n in (0, 5)
    )
    for phase in ("valid", "test"):
        assert list(bare.targets(phase).items) == list(five.targets(phase).items)
        assert list(bare.users(phase)) == list(five.users(phase))
    assert list(bare.train_items) == list(five.train_items)
    assert bare.hash != five.hash
    other = cold_users(data, 0.3, 1)
    assert other.sum() == len(bare.users("test")) == 18
    assert set(np.flatnonzero(other)) != set(bare.users("test"))


def test_random_parts_fall_everywhere_and_follow_the_seed():
    data = toy([list(range(1, 11))] * 4000, 10)
    split = split_interactions(data, PROTOCOLS["random"])
    place = np.tile(np.arange(10), 4000)
    for part, share in ((VALID, 0.1), (TEST, 0.1), (TRAIN, 0.8)):
        found = np.bincount(place[split.part == part], minlength=10) / 4000
        np.testing.assert_allclose(found, share, atol=0.03)
    other = split_interactions(data, replace(PROTOCOLS["random"], seed=1))
    assert other.hash != split.hash
    assert np.mean(other.part == split.part) < 0.8


def test_ties_at_a_cut_go_to_the_later_part():
    times = [[0, 1, 2, 3, 4, 5, 6, 6, 6, 9]]
    data = toy([list(range(1, 11))], 10, times=times)
    split = split_interactions(
        data, ProtocolConfig(name="t", split="temporal", ratios=[0.7, 0.2, 0.1])
    )
    # 7 of 10 would train, but the seventh is as late as the eighth.
    assert list(split.part) == [0] * 6 + [1] * 3 + [2]
    at_times = ProtocolConfig(name="t", split="temporal", cut_times=[3, 6])
    assert list(split_interactions(data, at_times).part) == [0] * 3 + [1] * 3 + [2] * 4


def test_shares_of_different_times_are_exact():
    rng = np.random.default_rng(0)
    times = np.split(rng.permutation(1000) / 7, 10)
    data = toy([list(range(1, 101))] * 10, 100, times=[sorted(line) for line in times])
    split = split_interactions(data, PROTOCOLS["temporal"])
    assert list(np.bincount(split.part)) == [800, 100, 100]


def test_what_cannot_be_cut_by_time_is_refused():
    with pytest.raises(PaddockError, match=r"the data set has none \(dataset.columns.time is null"):
        split_interactions(toy([[1, 2, 3, 4]], 5), PROTOCOLS["temporal"])
    data = toy([[1, 2, 3, 4]], 5, times=[[7, 7, 7, 7]])
    with pytest.raises(
        PaddockError, match=r"of 4 interactions 0 in train, 0 in valid, 4 in test.*7 to 7"
    ):
        split_interactions(data, PROTOCOLS["temporal"])
    with pytest.raises(PaddockError, match=r"2 in train, 2 in valid, 0 in test"):
        split_interactions(
            toy([[1, 2, 3, 4]], 5, times=[[1, 2, 3, 4]]),
            ProtocolConfig(name="t", split="temporal", cut_times=[3, 8]),
        )


def golden_hash(name):
    """Of data from a plain formula, so that no generator stands behind the golden hash."""
    histories = [[1 + (u * 7 + n * 11) % 40 for n in range(3 + u % 9)] for u in range(1, 26)]
    times = [[(u * 13) % 50 + 3 * n for n in range(3 + u % 9)] for u in range(1, 26)]
    return split_interactions(toy(histories, 40, times=times), PROTOCOLS[name]).hash


def test_every_process_and_machine_splits_the_same():
    assert {name: golden_hash(name) for name in GOLDEN} == GOLDEN
    code = """
import sys
from tests.protocol.test_splits import GOLDEN, golden_hash
print(*(golden_hash(name) for name in GOLDEN))
"""
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert told.stdout.split() == list(GOLDEN.values())


def test_the_tiny_data_set_splits_every_way(tiny_data):
    for name in splits():
        split = split_interactions(tiny_data, PROTOCOLS[name])
        assert set(np.unique(split.part)) - {UNUSED, GIVEN} == set(PARTS)
    assert random_toy(1, n_users=9, n_items=20, longest=9).timestamps is not None
