"""The tiny data set, prepared and split once; toy data sets from histories; training in one call."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from experiments.data.prepared import Prepared
    from experiments.protocol.split import Split
    from experiments.training.stages import Trained


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
    """Train resolved model values; the last epoch of every stage is kept."""

    def fit_model(
        values: dict[str, Any],
        data: "Prepared",
        split: "Split",
        *,
        seed: int = 1,
        on_epoch: Callable[[dict[str, Any]], None] = lambda record: None,
        folder: Path | None = None,
    ) -> "Trained":
        import torch

        from experiments.training.stages import Hooks, train

        rising = itertools.count()
        hooks = Hooks(
            validate=lambda model, dataset: {"valid": float(next(rising))},
            on_stage=lambda name, epochs: None,
            on_epoch=on_epoch,
            rewind=lambda step: None,
            tick=lambda done, total: None,
        )
        return train(
            values,
            data=data,
            split=split,
            seed=seed,
            device=torch.device("cpu"),
            folder=folder or tmp_path_factory.mktemp("run"),
            identity="test",
            metric="valid",
            # Whoever names the folder means to go on from what is left in it.
            checkpoint_seconds=0 if folder else 1e9,
            hooks=hooks,
        )

    return fit_model
