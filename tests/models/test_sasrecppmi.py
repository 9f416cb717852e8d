"""SASRec that starts from mutual information: counted pair by pair, factorised by numpy."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.training.build import build
from experiments.training.context import TrainingContext
from models.sasrec import SASRec
from models.sasrecppmi import information_factors, mutual_information

HISTORIES = {1: [1, 2, 3], 2: [2, 3], 3: [1, 4], 4: [5], 5: [2, 3, 4, 1]}
N_ITEMS = 6


def rows(histories: dict[int, list[int]], n_items: int) -> sp.csr_matrix:
    matrix = np.zeros((max(histories) + 1, n_items))
    for user, items in histories.items():
        matrix[user, items] = 1
    return sp.csr_matrix(matrix)


def counted(histories: dict[int, list[int]], n_items: int) -> np.ndarray:
    """The definition: a loop over the pairs of every history."""
    pairs = np.zeros((n_items, n_items))
    for items in histories.values():
        for one, other in itertools.permutations(items, 2):
            pairs[one, other] += 1 / (len(items) - 1)
    total, of_item = pairs.sum(), pairs.sum(1)
    found = np.zeros_like(pairs)
    for one, other in zip(*pairs.nonzero(), strict=True):
        found[one, other] = max(
            0.0, np.log(pairs[one, other] * total / (of_item[one] * of_item[other]))
        )
    return found


def test_mutual_information_is_its_definition() -> None:
    expected = counted(HISTORIES, N_ITEMS)
    assert 0 < (expected > 0).sum() < N_ITEMS**2
    np.testing.assert_allclose(
        mutual_information(rows(HISTORIES, N_ITEMS)).toarray(), expected, atol=1e-12
    )


@pytest.mark.parametrize("width", [2, 4, 9])
def test_factors_are_the_best_of_their_width(width: int) -> None:
    matrix = counted(HISTORIES, N_ITEMS)
    factors = information_factors(rows(HISTORIES, N_ITEMS), width)
    assert factors.shape == (N_ITEMS, width)
    assert not factors[0].any()
    left, values, _ = np.linalg.svd(matrix)
    kept = min(width, N_ITEMS)
    expected = (left[:, :kept] * values[:kept]) @ left[:, :kept].T
    # Signs and turns among equal values are free: products are not.
    np.testing.assert_allclose(factors @ factors.T, expected, atol=1e-5)


def test_the_model_starts_from_them_and_is_a_sasrec(
    tiny_data: Prepared, tiny_split: Split, tmp_path: Path
) -> None:
    context = TrainingContext(
        data=tiny_data, split=tiny_split, seed=3, device=torch.device("cpu"), folder=tmp_path
    )
    keys = {"name": "SASRecPPMI", "strategy": "windows", "hidden_size": 8, "n_heads": 2}
    model, dataset, _ = build(resolve_model(keys).last, context)
    histories = {
        user: tiny_split.train_items[tiny_split.train_users == user].tolist()
        for user in np.unique(tiny_split.train_users)
    }
    start = information_factors(rows(histories, dataset.item_num), 8)
    weight = model.item_embedding.weight.detach().numpy()
    np.testing.assert_allclose(
        weight[1:] / weight[1:].std(), start[1:] / start[1:].std(), rtol=1e-4, atol=1e-5
    )
    assert weight[1:].std() == pytest.approx(0.02, rel=1e-3)
    plain, _, _ = build(resolve_model({**keys, "name": "SASRec"}).last, context)
    assert isinstance(model, SASRec)
    plain.load_state_dict(model.state_dict())
    items = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(plain.eval().states(items), model.eval().states(items))


def test_items_without_company_keep_their_random_start() -> None:
    assert not information_factors(rows({1: [1], 2: [2]}, N_ITEMS), 3).any()
