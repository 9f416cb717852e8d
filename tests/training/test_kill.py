"""Runs killed by SIGKILL end as undisturbed ones, bit for bit.

Most runs wait between epochs, so that a watcher can kill them where it wants to; one is the command
itself.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from experiments.runs.folder import RunFolder, find_runs
from tests import fork_server

ROOT = Path(__file__).parents[2]

# Negatives, dropout and windows, dropout and three stages, stages that runs share; enough epochs to
# be killed in.
MODELS = {
    "bpr": ["model.epochs=12", "model.embedding_size=16", "model.train_batch_size=512"],
    "sasrec": [
        "model.epochs=8",
        "model.hidden_size=16",
        "model.inner_size=32",
        "model.MAX_ITEM_LIST_LENGTH=10",
    ],
    "ract": [
        "model.mlp_hidden_size=[32]",
        "model.latent_dimension=16",
        "model.train_batch_size=64",
        "model.stages.actor.epochs=5",
        "model.stages.critic.epochs=5",
        "model.stages.critic.eval_step=2",
        "model.stages.finetune.epochs=5",
        "model.stages.finetune.learning_rate=1e-3",
    ],
    "a_llmrec": [
        "model.backbone.epochs=3",
        "model.backbone.hidden_size=16",
        "model.llm.layers=1",
        "model.llm.width=32",
        "model.llm.steps=20",
        "model.title_tokens=4",
        "model.rerank=3",
        "model.generation_users=8",
        "model.stages.align.epochs=3",
        "model.stages.llm.epochs=3",
        "model.stages.llm.eval_step=3",
        "model.stages.llm.train_batch_size=32",
    ],
    "llm_rec-dpo": [
        "model.backbone.epochs=2",
        "model.backbone.hidden_size=16",
        "model.llm.layers=1",
        "model.llm.width=32",
        "model.llm.steps=20",
        "model.title_tokens=4",
        "model.rerank=3",
        "model.stages.sft.epochs=3",
        "model.stages.dpo.epochs=3",
        "model.stages.dpo.eval_step=3",
    ],
    "llm_srec": [
        "model.backbone.epochs=2",
        "model.backbone.hidden_size=16",
        "model.llm.layers=1",
        "model.llm.width=32",
        "model.llm.steps=20",
        "model.title_tokens=4",
        "model.inner_size=32",
        "model.epochs=3",
    ],
}
MODELS["sasrec refit"] = [*MODELS["sasrec"], "protocol.refit=valid"]
# Epochs in the curve at which a run is killed: before the first checkpoint, early, late; of eight and
# a second training also when that is about to begin and within it.
KILLS = {
    "bpr": [0, 2, 7],
    "sasrec": [0, 2, 5],
    "sasrec refit": [5, 8, 10],
    "ract": [0, 3, 7, 12],
    "a_llmrec": [2, 4, 7],
    "llm_rec-dpo": [3, 5, 7],
    "llm_srec": [3, 4],
}
STAGES = {"ract": 3, "a_llmrec": 3, "llm_rec-dpo": 3, "llm_srec": 2, "sasrec refit": 2}


def arguments(model: str, folder: Path) -> list[str]:
    return [
        f"model={model.partition(' ')[0]}",
        "dataset=tiny",
        "tracking=off",
        "device=cpu",
        "seed=1",
        "checkpoint_seconds=0",
        "progress=false",
        f"runs_dir={folder}/runs",
        f"data_dir={folder}/data",
        *MODELS[model],
    ]


def command(
    argv: list[str], output: Path, slow: bool, dies_at: str | None, validation_seconds: float
) -> None:
    """run.py in this process; `slow` lets a watcher kill it where it wants to.

    It kills itself when it is about to write the text file `dies_at`, and sleeps for
    `validation_seconds` in every validation.
    """
    os.chdir(ROOT)
    sys.argv = ["run.py", *argv]
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(written, 1)
    os.dup2(written, 2)
    if slow:
        append = RunFolder.append_epoch

        def append_and_wait(self: RunFolder, record: Any) -> None:
            append(self, record)
            time.sleep(0.05)

        RunFolder.append_epoch = append_and_wait  # type: ignore[method-assign]
    if dies_at is not None:
        from experiments.commands import train

        write = train.write_text

        def write_or_die(target: Path, text: str) -> None:
            if target.name == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            write(target, text)

        train.write_text = write_or_die
    if validation_seconds:
        from experiments.commands import train

        validate = train.validate

        def wait_and_validate(*given: Any, **named: Any) -> dict[str, float]:
            time.sleep(validation_seconds)
            return validate(*given, **named)

        train.validate = wait_and_validate
    from experiments.commands.run import main

    main()


def forked(
    model: str,
    folder: Path,
    *,
    slow: bool = False,
    dies_at: str | None = None,
    validation_seconds: float = 0.0,
) -> Any:
    """Start the command; see `command` for the rest."""
    folder.mkdir(exist_ok=True)
    asked = (arguments(model, folder), folder / "output", slow, dies_at, validation_seconds)
    return fork_server.call(command, *asked)


def kill(process: Any, folder: Path, *, epochs: int) -> None:
    """SIGKILL once the curve holds so many epochs; 0 is before the first is trained."""
    while (found := epochs_in(folder)) is None or found < epochs:
        assert process.poll() is None, (folder / "output").read_text()
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    assert find_runs(folder / "runs", finished=True) == []


def epochs_in(folder: Path) -> int | None:
    """The lines of the one run's curve, None before it has begun."""
    for begun in folder.glob("runs/tiny/loo/*/seed-1/config.yaml"):
        curve = begun.with_name("curve.jsonl")
        return curve.read_bytes().count(b"\n") if curve.exists() else 0
    return None


