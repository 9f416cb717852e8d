"""Grids through the real command line: sequential, parallel, resumed, and reproduced one by one."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest
from omegaconf import OmegaConf

from experiments.commands.grid import prepare_launcher, runs
from experiments.runs.folder import RunFolder

from .command_line import ROOT, Answer, CommandLine

GRID = (
    "-m",
    "model=bpr,lightgcn",
    "seed=1,2",
    "dataset=tiny",
    "model.epochs=2",
    "device=cpu",
    "threads=1",
)
PARALLEL = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")

Grid = tuple[CommandLine, Answer]

HELD: list[np.ndarray] = []


@pytest.fixture(scope="module", params=["sequential", "parallel"])
def grid(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Grid:
    paddock = CommandLine(tmp_path_factory.mktemp(request.param))
    answer = paddock.process(*GRID, *(PARALLEL if request.param == "parallel" else ()))
    assert answer.code == 0, answer.err
    return paddock, answer


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One member of the grid, trained by itself in a process and a folder of its own."""
    paddock = CommandLine(tmp_path_factory.mktemp("alone"))
    words = [word for word in GRID if "=" in word and not word.startswith(("model=", "seed="))]
    answer = paddock.process("model=lightgcn", "seed=2", *words)
    assert answer.code == 0, answer.err
    (folder,) = paddock.runs
    return folder


def _key(run: RunFolder) -> tuple[str, int]:
    return run.run["model_key"], run.run["seed"]


def test_every_combination_has_a_finished_run(grid: Grid) -> None:
    paddock, _ = grid
    assert sorted(map(_key, paddock.runs)) == [
        ("bpr", 1), ("bpr", 2), ("lightgcn", 1), ("lightgcn", 2)
    ]  # fmt: skip
    assert all(run.finished for run in paddock.runs)
    for run in paddock.runs:
        assert run.path.name == f"seed-{run.run['seed']}"
        assert len(run.curve) == 2


def test_all_runs_answer_the_same_question(grid: Grid) -> None:
    paddock, _ = grid
    hashes = {json.dumps(run.run["hashes"], sort_keys=True) for run in paddock.runs}
    assert len(hashes) == 1
    named = {"dataset", "split", "candidates_c20_valid", "candidates_c20_test"}
    assert set(json.loads(hashes.pop())) >= named


def test_seeds_share_a_configuration_and_differ_in_numbers(grid: Grid) -> None:
    paddock, _ = grid
    by_key = {_key(run): run for run in paddock.runs}
    assert len({run.run["config_hash"] for run in paddock.runs}) == 2
    for model in ("bpr", "lightgcn"):
        one, two = by_key[model, 1], by_key[model, 2]
        assert one.run["config_hash"] == two.run["config_hash"]
        assert one.result["metrics"] != two.result["metrics"]


def test_a_leaderboard_ends_the_grid(grid: Grid) -> None:
    _, answer = grid
    board = answer.out[answer.out.rindex("seeds") :].splitlines()
    rows = {
        words[0]: words for words in (re.sub("[¹²]", "", row).split() for row in board) if words
    }
    assert rows["bpr"][1] == "2"
    assert rows["lightgcn"][1] == "2"
    assert "±" in answer.out


def test_the_same_grid_again_trains_nothing(grid: Grid) -> None:
    paddock, first = grid
    before = {run.path: (run.path / "result.json").stat().st_mtime_ns for run in paddock.runs}
    again = paddock(*GRID)
    assert again.code == 0
    assert again.out.count("reused") == 4
    after = {run.path: (run.path / "result.json").stat().st_mtime_ns for run in paddock.runs}
    assert after == before
    assert _board(again.out) == _board(first.out)


def _board(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.strip().startswith(("bpr ", "lightgcn "))][
        -2:
    ]


def test_a_single_run_reproduces_a_member_to_the_last_bit(grid: Grid, alone: RunFolder) -> None:
    paddock, _ = grid
    (member,) = [run for run in paddock.runs if _key(run) == _key(alone)]
    assert alone.result["metrics"] == member.result["metrics"]
    assert alone.run["config_hash"] == member.run["config_hash"]
    assert _weights(alone) == _weights(member)
    assert (alone.path / "per_user.parquet").read_bytes() == (
        member.path / "per_user.parquet"
    ).read_bytes()


def _weights(run: RunFolder) -> bytes:
    return (run.path / "model" / "model.safetensors").read_bytes()


def test_the_command_of_a_run_gives_it_again(alone: RunFolder) -> None:
    """Executed by a shell, it leads to the same folder; with force=true, to the same numbers."""
    metrics, started = alone.result["metrics"], alone.run["started"]
    runs_dir = alone.path.parents[3]
    places = f"tracking=off runs_dir={runs_dir} data_dir={runs_dir.parent / 'data'}"

    reused = _shell(f"{alone.run['command']} {places}")
    assert "reused" in reused
    assert str(alone.path) in reused
    assert alone.run["started"] == started

    _shell(f"{alone.run['command']} {places} force=true")
    assert len(list(runs_dir.glob("*/*/*/seed-*"))) == 1
    assert alone.run["started"] != started
    assert alone.result["metrics"] == metrics


def _shell(command: str) -> str:
    # `python` is the one that runs the tests, whatever is installed beside it.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env={**os.environ, "PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_says_what_was_asked(alone: RunFolder) -> None:
    words = shlex.split(alone.run["command"])
    assert words[:2] == ["python", "run.py"]
    assert {"dataset=tiny", "model=lightgcn", "seed=2", "model.epochs=2"} <= set(words)
    assert not [word for word in words if word.startswith(("runs_dir", "data_dir", "tracking"))]


