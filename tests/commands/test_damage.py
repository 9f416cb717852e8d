"""Damaged products meet the command line: they are refused, gone past or made again, never used."""

from pathlib import Path

import pytest

from experiments.data.prepared import COLUMNS, MANIFEST
from experiments.integrity import say_once
from experiments.runs.folder import RunFolder
from tests.damage import damage, flipped

from .command_line import CommandLine

WORDS = ("model=pop", "dataset=tiny", "device=cpu")


@pytest.fixture(autouse=True)
def _say_again() -> None:
    say_once.cache_clear()


def told(text: str) -> str:
    """The text on one line, wherever a console breaks it."""
    return "".join(text.split())


def test_a_damaged_run_is_refused_until_it_is_forced(paddock: CommandLine) -> None:
    run = paddock.trained(*WORDS, "seed=1")
    other = paddock.trained(*WORDS, "seed=2")
    for name, way in (
        ("result.json", "edit"),
        ("per_user.parquet", "flip"),
        ("model/model.safetensors", "delete"),
        ("run.json", "truncate"),
    ):
        damage(run.path / name, way)
        for words in (
            (*WORDS, "seed=1"),
            (*WORDS, "mode=recommend", "user=1", f"run_id={run.path}"),
            ("mode=reproduce", f"run_id={run.path}"),
        ):
            answer = paddock(*words)
            assert answer.code != 0, (name, words, answer.out)
            assert str(run.path / name) in answer.err
            assert "force=true" in answer.err
        board = paddock("mode=leaderboard", *WORDS)
        assert board.code == 0, board.err
        assert "pop" in board.out
        again = paddock(*WORDS, "seed=2")
        assert "finished before, reused" in again.out
        forced = paddock(*WORDS, "seed=1", "force=true")
        assert forced.code == 0, forced.err
        run.verify()
    assert run.result["metrics"] == RunFolder(run.path).result["metrics"]
    assert other.finished


def test_damaged_prepared_data_is_prepared_again(
    paddock: CommandLine, caplog: pytest.LogCaptureFixture
) -> None:
    run = paddock.trained(*WORDS)
    (prepared,) = (path.parent for path in paddock.data_dir.glob(f"*/{MANIFEST}"))
    beside = sorted(path.name for path in prepared.iterdir())
    for name in (*COLUMNS, MANIFEST):
        whole = (prepared / name).read_bytes()
        for way in ("flip", "truncate", "delete"):
            say_once.cache_clear()
            caplog.clear()
            damage(prepared / name, way)
            answer = paddock(*WORDS)
            assert "finished before, reused" in answer.out, (name, way, answer.err)
            assert (prepared / name).read_bytes() == whole, (name, way)
            if (name, way) != (MANIFEST, "delete"):
                assert "prepared again" in caplog.text, (name, way)
    assert sorted(path.name for path in prepared.iterdir()) == beside
    assert run.finished


STAGES = (
    "model=a_llmrec",
    "dataset=tiny",
    "device=cpu",
    "seed=1",
    "model.backbone.epochs=1",
    "model.backbone.hidden_size=16",
    "model.llm.layers=1",
    "model.llm.width=32",
    "model.llm.steps=5",
    "model.title_tokens=4",
    "model.rerank=3",
    "model.generation_users=8",
    "model.stages.align.epochs=1",
    "model.stages.llm.epochs=1",
    "model.stages.llm.train_batch_size=32",
)


@pytest.mark.slow
def test_a_damaged_stage_is_trained_again(
    paddock: CommandLine, caplog: pytest.LogCaptureFixture
) -> None:
    first = paddock.trained(*STAGES).result["metrics"]
    stages = sorted(paddock.data_dir.glob("*/stages/*.safetensors"))
    assert len(stages) == 2
    whole = {path: _weights(path) for path in stages}
    for path in stages:
        raw = path.read_bytes()
        path.write_bytes(flipped(raw, len(raw) - 3))  # the exponent of a weight
    again = paddock.trained(*STAGES, "force=true")
    assert again.result["metrics"] == first
    assert {path: _weights(path) for path in stages} == whole
    assert all(str(path) in caplog.text for path in stages)
    assert "It is not used" in caplog.text


def _weights(path: Path) -> dict[str, bytes]:
    from experiments import checkpoint

    sections, _ = checkpoint.load(path)
    return {name: value.numpy().tobytes() for name, value in sections["model"][0].items()}
