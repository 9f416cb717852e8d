import sys

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums are split among threads, so that their number changes the last bits."""
    torch.set_num_threads(1)


@pytest.fixture
def recboles_own_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """What RecBole's Config reads and writes beyond its arguments is put back afterwards."""
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
