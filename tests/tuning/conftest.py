"""A tuner in a folder of its own, with data that is prepared once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .tuner import Tuner


@pytest.fixture(scope="session")
def tuner_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Tuner]:
    data_dir = tmp_path_factory.mktemp("data")
    return lambda folder: Tuner(folder, data_dir=data_dir)


@pytest.fixture
def tuner(tmp_path: Path, tuner_in: Callable[[Path], Tuner]) -> Tuner:
    return tuner_in(tmp_path)
