import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.errors import PaddockError
from experiments.protocol.candidates import _distinct, candidates

from .toy import loo, random_toy, split_of, toy

GOLDEN = "02692358fa389fac5b0d884605649bd439d400d634b5ebb365e19c3f437356c9"
ROOT = Path(__file__).parents[2]


def golden_data():
    """Histories from a plain formula, so that no generator stands behind the golden hash."""
    histories = [[1 + (u * 7 + n * 11) % 40 for n in range(3 + u % 9)] for u in range(1, 26)]
    return toy(histories, 40)


def draw(folder, data=None, phase="test", size=8, seed=3):
    data = data or golden_data()
    return candidates(data, loo(data), phase, size=size, seed=seed, folder=Path(folder))


def saved(folder):
    (path,) = Path(folder).glob("*.parquet")
    return path


@pytest.mark.parametrize("phase", ["valid", "test"])
@pytest.mark.parametrize("size", [2, 12, 25])
def test_rows_hold_the_target_once_and_nothing_the_user_had(tmp_path, phase, size):
    data = random_toy(1, n_users=300, n_items=40, longest=14)
    drawn = draw(tmp_path, data, phase, size)
    split = loo(data)
    assert drawn.items_TC.shape == (300, size)
    assert drawn.items_TC.dtype == drawn.users.dtype == drawn.targets.dtype == np.int32
    assert list(drawn.users) == list(split.users(phase))
    assert list(drawn.targets) == list(split.targets(phase).items)
    for user, target, row in zip(drawn.users, drawn.targets, drawn.items_TC, strict=True):
        had = set(data.items[data.users == user])
        assert len(set(row)) == size
        assert set(row) & had == {target}
        assert row.min() >= 1
        assert row.max() <= data.n_items


def test_several_targets_of_a_user_have_a_row_each(tmp_path):
    data = toy([[1, 2, 3, 4, 5], [6, 5, 4, 3]], 30)
    split = split_of(data, np.array([0, 1, 2, 2, 2, 0, 1, 2, 2]))
    drawn = candidates(data, split, "test", size=6, seed=1, folder=tmp_path)
    assert list(drawn.users) == [1, 1, 1, 2, 2]
    assert list(drawn.targets) == [3, 4, 5, 4, 3]
    assert not set(drawn.items_TC[:3].ravel()) & {1, 2}


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**32))
def test_distinct_numbers_below_their_bounds(n, seed):
    bounds = n + np.arange(40)
    ranks = _distinct(np.random.Philox(seed), bounds, n)
    assert np.all((ranks >= 0) & (ranks < bounds[:, None]))
    assert all(len(set(row)) == n for row in ranks)


# Up to half of the free items are drawn one by one, more of them by a shuffle.
@pytest.mark.parametrize("size", [2, 9, 14, 16, 24])
def test_negatives_and_target_places_are_uniform(tmp_path, size):
    n_users, had, n_items = 20_000, [2, 17, 30], 30
    drawn = draw(tmp_path, toy([had] * n_users, n_items), size=size, seed=11)
    is_target = drawn.items_TC == drawn.targets[:, None]
    places = is_target.sum(axis=0)
    assert stats.chisquare(places).pvalue > 1e-3
    negatives = drawn.items_TC[~is_target].reshape(n_users, size - 1)
    allowed = np.setdiff1d(np.arange(1, n_items + 1), had)
    n, m = len(allowed), size - 1
    counts = np.bincount(negatives.ravel(), minlength=n_items + 1)
    assert counts[had].sum() == counts[0] == 0
    # Without replacement counts vary less than a multinomial's: the statistic is scaled for it.
    expected = n_users * m / n
    statistic = ((counts[allowed] - expected) ** 2).sum() / (expected * (1 - m / n)) * (n - 1) / n
    assert 1e-3 < stats.chi2.sf(statistic, n - 1) < 1 - 1e-3
    for place in (0, m - 1):
        at_place = np.bincount(negatives[:, place], minlength=n_items + 1)[allowed]
        assert stats.chisquare(at_place).pvalue > 1e-3


