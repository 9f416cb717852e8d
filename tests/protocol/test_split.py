import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.config.schema import ProtocolConfig
from experiments.errors import PaddockError
from experiments.protocol.split import TEST, TRAIN, VALID, Sequences, split_interactions

from .toy import loo, split_of, toy

N_ITEMS = 9
items = st.integers(1, N_ITEMS)
# One long history at least, or the split is rightly refused.
histories = st.tuples(
    st.lists(items, min_size=3, max_size=8),
    st.lists(st.lists(items, max_size=8), max_size=6),
).map(lambda drawn: [*drawn[1][:2], drawn[0], *drawn[1][2:]])


@settings(deadline=None)
@given(histories)
def test_every_interaction_is_in_one_part_and_nothing_leaks(given_histories):
    split = loo(toy(given_histories, N_ITEMS))
    assert sorted(np.concatenate([split.rows(part) for part in (TRAIN, VALID, TEST)])) == list(
        range(len(split.part))
    )
    for user, history in enumerate(given_histories, start=1):
        train = list(split.history("valid").of(user))
        known = list(split.history("test").of(user))
        valid = list(split.targets("valid").of(user))
        test = list(split.targets("test").of(user))
        assert known == train + valid
        assert train + valid + test == history
        assert (len(valid), len(test)) == ((1, 1) if len(history) >= 3 else (0, 0))


@settings(deadline=None)
@given(histories)
def test_views_agree_with_each_other(given_histories):
    split = loo(toy(given_histories, N_ITEMS))
    trained = [
        (user, item)
        for user, history in enumerate(given_histories, start=1)
        for item in (history[:-2] if len(history) >= 3 else history)
    ]
    assert list(zip(split.train_users, split.train_items, strict=True)) == trained
    scored = [user for user, history in enumerate(given_histories, start=1) if len(history) >= 3]
    assert list(split.users("valid")) == list(split.users("test")) == scored
    for phase in ("valid", "test"):
        assert split.history(phase).indptr.shape == (split.n_users + 2,)
        assert split.history(phase).indptr.dtype == np.int64
        assert split.history(phase).items.dtype == np.int32
        for user in range(split.n_users + 1):
            masked = set(split.history(phase).of(user)) - set(split.targets(phase).of(user))
            assert list(split.masked(phase).of(user)) == sorted(masked)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_several_targets_keep_their_time_order_and_count_once(seed):
    rng = np.random.default_rng(seed)
    rows = [[int(i) for i in rng.integers(1, 6, rng.integers(1, 12))] for _ in range(4)]
    data = toy(rows, 5)
    split = split_of(data, rng.integers(0, 3, len(data.items)))
    for user in range(1, 5):
        of_user = split.row_users == user
        tests = split.row_items[of_user & (split.part == TEST)]
        assert list(split.targets("test").of(user)) == list(dict.fromkeys(tests))


def test_take_gives_rows_in_the_order_asked():
    rows = Sequences(indptr=np.array([0, 0, 2, 2, 5]), items=np.arange(5, dtype=np.int32))
    taken = rows.take(np.array([3, 0, 1, 3, 2]))
    assert [list(taken.of(row)) for row in range(5)] == [[2, 3, 4], [], [0, 1], [2, 3, 4], []]
    assert list(taken.row_of_item()) == [0, 0, 0, 2, 2, 3, 3, 3]
    assert len(rows.take(np.array([], dtype=np.int64))) == 0


def test_a_split_without_test_users_is_refused_with_the_counts():
    with pytest.raises(PaddockError, match=r"leaves no user in valid and test: of 2 users with 3"):
        loo(toy([[1, 2], [3]], 3))


def test_unknown_names_are_refused():
    with pytest.raises(PaddockError, match="did you mean loo"):
        split_interactions(toy([[1, 2, 3]], 3), ProtocolConfig(name="x", split="looo"))
    with pytest.raises(PaddockError, match="valid or test"):
        loo(toy([[1, 2, 3]], 3)).history("train")


def test_the_hash_follows_data_and_parts():
    expected = hashlib.sha256(b"toy\nloo\n" + bytes([0, 0, 1, 2, 0, 1, 2])).hexdigest()
    assert loo(toy([[1, 2, 3, 4], [5, 6, 7]], 9)).hash == expected
    assert loo(toy([[1, 2, 3, 4]], 9)).hash != loo(toy([[1, 2, 3, 4]], 9, hash="other")).hash
    assert loo(toy([[1, 2, 3, 4]], 9)).hash != loo(toy([[1, 2, 3]], 9)).hash


def test_splitting_needs_no_model_library():
    code = "import sys, experiments.protocol.split; print('torch' in sys.modules, 'recbole' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]
