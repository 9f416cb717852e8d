"""The tiny data set, prepared and split once, and toy data sets from histories."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from experiments.data.prepared import Prepared
    from experiments.split import Split


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> "Prepared":
    from experiments.compose import compose, typed
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
        from experiments.config import DatasetConfig
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
    from experiments.config import ProtocolConfig
    from experiments.split import split_interactions

    return split_interactions(data, ProtocolConfig(name="loo", split="loo"))
