import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums are split among threads, so that their number changes the last bits."""
    torch.set_num_threads(1)