def outcome(folder: Path) -> tuple[Any, ...]:
    (run,) = find_runs(folder / "runs", finished=True)
    result = json.loads((run.path / "result.json").read_text())
    curve = [
        {key: value for key, value in record.items() if key != "seconds"} for record in run.curve
    ]
    left = sorted(path.name for path in run.path.iterdir())
    return (
        {key: result[key] for key in ("metrics", "best_epoch", "epochs", "users")},
        curve,
        left,
        pl.read_parquet(run.path / "per_user.parquet"),
        (run.path / "model" / "model.safetensors").read_bytes(),
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_killed_run_ends_as_an_undisturbed_one(model: str, tmp_path: Path) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    for epochs in KILLS[model]:
        kill(forked(model, rough, slow=True), rough, epochs=epochs)
    (run,) = rough.glob("runs/tiny/loo/*/seed-1")
    # As if it had been killed while it wrote these.
    for half in (".checkpoint.safetensors.x.tmp/.tmpx", ".model.x.tmp/model.safetensors"):
        (run / half).parent.mkdir()
        (run / half).write_bytes(b"half")
    for folder in (calm, rough):
        process = forked(model, folder)
        process.wait()
        assert process.returncode == 0, (folder / "output").read_text()
    check_equal(rough, calm)
    stages = [record["stage"] for record in outcome(calm)[1]]
    assert len(set(stages)) == STAGES.get(model, 1)


def test_a_run_killed_before_its_config_is_written_has_one_in_the_end(tmp_path: Path) -> None:
    process = forked("bpr", tmp_path, dies_at="config.yaml")
    process.wait()
    assert process.returncode == -signal.SIGKILL
    process = forked("bpr", tmp_path)
    process.wait()
    assert process.returncode == 0
    assert "config.yaml" in outcome(tmp_path)[2]


def test_the_seconds_before_a_kill_count(tmp_path: Path) -> None:
    """The process that goes on took a fraction of the time that training took in all."""
    waited, epochs = 1.0, 6
    kill(forked("bpr", tmp_path, validation_seconds=waited), tmp_path, epochs=epochs)
    process = forked("bpr", tmp_path)
    process.wait()
    assert process.returncode == 0, (tmp_path / "output").read_text()
    (run,) = find_runs(tmp_path / "runs", finished=True)
    seconds = [record["seconds"] for record in run.curve]
    # The checkpoint may lack the epoch that was written last before the kill.
    assert sum(each >= waited for each in seconds) >= epochs - 1
    assert run.result["phases"]["train"]["seconds"] >= sum(seconds) - 1e-6


def test_the_command_itself(tmp_path: Path) -> None:
    killed, calm = tmp_path / "killed", tmp_path / "calm"
    whole = forked("ract", calm)
    asked = [sys.executable, "run.py", *arguments("ract", killed)]
    process = fork_server.start(
        asked, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while (epochs_in(killed) or 0) < 1:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert find_runs(killed / "runs", finished=True) == []
    done = fork_server.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole.wait()
    check_equal(killed, calm)


def check_equal(rough: Path, calm: Path) -> None:
    numbers, curve, files, users, weights = outcome(rough)
    calm_numbers, calm_curve, calm_files, calm_users, calm_weights = outcome(calm)
    assert numbers == calm_numbers
    assert curve == calm_curve
    assert users.equals(calm_users)
    assert weights == calm_weights
    assert files == calm_files


def test_after_a_checkpoint_that_is_cut_short_the_stage_begins_anew(tmp_path: Path) -> None:
    """It cannot come from a kill, since a checkpoint is renamed into place when it is whole."""
    rough, calm = tmp_path / "rough", tmp_path / "calm"
    kill(forked("bpr", rough, slow=True), rough, epochs=2)
    (checkpoint,) = rough.glob("runs/tiny/loo/*/seed-1/checkpoint.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    for folder in (rough, calm):
        process = forked("bpr", folder)
        process.wait()
        assert process.returncode == 0, (folder / "output").read_text()
    said = (rough / "output").read_text()
    assert f"{checkpoint} is not a checkpoint of Paddock" in said
    assert "begins anew" in said
    assert "Traceback" not in said
    check_equal(rough, calm)
