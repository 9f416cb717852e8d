from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def recbole_metrics(monkeypatch: pytest.MonkeyPatch) -> Any:
    # RecBole 1.2.1 speaks of names that numpy 2 dropped.
    names = {"float": np.float64, "float_": np.float64, "complex_": complex, "unicode_": np.str_}
    for name, meant in names.items():
        if name not in vars(np):
            monkeypatch.setattr(np, name, meant, raising=False)
    return pytest.importorskip("recbole.evaluator.metrics")


@pytest.fixture(scope="session")
def ranx() -> Any:
    """ranx in plain Python: numba takes minutes to compile what runs here in less than a second."""
    pytest.importorskip("numba").config.DISABLE_JIT = True
    return pytest.importorskip("ranx")
