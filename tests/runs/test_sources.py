"""Editing a model or a strategy trains it again; earlier numbers are never told as those of new code."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.components import plugins
from experiments.components.plugins import load_plugins
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.files import read_json
from experiments.integrity import write_sealed
from experiments.protocol.split import Split
from experiments.runs.folder import RunFolder
from experiments.training.context import TrainingContext
from experiments.training.reuse import is_shared, product_of
from tests.commands.command_line import CommandLine

MODEL = '''"""A user's model."""

from recbole.model.general_recommender import BPR

from paddock import ModelConfig, key

from .losses import scaled


class OwnBPRConfig(ModelConfig):
    """BPR whose loss has a weight."""

    extends = "BPR"
    learns = {"own_pairs": ("user_embedding.", "item_embedding.")}

    loss_weight: float = key(2.0, "What the loss is multiplied by.", above=0)


class OwnBPR(BPR):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.loss_weight = config["loss_weight"]

    def calculate_loss(self, interaction):
        loss = super().calculate_loss(interaction)
        return scaled(loss, self.loss_weight)
'''
LOSSES = "def scaled(loss, weight):\n    return loss * weight\n"
STRATEGY = '''"""A user's strategy."""

from experiments.training.strategies.pairs import Pairs, PairsConfig


class OwnPairsConfig(PairsConfig):
    """Pairs whose loss is scaled."""

    name = "own_pairs"


class OwnPairs(Pairs):
    def _batch_loss(self, batch):
        return super()._batch_loss(batch) * 1.0
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    folder = tmp_path / "own-models"
    folder.mkdir()
    (folder / "ownbpr.py").write_text(MODEL)
    (folder / "losses.py").write_text(LOSSES)
    (folder / "ownpairs.py").write_text(STRATEGY)
    return folder


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def comment(folder: Path) -> None:
    for path in folder.glob("*.py"):
        path.write_text(f"# A comment.\n{path.read_text()}")


def numbers(run: RunFolder) -> Mapping[str, float]:
    metrics: Mapping[str, float] = run.result["metrics"]
    return metrics


def test_an_edited_model_or_strategy_is_trained_again(paddock: CommandLine, plugin: Path) -> None:
    """A process for each command, as a user has."""
    words = (
        "model=recbole", "model.name=OwnBPR", "model.strategy=own_pairs", "model.epochs=2",
        "model.train_batch_size=256", "model.learning_rate=0.01", "dataset=tiny", "device=cpu",
        "seed=1", "progress=false", f"plugins=[{plugin}]",
    )  # fmt: skip

    def answered() -> str:
        answer = paddock.process(*words)
        assert answer.code == 0, answer.err
        return " ".join(answer.out.split())

    assert "finished before" not in answered()
    (first,) = paddock.runs
    assert set(first.run["sources"]) == {"model OwnBPR", "strategy own_pairs"}
    comment(plugin)
    assert "ownbpr seed 1: finished before, reused" in answered()

    replace(plugin / "losses.py", "loss * weight", "loss * weight * 0.1")
    edited = answered()
    assert "trained again: the source of model OwnBPR changed since the run in" in edited
    assert str(first.path) in edited
    second = paddock.runs[0]
    assert len(paddock.runs) == 2
    assert numbers(second) != numbers(first)

    replace(plugin / "ownpairs.py", "* 1.0", "* -1.0")
    edited = answered()
    assert "the source of strategy own_pairs changed since" in edited
    assert "finished before" not in edited
    third = paddock.runs[0]
    assert len(paddock.runs) == 3
    assert numbers(third) not in (numbers(first), numbers(second))

    # As they were, both are found again.
    replace(plugin / "ownpairs.py", "* -1.0", "* 1.0")
    replace(plugin / "losses.py", " * 0.1", "")
    assert "finished before, reused" in answered()
    assert len(paddock.runs) == 3


