"""One run trained over two processes, started by torchrun, against one process."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from experiments.runs.folder import RunFolder, find_runs
from tests import fork_server
from tests.training import over_processes
from tests.training.over_processes import MEASURED, RUN, STEPS
from tests.training.test_kill import arguments, check_equal, epochs_in

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# torchrun's own way to start processes that have imported what it has; the slow tests start Python.
FORKING = ["--start-method", "fork", "--run-path", "tests/training/over_processes.py"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made."""
    folder = tmp_path_factory.mktemp("two")
    asked = [*TORCHRUN, *FORKING, str(folder)]
    for number in range(10):
        (folder / f"attempt-{number}").mkdir()
    done = fork_server.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("one")


def made(two: Path, rank: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((two / f"made-{rank}.json").read_text())
    return content


@pytest.mark.parametrize("case", STEPS)
def test_the_summed_gradient_is_that_of_the_batch(case: str, two: Path, one: Path) -> None:
    found = torch.load(two / "gradients.pt", weights_only=True)[case]
    alone = over_processes.gradients(case, one)
    assert found.keys() == alone.keys()
    assert any(value.abs().max() > 1e-4 for value in alone.values())
    for name, value in alone.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("case", MEASURED)
def test_equal_weights_have_equal_metrics(case: str, two: Path, one: Path) -> None:
    aggregates, users, scored = over_processes.measured(case, one)
    for rank in range(2):
        there, users_there, scored_there = made(two, rank)["measured"][case]
        assert there == aggregates
        assert users_there == users
        assert 0 < scored_there < scored


def test_a_run_ends_near_that_of_one_process(two: Path, one: Path) -> None:
    code, said = over_processes.command(RUN, one)
    assert code == 0, said
    (alone,), (run,) = (find_runs(folder / "runs", finished=True) for folder in (one, two))
    assert run.run["processes"] == run.result["processes"] == 2
    assert "processes" not in alone.run
    assert run.run["config_hash"] != alone.run["config_hash"]
    assert run.run["command"].startswith("torchrun --standalone --nproc-per-node 2 run.py ")
    for here, there in zip(alone.curve, run.curve, strict=True):
        assert there["metrics"] == pytest.approx(here["metrics"], abs=1e-4)
    assert weights(run).keys() == weights(alone).keys()
    for name, value in weights(alone).items():
        torch.testing.assert_close(weights(run)[name], value, rtol=0, atol=1e-4, msg=name)


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run.path / "model" / "model.safetensors")


def test_the_first_process_alone_speaks(two: Path) -> None:
    (first, *others), quiet = made(two, 0)["runs"], made(two, 1)["runs"]
    assert quiet == [[0, ""]] * 3
    assert first[0] == 0
    assert "4 epochs, best" in first[1]
    for code, said in others:
        assert code == 0
        assert "finished before, reused" in said


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (0, "strategies align, llm, masked, rows, windows"),
        (1, "a grid (-m) runs in one process"),
        (2, "model.hidden_size"),
        (3, "mode=leaderboard runs in one process"),
        (4, "RaCT computes a batch as a whole"),
    ],
)
def test_a_mistake_is_said_once(number: int, sentence: str, two: Path) -> None:
    answers = [made(two, rank)["refused"][number] for rank in range(2)]
    assert [code for code, _ in answers] == [2, 2]
    said = "".join(text for _, text in answers)
    assert sentence in said
    assert said.count("error: ") == 1
    assert said.count("\n") == 1


def started(arguments: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*TORCHRUN, "run.py", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill(rank: int, of: "subprocess.Popen[str]") -> None:
    for child in psutil.Process(of.pid).children(recursive=True):
        if child.environ().get("RANK") == str(rank):
            child.kill()
            return
    raise AssertionError("no such process")


@pytest.mark.slow
@pytest.mark.parametrize(("model", "rank"), [("sasrec", 1), ("sasrec", 0), ("a_llmrec", 1)])
def test_a_run_goes_on_after_a_process_is_killed(model: str, rank: int, tmp_path: Path) -> None:
    """With dropout: each process draws on from where it was."""
    rough, calm = tmp_path / "rough", tmp_path / "calm"
    process = started(arguments(model, rough))
    while (epochs_in(rough) or 0) < 3:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    others = psutil.Process(process.pid).children(recursive=True)
    kill(rank, process)
    process.communicate(timeout=300)
    assert process.returncode == 1
    assert not any(each.is_running() for each in others)
    assert find_runs(rough / "runs", finished=True) == []
    for folder in (rough, calm):
        process = started(arguments(model, folder))
        said, _ = process.communicate()
        assert process.returncode == 0, said
        assert said.count("epochs, best") == 1
    check_equal(rough, calm)


@pytest.mark.slow
def test_a_mistake_ends_all_processes(tmp_path: Path) -> None:
    process = started([*arguments("sasrec", tmp_path), "model.hidden_size=0"])
    said, _ = process.communicate()
    assert process.returncode == 1
    assert said.count("error: ") == 1
    assert "model.hidden_size" in said
    assert find_runs(tmp_path / "runs") == []


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_each_process_takes_a_gpu_of_its_own(tmp_path: Path) -> None:
    given = [*RUN, *over_processes.arguments(tmp_path), "device=cuda", "precision=float32"]
    process = started(given)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    code, said = over_processes.command([*RUN, "device=cuda", "precision=float32"], tmp_path)
    assert code == 0, said
    alone, run = sorted(
        find_runs(tmp_path / "runs", finished=True), key=lambda each: each.run.get("processes", 1)
    )
    for name, value in weights(alone).items():
        torch.testing.assert_close(weights(run)[name], value, rtol=0, atol=1e-3, msg=name)
