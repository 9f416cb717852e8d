"""EASE against its equation in float64 and RecBole's class; its memory; where it has no solution."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.model.general_recommender import EASE as RecBoleEASE

from experiments.config.resolve import resolve_model
from experiments.errors import PaddockError
from experiments.training import memory
from experiments.training.build import build
from experiments.training.context import TrainingContext
from models.ease import EASE, EASEConfig, weights


def rows(n_users: int, n_items: int) -> sp.csr_matrix:
    found = sp.random(n_users, n_items, 0.02, format="csr", random_state=1, dtype=np.float32)
    found.data[:] = 1
    return found


@pytest.mark.parametrize("n_items", [1, 30, 1024, 1500])
def test_weights_are_those_of_the_equation(n_items: int) -> None:
    """Eq. 8, written out; below, at and above the number of columns worked on at a time."""
    rows_UN = rows(200, n_items)
    inverse = np.linalg.inv(
        (rows_UN.T @ rows_UN).toarray().astype(np.float64) + 3 * np.eye(n_items)
    )
    expected = np.eye(n_items) - inverse / np.diag(inverse)
    found = weights(rows_UN, 3.0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert n_items == 1 or np.abs(expected).max() > 0.05


def test_one_matrix_of_items_is_all_that_is_held() -> None:
    rows_UN, n_items = rows(50, 3000), 3000
    tracemalloc.start()
    weights(rows_UN, 3.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.6 * 4 * n_items**2


def test_scores_are_recboles(tiny_data: Any, tiny_split: Any, tmp_path: Path) -> None:
    context = TrainingContext(
        data=tiny_data, split=tiny_split, seed=3, device=torch.device("cpu"), folder=tmp_path
    )
    ours, dataset, config = build(resolve_model({"name": "EASE"}).last, context)
    theirs = RecBoleEASE(config, dataset)
    assert type(ours) is EASE
    batch = {"user_id": torch.tensor([3, 0, 17, 3]), "item_id": torch.tensor([5, 1, 2, 0])}
    expected = theirs.full_sort_predict(batch).view(4, -1)
    torch.testing.assert_close(ours.full_sort_predict(batch), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        ours.predict(batch), expected.gather(1, batch["item_id"][:, None])[:, 0], atol=1e-5, rtol=0
    )
    assert expected.std() > 1e-3


def test_a_singular_matrix_is_answered_with_what_to_raise(
    fit: Any, tiny_data: Any, tiny_split: Any
) -> None:
    # The padding's row of the Gram matrix is 0, and without a ridge it stays so.
    with pytest.raises(PaddockError, match=r"EASE has no solution.*raise model\.reg_weight"):
        fit(resolve_model({"name": "EASE", "reg_weight": 0.0}), tiny_data, tiny_split)


def test_too_many_items_are_refused_with_the_memory_needed(
    fit: Any, tiny_data: Any, tiny_split: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 4 * (tiny_data.n_items + 1) ** 2
    assert EASEConfig.bytes_needed({}, n_users=3, n_items=tiny_data.n_items + 1) == needed
    model = resolve_model({"name": "EASE"})
    monkeypatch.setattr(memory, "free_bytes", lambda: needed)
    fit(model, tiny_data, tiny_split)
    monkeypatch.setattr(memory, "free_bytes", lambda: needed - 1)
    with pytest.raises(PaddockError, match=rf"EASE on {tiny_data.n_items} items needs .* GB"):
        fit(model, tiny_data, tiny_split)


def test_a_container_has_less_than_its_machine(tmp_path: Path) -> None:
    machine = memory.free_bytes(tmp_path)
    assert machine > 1e8
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    assert memory.free_bytes(tmp_path) == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(tmp_path) > 1e8
