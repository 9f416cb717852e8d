"""protocol.refit=valid and protocol.inputs=recbole: what is trained, what is tested, what is compared."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments import checkpoint
from experiments.config.compose import compose, typed
from experiments.config.resolve import ResolvedModel, resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import TEST, VALID, Split
from experiments.runs.folder import RunFolder
from experiments.training.context import TrainingContext
from experiments.training.loop import Callbacks
from experiments.training.stages import Trained, Training, refit, train
from experiments.training.state import model_state
from tests.commands.command_line import CommandLine

SASREC = ["model=sasrec", "dataset=tiny", "model.epochs=6", "model.hidden_size=16"]
EASE = ["model=recbole", "model.name=EASE", "dataset=tiny", "model.reg_weight=20"]


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder.path / "model" / "model.safetensors")[0]["model"][0]


def both_trainings(
    resolved: ResolvedModel, data: Prepared, split: Split, folder: Path
) -> tuple[Trained, Trained]:
    """Training whose third epoch is the best, and the training on the valid part that follows."""
    values = iter([0.1, 0.2, 0.4, 0.3, 0.2, 0.1, 0.0, 0.0] * 8)
    folder.mkdir()
    context = TrainingContext(
        data=replace(data, elsewhere=folder),
        split=split,
        seed=1,
        device=torch.device("cpu"),
        folder=folder,
    )
    training = Training(identity="test", metric="valid", checkpoint_seconds=1e9)
    chosen = train(
        resolved,
        context,
        training,
        validate=lambda model, dataset: {"valid": next(values)},
        callbacks=Callbacks(),
    )
    kept = {name: value.clone() for name, value in model_state(chosen.model)[0].items()}
    again = refit(resolved, context, training, chosen=chosen, callbacks=Callbacks())
    for name, value in model_state(chosen.model)[0].items():
        assert torch.equal(value, kept[name])
    return chosen, again


def other_tests(split: Split) -> Split:
    """The same split with other test items."""
    items = split.row_items.copy()
    tests = split.part == TEST
    items[tests] = items[tests] % split.n_items + 1
    assert (items != split.row_items).sum() == tests.sum()
    return replace(split, row_items=items)


def test_a_linear_model_solves_for_train_and_valid(paddock: CommandLine) -> None:
    plain = paddock.trained(*EASE)
    again = paddock.trained(*EASE, "protocol.refit=valid")
    rows_UN = _known_rows(paddock)
    gram_NN = rows_UN.T @ rows_UN + 20 * np.eye(rows_UN.shape[1], dtype=np.float32)
    inverse_NN = np.linalg.inv(gram_NN)
    expected = inverse_NN / -np.diag(inverse_NN)
    np.fill_diagonal(expected, 0)
    found = weights(again)["array/item_similarity"].numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)
    assert np.abs(weights(plain)["array/item_similarity"].numpy() - expected).max() > 0.01


def _known_rows(paddock: CommandLine) -> np.ndarray:
    from experiments.protocol.shared_data import shared_data

    config = typed(compose(["dataset=tiny", *paddock.places]))
    shared = shared_data(config)
    split = shared.split
    rows_UN = np.zeros((split.n_users + 1, split.n_items + 1), dtype=np.float32)
    known = split.part != TEST
    np.add.at(rows_UN, (split.row_users[known], split.row_items[known]), 1)
    return rows_UN


class TestRuns:
    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
        paddock = CommandLine(tmp_path_factory.mktemp("refit"))
        runs = {
            name: paddock.trained(*SASREC, *more)
            for name, more in {
                "plain": [],
                "refit": ["protocol.refit=valid"],
                "again": ["protocol.refit=valid"],
            }.items()
        }
        runs |= {
            "ease": paddock.trained(*EASE),
            "recbole": paddock.trained(*EASE, "protocol.inputs=recbole"),
        }
        return {"paddock": paddock, **runs}

    def test_identities_differ(self, made: dict[str, Any]) -> None:
        hashes = {name: made[name].run["config_hash"] for name in ("plain", "refit", "again")}
        assert hashes["plain"] != hashes["refit"] == hashes["again"]
        assert made["ease"].run["config_hash"] != made["recbole"].run["config_hash"]

    def test_valid_metrics_are_those_of_the_model_that_was_chosen(
        self, made: dict[str, Any]
    ) -> None:
        plain, again = made["plain"].result, made["refit"].result
        of_valid = [name for name in plain["metrics"] if name.startswith("valid/")]
        assert of_valid
        for name in of_valid:
            assert plain["metrics"][name] == again["metrics"][name]
        assert again["best_epoch"] == plain["best_epoch"]
        assert again["refit_epochs"] == {"train": plain["best_epoch"]}
        assert "refit_epochs" not in plain

    def test_the_second_training_is_as_long_as_the_first_was_good(
        self, made: dict[str, Any]
    ) -> None:
        curve = made["refit"].curve
        assert [each["stage"] for each in curve].count("refit train") == made["refit"].result[
            "best_epoch"
        ]
        assert all(
            set(each["metrics"]) == {"train/loss"}
            for each in curve
            if each["stage"] == "refit train"
        )
        assert not torch.equal(
            weights(made["plain"])["weight/item_embedding.weight"],
            weights(made["refit"])["weight/item_embedding.weight"],
        )

    def test_what_is_read_stands_beside_the_numbers(self, made: dict[str, Any]) -> None:
        assert made["recbole"].run["tags"] == {"paddock.note.inputs": "reads no valid item"}
        for name in ("plain", "refit", "ease"):
            assert made[name].run["tags"] == {}
        ndcg = "test/full/ndcg_at_10"
        assert made["ease"].result["metrics"][ndcg] > made["recbole"].result["metrics"][ndcg]

    def test_no_table_holds_both_kinds(self, made: dict[str, Any]) -> None:
        answer = made["paddock"]("mode=leaderboard", "dataset=tiny")
        first, _, second = answer.out.partition("Trained on train and valid")
        assert [first.count("sasrec"), second.count("sasrec")] == [1, 1]
        assert "protocol.inputs=recbole instead of history" in answer.out

    def test_a_study_is_the_same_for_both(self, made: dict[str, Any]) -> None:
        from experiments.runs.identity import plain, protocol_content

        contents = [
            protocol_content(plain(typed(compose(["dataset=tiny", each])))["protocol"], test=False)
            for each in ("protocol.refit=valid", "protocol.inputs=recbole", "protocol.refit=none")
        ]
        assert contents[0] == contents[1] == contents[2]


def test_epochs_are_chosen_and_weights_learned_without_the_test(
    tiny_data: Prepared, tiny_split: Split, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 16, "inner_size": 16, "MAX_ITEM_LIST_LENGTH": 8}
    resolved = resolve_model({"name": "SASRec", "epochs": 6, "stopping_step": 0, **sizes})
    chosen, again = both_trainings(resolved, tiny_data, tiny_split, tmp_path / "a")
    _, other = both_trainings(resolved, tiny_data, other_tests(tiny_split), tmp_path / "b")
    assert chosen.epochs == {"train": 3}
    assert again.progress.epoch == 3
    ours, theirs = model_state(again.model)[0], model_state(other.model)[0]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    # The valid items do count.
    items = tiny_split.row_items.copy()
    items[tiny_split.part == VALID] = items[tiny_split.part == VALID] % tiny_split.n_items + 1
    _, moved = both_trainings(
        resolved, tiny_data, replace(tiny_split, row_items=items), tmp_path / "c"
    )
    assert not torch.equal(
        ours["weight/item_embedding.weight"],
        model_state(moved.model)[0]["weight/item_embedding.weight"],
    )


def test_every_stage_and_the_backbone_are_trained_again(paddock: CommandLine) -> None:
    """An A-LLMRec run of stages that runs share: each is trained for the epochs that it kept."""
    run = paddock.trained(
        "model=a_llmrec_align",
        "dataset=tiny",
        "protocol.refit=valid",
        "model.backbone.epochs=3",
        "model.backbone.hidden_size=16",
        "model.stages.align.epochs=3",
    )
    chosen = run.result["refit_epochs"]
    assert set(chosen) == {"backbone", "align"}
    stages = [each["stage"] for each in run.curve]
    for name, epochs in chosen.items():
        assert stages.count(f"refit {name}") == epochs
    steps = [each["step"] for each in run.curve]
    assert steps == sorted(set(steps))
