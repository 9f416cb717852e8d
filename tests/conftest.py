"""What tests of several folders use.

The tiny data set, prepared and split once; toy data sets from histories or bytes; training in one
call; the command line in a folder of its own; a SQLite store for each test.
"""

import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from experiments.training.memory import keep_freed_memory

if TYPE_CHECKING:
    from experiments.config.resolve import ResolvedModel
    from experiments.config.schema import TrackingConfig
    from experiments.data.prepared import Prepared
    from experiments.protocol.split import Split
    from experiments.training.stages import Trained
    from tests.commands.command_line import CommandLine
    from tests.data.samples import Write

# No test may reach the store of whoever runs the tests.
os.environ.pop("MLFLOW_TRACKING_URI", None)

# Tests run on all cores at once: further threads of each would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Streamlit sets it when it is imported; a process that is to read another one is not forked.
os.environ.setdefault("MPLBACKEND", "Agg")

# Tests train without a command, which would see to this.
keep_freed_memory()


@pytest.fixture(autouse=True, scope="module")
def _plugins_of_this_module_alone() -> Iterator[None]:
    """Plug-ins that a module's tests load in this process are gone behind it."""
    from experiments.components import plugins

    before = dict(plugins._loaded)
    yield
    plugins._loaded.clear()
    plugins._loaded.update(before)


@pytest.fixture(autouse=True, scope="module")
def _mlflow_address_of_this_module_alone() -> Iterator[None]:
    """`mlflow.set_tracking_uri` hands it on to all later processes by the environment."""
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; playwright bears one in a process."""
    from tests.browser import launched

    with launched() as running:
        yield running


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> "Prepared":
    from experiments.config.compose import compose, typed
    from experiments.data.prepare import prepare

    config = typed(compose(["dataset=tiny"]))
    return prepare(config.dataset, data_dir=tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def tiny_split(tiny_data: "Prepared") -> "Split":
    return leave_one_out(tiny_data)


@pytest.fixture
def prepared(tmp_path: Path) -> "Callable[..., tuple[Prepared, Split]]":
    """Prepare and split histories of item numbers; users and items keep their numbers as tokens."""

    def prepare_histories(
        histories: Sequence[Sequence[int]], *, name: str = "toy"
    ) -> "tuple[Prepared, Split]":
        from experiments.config.schema import DatasetConfig
        from experiments.data.prepare import prepare

        folder = tmp_path / name
        folder.mkdir()
        rows = ["user_id:token\titem_id:token\ttimestamp:float"]
        for user, history in enumerate(histories, start=1):
            rows += [f"{user}\t{item}\t{time}" for time, item in enumerate(history)]
        (folder / f"{name}.inter").write_text("\n".join(rows) + "\n")
        data = prepare(DatasetConfig(source=str(folder)), data_dir=tmp_path / "prepared")
        return data, leave_one_out(data)

    return prepare_histories


def leave_one_out(data: "Prepared") -> "Split":
    from experiments.config.schema import ProtocolConfig
    from experiments.protocol.split import split_interactions

    return split_interactions(data, ProtocolConfig(name="loo", split="loo"))


@pytest.fixture(scope="session")
def fit(tmp_path_factory: pytest.TempPathFactory) -> "Callable[..., Trained]":
    """Train a resolved model; the last epoch of every stage is kept."""

    def fit_model(
        resolved: "ResolvedModel",
        data: "Prepared",
        split: "Split",
        *,
        seed: int = 1,
        on_epoch: Callable[[dict[str, Any]], None] = lambda record: None,
        folder: Path | None = None,
    ) -> "Trained":
        import torch

        from experiments.training.context import TrainingContext
        from experiments.training.stages import Training, train
        from paddock import Callback

        class Epochs(Callback):
            def on_epoch(self, record: Mapping[str, Any]) -> None:
                on_epoch(dict(record))

        rising = itertools.count()
        context = TrainingContext(
            data=data,
            split=split,
            seed=seed,
            device=torch.device("cpu"),
            folder=folder or tmp_path_factory.mktemp("run"),
        )
        return train(
            resolved,
            context,
            # Whoever names the folder means to go on from what is left in it.
            Training(identity="test", metric="valid", checkpoint_seconds=0 if folder else 1e9),
            validate=lambda model, dataset: {"valid": float(next(rising))},
            callbacks=Epochs(),
        )

    return fit_model


@pytest.fixture
def paddock(tmp_path: Path) -> "CommandLine":
    """The command line in a folder of its own."""
    from tests.commands.command_line import CommandLine

    return CommandLine(tmp_path)


@pytest.fixture
def write(tmp_path: Path) -> "Write":
    """Write a small folder of atomic files, to prepare or to break; None leaves a file out."""
    from tests.data.samples import INTER, ITEM, USER

    def write_folder(
        inter: bytes | None = INTER,
        item: bytes | None = ITEM,
        user: bytes | None = USER,
        *,
        name: str = "small",
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for kind, content in (("inter", inter), ("item", item), ("user", user)):
            if content is not None:
                (folder / f"{name}.{kind}").write_bytes(content)
        return folder

    return write_folder


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "prepared"


@pytest.fixture(scope="session")
def fast_sqlite() -> None:
    from tests.tracking.mlflow_state import without_fsync

    without_fsync()


@pytest.fixture(scope="session")
def empty_store(fast_sqlite: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema, which takes seventy migrations to make."""
    from experiments.tracking.store import connect
    from tests.tracking.mlflow_state import sqlite_tracking

    folder = tmp_path_factory.mktemp("store")
    connect(sqlite_tracking(folder))
    return folder / "mlflow.db"


@pytest.fixture
def tracking(tmp_path: Path, empty_store: Path) -> "TrackingConfig":
    """A store of the test's own, copied from one that holds the schema already."""
    from tests.tracking.mlflow_state import sqlite_tracking

    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return sqlite_tracking(tmp_path)


@pytest.fixture
def recboles_own_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """What RecBole's Config reads and writes beyond its arguments is put back afterwards."""
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
