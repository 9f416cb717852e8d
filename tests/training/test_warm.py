"""Training starts from a run's weights, users and items matched by their ids."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from experiments.commands.start import cannot_start
from experiments.config.compose import compose, typed
from experiments.config.resolve import resolve_model
from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder
from experiments.training.warm import Start
from tests.commands.command_line import CommandLine

TINY = ("dataset=tiny", "device=cpu", "threads=1")
SMALL = ("model=sasrec", "model.hidden_size=16", "model.stopping_step=0")


@dataclass
class Known:
    """As much of a data set as a start reads."""

    user_tokens: list[str]
    item_tokens: list[str]


class Factors(nn.Module):
    """A vector of each user and item, a layer between, and a row of items as autoencoders read it."""

    def __init__(self, n_users: int, n_items: int) -> None:
        super().__init__()
        self.user_embedding = nn.Embedding(n_users + 1, 3)
        self.item_embedding = nn.Embedding(n_items + 1, 3)
        self.layer = nn.Linear(3, 3)
        self.reads_items = nn.Linear(n_items + 1, 2)


def start_of(model: nn.Module, users: list[str], items: list[str]) -> Start:
    tensors = {f"weight/{name}": value.clone() for name, value in model.state_dict().items()}
    return Start(source="runs/old", tensors=tensors, users=users, items=items)


@pytest.mark.parametrize("users", [["", "a", "b"], ["", "a", "b", "c", "d"]])
def test_rows_go_by_ids_and_not_by_places(users: list[str]) -> None:
    torch.manual_seed(1)
    items = ["", "w", "x", "y", "z"]
    old = Factors(len(users) - 1, 4)
    new_users, new_items = ["", "b", "new", "a"], ["", "z", "fresh", "y", "x", "w"]
    new = Factors(3, 5)
    drawn = {name: value.clone() for name, value in new.state_dict().items()}
    data: Any = Known(new_users, new_items)
    start_of(old, users, items).into(new, data)
    for table, own, given in (
        ("user_embedding", new_users, users),
        ("item_embedding", new_items, items),
    ):
        made, before = (getattr(model, table).weight for model in (new, old))
        for place, token in enumerate(own):
            known = token in given
            expected = before[given.index(token)] if known else drawn[f"{table}.weight"][place]
            assert torch.equal(made[place], expected), (table, token)
    assert torch.equal(new.layer.weight, old.layer.weight)
    for place, token in enumerate(new_items):
        expected = (
            old.reads_items.weight[:, items.index(token)]
            if token in items
            else drawn["reads_items.weight"][:, place]
        )
        assert torch.equal(new.reads_items.weight[:, place], expected)


def test_the_same_ids_give_the_same_weights() -> None:
    ids = ["", "a", "b", "c"]
    old, new = Factors(3, 3), Factors(3, 3)
    data: Any = Known(ids, ids)
    start_of(old, ids, ids).into(new, data)
    for name, value in new.state_dict().items():
        assert torch.equal(value, old.state_dict()[name]), name


def test_another_shape_is_one_sentence() -> None:
    ids = ["", "a", "b", "c", "d"]
    data: Any = Known(ids, ids)
    new = Factors(4, 4)
    new.layer = nn.Linear(3, 2)
    with pytest.raises(PaddockError, match=r"its layer.weight is \(3, 3\).* \(2, 3\)"):
        start_of(Factors(4, 4), ids, ids).into(new, data)
    with pytest.raises(PaddockError, match=r"its user_embedding.weight is none"):
        Start(source="x", tensors={}, users=ids, items=ids).into(Factors(4, 4), data)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("sasrec", None),
        ("bpr", None),
        ("multivae", None),
        ("ease", "in one pass"),
        ("slist", "in one pass"),
        ("ract", "in 3 stages"),
        ("fusion", "frozen recommenders"),
    ],
)
def test_which_models_can(model: str, said: str | None) -> None:
    reason = cannot_start(resolve_model(typed(compose([f"model={model}", "dataset=tiny"])).model))
    assert (reason is None) if said is None else said in (reason or "")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, RunFolder]:
    paddock = CommandLine(tmp_path_factory.mktemp("warm"))
    return paddock, paddock.trained(*TINY, *SMALL, "model.epochs=6")


def test_a_warm_run_goes_on(trained: tuple[CommandLine, RunFolder]) -> None:
    paddock, first = trained
    warm = paddock.trained(*TINY, *SMALL, "model.epochs=2", f"warm_start={first.path}")
    cold = paddock.trained(*TINY, *SMALL, "model.epochs=2")
    losses = [run.curve[0]["metrics"]["train/loss"] for run in (first, cold, warm)]
    assert losses[2] < losses[1]
    assert losses[2] < first.curve[-1]["metrics"]["train/loss"] * 1.05
    assert warm.run["config_hash"] != cold.run["config_hash"]
    assert warm.run["start"]["folder"] == str(first.path)
    assert "warm_start=" in warm.run["command"]
    assert warm.run["weights"] is None
    (note,) = [value for name, value in warm.run["tags"].items() if name.endswith(".start")]
    assert note.startswith("starts from the weights of sasrec on tiny")
    # Other weights are another run; the same ones are this one again.
    again = paddock(*TINY, *SMALL, "model.epochs=2", f"warm_start={first.path}")
    assert f"finished before, reused ({warm.path})" in again.out.replace("\n", "")
    other = paddock.trained(*TINY, *SMALL, "model.epochs=2", f"warm_start={cold.path}")
    assert other.run["config_hash"] not in (warm.run["config_hash"], cold.run["config_hash"])


def test_the_weights_that_it_starts_from_may_be_the_best(
    trained: tuple[CommandLine, RunFolder],
) -> None:
    """With a step size that ruins them, epoch 0 is kept: its valid metric is that of the first run."""
    paddock, first = trained
    words = ("model.epochs=1", "model.learning_rate=10", f"warm_start={first.path}")
    ruined = paddock.trained(*TINY, *SMALL, *words)
    assert ruined.result["best_epoch"] == 0
    for name, value in ruined.result["metrics"].items():
        assert value == pytest.approx(first.result["metrics"][name], rel=1e-6), name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model=ease",), "EASE finds its weights in one pass, wherever it starts; leave it out"),
        (("model=bpr",), "is a run of SASRec, not of BPR"),
        (
            ("model=sasrec", "model.epochs=1", "model.hidden_size=32"),
            "start from a run of the same configuration",
        ),
        (("model=sasrec", "warm_start=nowhere"), "nowhere is neither a run folder"),
    ],
)
def test_what_cannot_be_started(
    words: tuple[str, ...], said: str, trained: tuple[CommandLine, RunFolder]
) -> None:
    paddock, first = trained
    words = words if "warm_start=nowhere" in words else (*words, f"warm_start={first.path}")
    answer = paddock(*TINY, *words)
    assert answer.code != 0
    assert said in answer.err.replace("\n", " ")
