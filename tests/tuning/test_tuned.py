"""`+tuned=auto` stands for the file that tune.py wrote, in a run and in a grid."""

from pathlib import Path

import pytest

from experiments.config.compose import compose, typed
from experiments.errors import PaddockError
from experiments.paths import CONF

FILE = """# @package _global_
model:
  learning_rate: 0.0123
  embedding_size: 48
tuned:
  study: tiny/loo/bpr-0123456789
  data_hash: other
"""


@pytest.fixture
def search_path(tmp_path: Path) -> str:
    for protocol in ("loo", "loo-c20"):
        path = tmp_path / "tuned" / "tiny" / protocol / "bpr.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(FILE.replace("48", "48" if protocol == "loo" else "24"))
    return f"hydra.searchpath=[file://{tmp_path}]"


def test_values_of_the_file(search_path: str) -> None:
    config = typed(compose(["model=bpr", "dataset=tiny", "+tuned=auto", search_path]))
    assert config.model["learning_rate"] == 0.0123
    assert config.model["embedding_size"] == 48
    assert config.model["train_batch_size"] == 2048  # not in the file
    assert config.tuned["study"] == "tiny/loo/bpr-0123456789"


def test_file_of_the_protocol_and_the_command_wins(search_path: str) -> None:
    overrides = ["model=bpr", "dataset=tiny", "protocol=loo-c20", "+tuned=auto", search_path]
    config = typed(compose([*overrides, "model.learning_rate=0.5"]))
    assert config.model["learning_rate"] == 0.5
    assert config.model["embedding_size"] == 24


def test_any_takes_the_file_where_there_is_one(search_path: str) -> None:
    found = typed(compose(["model=bpr", "dataset=tiny", "+tuned=any", search_path]))
    assert found.model["embedding_size"] == 48
    overrides = ["model=lightgcn", "dataset=tiny"]
    own = typed(compose([*overrides, "+tuned=any", search_path]))
    assert own == typed(compose(overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model=sasrec", "dataset=tiny", "+tuned=auto"],
            "there is no conf/tuned/tiny/loo/sasrec.yaml; tune it first: "
            "python tune.py model=sasrec dataset=tiny protocol=loo",
        ),
        (["model=bpr", "+tuned=best"], r"\+tuned=best: there is no such file"),
        (["model=bpr", "tuned=auto"], r"write \+tuned=auto"),
    ],
)
def test_no_such_file(overrides: list[str], message: str) -> None:
    with pytest.raises(PaddockError, match=message):
        compose(overrides)


def test_committed_files_compose() -> None:
    """Each to a configuration that can run, with where it came from."""
    from experiments.config.check import check

    for path in sorted((CONF / "tuned").rglob("*.yaml")):
        if path.name in ("auto.yaml", "any.yaml"):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0] == "# @package _global_"
        overrides = lines[1].removeprefix("# python run.py ").split()
        config = typed(compose(overrides))
        check(config)
        assert {"study", "trial", "value", "n_trials", "seconds", "data_hash"} <= set(config.tuned)