def test_seed_phase_and_split_draw_differently(tmp_path):
    data = golden_data()
    other = toy([[1, 2, 3], *[list(data.items[data.users == u]) for u in range(2, 26)]], 40)
    hashes = [
        draw(tmp_path).hash,
        draw(tmp_path, seed=4).hash,
        draw(tmp_path, phase="valid").hash,
        draw(tmp_path, other).hash,
    ]
    assert len(set(hashes)) == 4
    assert len(list(tmp_path.glob("*.parquet"))) == 4


def in_a_process(folder, start=None):
    wait = f"while not Path({str(start)!r}).exists(): pass" if start else ""
    code = f"""
import sys
from pathlib import Path
from tests.protocol.test_candidates import draw
print(flush=True)
{wait}
print(draw({str(folder)!r}).hash)
"""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )


def test_every_process_and_machine_draws_the_same(tmp_path):
    assert draw(tmp_path / "here").hash == GOLDEN
    told, _ = in_a_process(tmp_path / "there").communicate()
    assert told.split() == [GOLDEN]


def test_two_processes_at_once_make_one_file(tmp_path):
    start = tmp_path / "start"
    both = [in_a_process(tmp_path / "shared", start) for _ in range(2)]
    for process in both:
        process.stdout.readline()
    start.touch()
    assert [process.communicate()[0].split() for process in both] == [[GOLDEN], [GOLDEN]]
    names = sorted(path.suffix for path in (tmp_path / "shared").iterdir())
    assert names in ([".parquet"], [".lock", ".parquet"])


def test_a_saved_file_is_read_again(tmp_path):
    first = draw(tmp_path)
    stamp = saved(tmp_path).stat().st_mtime_ns
    again = draw(tmp_path)
    assert saved(tmp_path).stat().st_mtime_ns == stamp
    assert again.hash == first.hash
    assert np.array_equal(again.items_TC, first.items_TC)
    name = saved(tmp_path).name
    assert name.startswith("test-c8-s3-")
    assert loo(golden_data()).hash[:16] in name


def test_a_changed_file_is_refused(tmp_path):
    draw(tmp_path)
    path = saved(tmp_path)
    table = pq.read_table(path)
    changed = table.set_column(1, "target", [table["target"].to_numpy()[::-1]])
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(PaddockError, match=r"damaged.*delete it"):
        draw(tmp_path)


@pytest.mark.parametrize("content", ["cut", "foreign", "empty", "bare"])
def test_an_unreadable_file_is_refused(tmp_path, content):
    draw(tmp_path)
    path = saved(tmp_path)
    if content == "bare":
        pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    else:
        whole = path.read_bytes()
        path.write_bytes(
            {"cut": whole[: len(whole) // 2], "foreign": b"x" * 99, "empty": b""}[content]
        )
    with pytest.raises(PaddockError, match=r"cannot be read.*delete it"):
        draw(tmp_path)


def test_a_file_of_another_draw_under_this_name_is_refused(tmp_path):
    draw(tmp_path / "a", seed=4)
    draw(tmp_path / "b", seed=3)
    saved(tmp_path / "a").replace(saved(tmp_path / "b"))
    with pytest.raises(PaddockError, match="belongs elsewhere"):
        draw(tmp_path / "b", seed=3)


def test_too_few_items_name_the_user(tmp_path):
    data = toy([[1, 2, 3], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]], 10)
    assert draw(tmp_path, data, size=5).items_TC.shape == (3, 5)
    with pytest.raises(
        PaddockError, match=r"needs 5 items .* user 2 never had only 4 of 10 .* 2 u"
    ):
        draw(tmp_path, data, size=6)
    with pytest.raises(PaddockError, match="2 or more"):
        draw(tmp_path, data, size=1)