@pytest.fixture
def product(
    plugin: Path,
    tiny_data: Prepared,
    tiny_split: Split,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], str]:
    """The identity of a shared stage of the plug-in's model."""
    monkeypatch.setattr(plugins, "_loaded", {})
    load_plugins([str(plugin)])
    values = resolve_model({"name": "OwnBPR", "strategy": "own_pairs", "epochs": 1}).last
    assert is_shared(values)
    context = TrainingContext(
        data=tiny_data, split=tiny_split, seed=1, device=torch.device("cpu"), folder=tmp_path
    )
    return lambda: product_of(values, context, selection="s").identity


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("ownbpr.py", "scaled(loss, self.loss_weight)", "scaled(loss, 2 * self.loss_weight)"),
        ("losses.py", "loss * weight", "loss + weight"),
        ("ownpairs.py", "* 1.0", "* 1.5"),
    ],
)
def test_a_shared_stage_is_that_of_its_sources(
    file: str, old: str, new: str, plugin: Path, product: Callable[[], str]
) -> None:
    before = product()
    comment(plugin)
    assert product() == before
    replace(plugin / file, old, new)
    assert product() != before


def test_a_run_of_an_earlier_kind_is_told_and_not_reused(paddock: CommandLine) -> None:
    words = ("model=pop", "dataset=tiny", "device=cpu", "seed=1")
    run = paddock.trained(*words)
    assert run.run["format"] == 2
    # As it was before sources were part of a run's identity.
    old = run.path.parent.with_name("pop-0123456789") / "seed-1"
    old.parent.mkdir()
    run.path.rename(old)
    content = read_json(old / "run.json")
    del content["format"], content["sources"]
    write_sealed(old / "run.json", {**content, "config_hash": "0123456789" + 54 * "a"})
    answer = paddock(*words)
    assert answer.code == 0, answer.err
    told = [line for line in answer.out.splitlines() if "earlier version" in line]
    assert len(told) == 1
    assert "pop seed 1: 1 finished run of an earlier version" in told[0]
    assert str(old) in answer.out.replace("\n", "")
    # Wherever a console of this width breaks the line.
    assert "not reused" in " ".join(answer.out.split())
    assert "finished before" not in answer.out
    assert len(paddock.runs) == 2
    # The run that was trained since is reused, and nothing more is said of the other.
    again = paddock(*words)
    assert "finished before, reused" in again.out
    assert "earlier version" not in again.out


def test_runs_of_other_seeds_and_configurations_are_not_spoken_of(paddock: CommandLine) -> None:
    common = ("dataset=tiny", "device=cpu")
    paddock.trained("model=pop", *common, "seed=1")
    for words in (("model=pop", "seed=2"), ("model=itemknn", "seed=1")):
        answer = paddock(*words, *common)
        assert answer.code == 0, answer.err
        assert "trained again" not in answer.out
        assert "earlier version" not in answer.out


def test_a_source_that_changed_is_told_in_one_line(paddock: CommandLine) -> None:
    words = ("model=pop", "dataset=tiny", "device=cpu", "seed=1")
    run = paddock.trained(*words)
    other = run.path.parent.with_name("pop-0123456789") / "seed-1"
    other.parent.mkdir()
    run.path.rename(other)
    moved = RunFolder(other)
    moved.update(sources={**moved.run["sources"], "model Pop": 64 * "0"})
    answer = paddock(*words)
    line = "pop seed 1: trained again: the source of model Pop changed since the run in"
    assert line in answer.out
    assert json.loads((other / "run.json").read_text())["state"] == "finished"
    shutil.rmtree(other.parent)


def test_identities_hold_what_a_run_computes_by(paddock: CommandLine) -> None:
    run: Any = paddock.trained("model=pop", "dataset=tiny", "device=cpu").run
    assert set(run["sources"]) == {"model Pop", "strategy recbole"}
    assert all(len(each) == 64 for each in run["sources"].values())