def test_a_grid_over_data_sets_ends_with_a_board_for_each(
    paddock: CommandLine, tmp_path: Path
) -> None:
    source = tmp_path / "toy"
    source.mkdir()
    rows = [
        f"u{user}\ti{(user + 3 * step) % 25}\t{step}" for user in range(40) for step in range(5)
    ]
    (source / "toy.inter").write_text(
        "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n"
    )
    answer = paddock("-m", "model=pop", "dataset=atomic", f"dataset.source=datasets/tiny,{source}")
    assert answer.code == 0, answer.err
    assert sorted(run.run["dataset"] for run in paddock.runs) == ["tiny", "toy"]
    assert answer.out.count("hit@1 ") >= 2
    rows = [line for line in answer.out.splitlines() if line.startswith(" pop ")]
    assert len(rows) == 2


def test_a_model_may_have_fewer_seeds(paddock: CommandLine) -> None:
    answer = paddock("-m", "model=pop,itemknn", "dataset=tiny", "seed=1,2", "grid_seeds.pop=[2]")
    assert answer.code == 0, answer.err
    assert sorted(map(_key, paddock.runs)) == [("itemknn", 1), ("itemknn", 2), ("pop", 2)]
    # One run alone is what was asked for, and the same as in the grid.
    alone = paddock("model=pop", "dataset=tiny", "seed=1", "grid_seeds.pop=[2]")
    assert alone.code == 0, alone.err
    # Its own mean is now of two seeds, among what the grid made.
    (marked,) = (line for line in alone.out.splitlines() if line.startswith(" →  "))
    assert re.match(r" →  pop \D*2  ", marked)
    assert "place 2 of 2 by full ndcg@10" in alone.out
    assert len({run.run["config_hash"] for run in paddock.runs}) == 2
    assert len(paddock.runs) == 4
    assert not any("grid_seeds" in run.run["command"] for run in paddock.runs)


def test_a_model_without_a_seed_in_the_grid_is_told(paddock: CommandLine) -> None:
    answer = paddock("-m", "model=pop,itemknn", "dataset=tiny", "seed=1", "grid_seeds.pop=[2,3]")
    assert answer.code == 0, answer.err
    assert "pop is left out: of the seeds of this grid, grid_seeds.pop takes 2, 3" in answer.out
    assert list(map(_key, paddock.runs)) == [("itemknn", 1)]


def test_a_grid_composes_once_what_its_seeds_share_and_no_more() -> None:
    seeds = [["model=pop", "dataset=tiny", f"seed={seed}"] for seed in (1, 2)]
    one, two = runs(seeds)
    assert (one.seed, two.seed) == (1, 2)
    assert one.model is two.model
    one, two = runs([[*words, "runs_dir=r/s${seed}"] for words in seeds])
    assert (one.runs_dir, two.runs_dir) == ("r/s1", "r/s2")


HEAVY = ("torch", "recbole", "mlflow", "polars", "pandas")


@pytest.mark.parametrize("words", [("--help",), ("--cfg", "job"), ("model=bpr", "sed=1")])
def test_answers_that_train_nothing_import_nothing_heavy(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "run.py", *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }
    assert "hydra" in imported
    assert not imported & set(HEAVY)


def test_cfg_shows_what_would_run(paddock: CommandLine) -> None:
    answer = paddock("model=sasrec", "dataset=tiny", "model.epochs=7", "--cfg", "job")
    assert answer.code == 0
    assert "epochs: 7" in answer.out
    assert "source: datasets/tiny" in answer.out
    assert paddock.complete == []


def test_options_may_stand_anywhere(paddock: CommandLine) -> None:
    answer = paddock("dataset=tiny", "-m", "model=pop", "seed=1,2")
    assert answer.code == 0, answer.err
    assert sorted(map(_key, paddock.runs)) == [("pop", 1), ("pop", 2)]


def test_the_workers_of_a_killed_grid_end_with_it(paddock: CommandLine) -> None:
    words = (
        "-m",
        "model=bpr",
        "seed=1,2",
        "dataset=tiny",
        "model.epochs=1000000",
        "device=cpu",
        *PARALLEL,
    )
    parent = subprocess.Popen(
        [sys.executable, "run.py", *paddock.arguments(*words)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while len(paddock.curves) < 2:
        assert parent.poll() is None
        time.sleep(0.1)
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    for worker in alive:
        worker.kill()
    assert not alive


def test_joblib_replaces_processes_that_have_grown_in_silence(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """It takes training's memory for a leak; no job is lost."""
    prepare_launcher(OmegaConf.create({"n_jobs": 2}))
    done = joblib.Parallel(n_jobs=2)(joblib.delayed(grown)(job) for job in range(8))
    assert len({pid for _, pid in done}) > 2, "none was replaced"
    assert [job for job, _ in done] == list(range(8))
    assert [each for each in recwarn if "A worker stopped" in str(each.message)] == []


def grown(job: int) -> tuple[int, int]:
    """Who does a job, after which it holds 350 MB more from the second on."""
    if job > 1:
        HELD.append(np.ones(350_000_000, dtype=np.uint8))
    time.sleep(1.1)  # joblib looks at the memory once a second
    return job, os.getpid()
