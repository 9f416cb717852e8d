"""A finished run of a recommender is the backbone of the models that would train the same."""

import json

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from experiments.runs.folder import RunFolder

from .command_line import CommandLine

COMMON = ("dataset=tiny", "device=cpu", "threads=1")
SMALL = ("epochs=2", "hidden_size=8", "inner_size=8")
PLAIN = ("model=sasrec", *COMMON, *(f"model.{word}" for word in SMALL))
LAST = ("keep=last", "stopping_step=0")
JOINT = (
    "model=a_llmrec_align",
    *COMMON,
    "model.epochs=2",
    "model.eval_step=2",
    *(f"model.backbone.{word}" for word in SMALL),
)


def stages(run: RunFolder) -> set[str]:
    return {record["stage"] for record in run.curve}


def values(run: RunFolder) -> pl.DataFrame:
    return pl.read_parquet(run.path / "per_user.parquet")


@pytest.fixture(scope="module")
def trained_anew(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    run = CommandLine(tmp_path_factory.mktemp("anew")).trained(*JOINT)
    assert "backbone" in stages(run)
    return values(run)


def test_a_finished_run_is_taken(paddock: CommandLine, trained_anew: pl.DataFrame) -> None:
    plain = paddock.trained(*PLAIN)
    run = paddock.trained(*JOINT)
    assert "backbone" not in stages(run)
    epochs = sum(record["seconds"] for record in plain.curve)
    assert run.result["reused_seconds"] == pytest.approx(epochs)
    assert_frame_equal(values(run), trained_anew, check_exact=True)


def test_what_a_model_costs_does_not_depend_on_who_trained_its_backbone(
    paddock: CommandLine,
) -> None:
    """The epochs of the backbone are written down as longer than anything here takes."""
    plain = paddock.trained(*PLAIN)
    slow = [{**record, "seconds": 5000.0} for record in plain.curve]
    (plain.path / "curve.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in slow))
    plain.finish(plain.result)  # states the curve as it is now
    backbone = 5000.0 * len(slow)
    joint = paddock.trained(*JOINT)
    assert joint.result["reused_seconds"] == pytest.approx(backbone)
    own = sum(record["seconds"] for record in joint.curve)
    cost = joint.result["phases"]["train"]["seconds"]
    assert backbone + own <= cost < 2 * backbone, "counted, and counted once"
    # Backbone and alignment from beside the data: no epoch is trained.
    scored = paddock.trained(*JOINT, "model.profile_weight=0.5")
    assert stages(scored) == set()
    assert scored.result["reused_seconds"] == pytest.approx(backbone + own)
    assert backbone + own <= scored.result["phases"]["train"]["seconds"] < 2 * backbone


@pytest.mark.parametrize(
    "other",
    [
        "seed=2",
        "model.learning_rate=1e-4",
        "protocol.valid_metric=full/hit_at_10",
        "precision=bfloat16",
    ],
)
def test_another_run_is_not(other: str, paddock: CommandLine) -> None:
    paddock.trained(*PLAIN, other)
    assert "backbone" in stages(paddock.trained(*JOINT))


def test_a_run_on_another_split_is_not(paddock: CommandLine) -> None:
    """Where the last epoch is kept, nothing that selects epochs tells the splits apart."""
    paddock.trained(*PLAIN, *(f"model.{each}" for each in LAST), "protocol=temporal")
    run = paddock.trained(*JOINT, *(f"model.backbone.{each}" for each in LAST))
    assert "backbone" in stages(run)


def test_a_run_that_kept_its_last_epoch_is_taken_whatever_selects(paddock: CommandLine) -> None:
    other = "protocol.valid_metric=full/hit_at_10"
    paddock.trained(*PLAIN, *(f"model.{each}" for each in LAST), other)
    run = paddock.trained(*JOINT, *(f"model.backbone.{each}" for each in LAST))
    assert "backbone" not in stages(run)


def test_an_unfinished_run_is_not(paddock: CommandLine) -> None:
    run = paddock.trained(*PLAIN)
    run.update(state="running")
    assert "backbone" in stages(paddock.trained(*JOINT))


def test_a_run_without_its_weights_is_not(paddock: CommandLine) -> None:
    run = paddock.trained(*PLAIN)
    (run.path / "model" / "model.safetensors").unlink()
    assert "backbone" in stages(paddock.trained(*JOINT))


def test_the_run_may_go_when_it_was_taken(paddock: CommandLine) -> None:
    plain = paddock.trained(*PLAIN)
    paddock.trained(*JOINT)
    (plain.path / "run.json").unlink()
    run = paddock.trained(*JOINT, "model.profile_weight=0.5")
    assert stages(run) == set(), "backbone and alignment are kept beside the data"
    assert run.result["reused_seconds"] > sum(record["seconds"] for record in plain.curve)
