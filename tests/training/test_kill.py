"""Runs killed by SIGKILL end as undisturbed ones, bit for bit.

The undisturbed run is the command itself. The killed ones are the same command in processes forked
from one that has imported everything, which spares them the seconds of importing.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from experiments.run_folder import RunFolder, find_runs

ROOT = Path(__file__).parents[2]

# Negatives, dropout and windows, dropout and three stages; enough epochs to be killed in.
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
}
# Epochs in the curve at which a run is killed: before the first checkpoint, early, late.
KILLS = {"bpr": [0, 2, 7], "sasrec": [0, 2, 5], "ract": [0, 3, 7, 12]}


def arguments(model: str, folder: Path) -> list[str]:
    return [
        f"model={model}",
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


def command(argv: list[str], slow: bool) -> None:
    """run.py in this process; `slow` lets a watcher kill it where it wants to."""
    os.chdir(ROOT)
    sys.argv = ["run.py", *argv]
    if slow:
        append = RunFolder.append_epoch

        def append_and_wait(self: RunFolder, record: Any) -> None:
            append(self, record)
            time.sleep(0.15)

        RunFolder.append_epoch = append_and_wait  # type: ignore[method-assign]
    from experiments.cli import main

    main()


@pytest.fixture(scope="module")
def forked() -> Callable[..., Any]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments.runner", "experiments.leaderboard"])

    def start(argv: list[str], *, slow: bool) -> Any:
        process = context.Process(target=command, args=(argv, slow))
        process.start()
        return process

    return start


def epochs_in(folder: Path) -> int | None:
    """The lines of the one run's curve, None before it has begun."""
    for path in folder.glob("runs/tiny/loo/*/seed-1"):
        curve = path / "curve.jsonl"
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
def test_a_killed_run_ends_as_an_undisturbed_one(
    model: str, forked: Callable[..., Any], tmp_path: Path
) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    undisturbed = subprocess.Popen(
        [sys.executable, "run.py", *arguments(model, calm)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for epochs in KILLS[model]:
        process = forked(arguments(model, rough), slow=True)
        while (found := epochs_in(rough)) is None or found < epochs:
            assert process.is_alive(), f"it ended after {found} epochs"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert find_runs(rough / "runs", finished=True) == []
    process = forked(arguments(model, rough), slow=False)
    process.join()
    assert process.exitcode == 0
    output, _ = undisturbed.communicate()
    assert undisturbed.returncode == 0, output

    *expected, expected_users, _ = outcome(calm)
    *found, found_users, _ = outcome(rough)
    assert found == expected
    assert found_users.equals(expected_users)
    assert outcome(rough)[-1] == outcome(calm)[-1], "the saved weights differ"
    stages = [record["stage"] for record in outcome(calm)[1]]
    assert len(set(stages)) == (3 if model == "ract" else 1)


def test_a_checkpoint_that_is_cut_short_is_told(forked: Callable[..., Any], tmp_path: Path) -> None:
    """It cannot come from a kill, since a checkpoint is renamed into place when it is whole."""
    process = forked(arguments("bpr", tmp_path), slow=True)
    while (epochs_in(tmp_path) or 0) < 2:
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (checkpoint,) = tmp_path.glob("runs/tiny/loo/*/seed-1/checkpoint.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    done = subprocess.run(
        [sys.executable, "run.py", *arguments("bpr", tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "is not a checkpoint of Paddock" in done.stderr
    assert "Traceback" not in done.stderr
