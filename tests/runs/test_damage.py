"""Files of finished runs that were flipped, cut, deleted or edited are refused wherever they are read."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from experiments import checkpoint
from experiments.files import read_json, write_json
from experiments.integrity import Damaged, read_sealed, say_once, write_sealed
from experiments.runs.folder import LARGEST, RunFolder, find_runs
from experiments.runs.leaderboard import leaderboard
from experiments.serving.finished import find_run
from experiments.tracking import Uploads, upload_pending
from tests import fork_server
from tests.damage import WAYS, damage, flipped

from .run_folders import begin_run, make_run

ROOT = Path(__file__).parents[2]

FILES = (
    "run.json",
    "result.json",
    "per_user.parquet",
    "config.yaml",
    "curve.jsonl",
    "model/model.safetensors",
    "model/model.json",
)
CASES = [
    (name, way) for name in FILES for way in WAYS if (name, way) != ("run.json", "delete")
]  # without its run.json a folder is no run


@pytest.fixture(autouse=True)
def _say_again() -> None:
    say_once.cache_clear()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = make_run(tmp_path / "runs")
    weights = folder.path / "model" / "model.safetensors"
    state: dict[str, torch.Tensor] = {"weight/w": torch.arange(6.0)}
    checkpoint.save(weights, {"model": (state, None)}, notes={})
    folder.finish(folder.result)
    return folder


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_damaged_file_of_a_finished_run_is_refused(
    name: str, way: str, run: RunFolder, tmp_path: Path
) -> None:
    good = make_run(tmp_path / "runs", seed=2)
    run.verify(largest=LARGEST)
    damage(run.path / name, way)
    with pytest.raises(Damaged) as told:
        run.verify(largest=LARGEST)
    assert str(run.path / name) in str(told.value)
    assert f"force=true, or delete {run.path}" in str(told.value)
    with pytest.raises(Damaged):  # recommend and reproduce look their run up so
        find_run(run.path, runs_dir="runs")
    rows = leaderboard(find_runs(tmp_path / "runs", finished=True))
    compared = [seed for row in rows if not row.left_out for seed in row.seeds]
    assert good.run["seed"] in compared
    if name in ("run.json", "result.json") or way in ("truncate", "delete"):
        assert run.path.name[5:] not in map(str, compared)
    # A forced repetition takes the place of it.
    assert begin_run(tmp_path / "runs").path == run.path
    assert not run.finished


@pytest.mark.parametrize("name", ["run.json", "result.json", "per_user.parquet"])
def test_the_upload_goes_past_a_damaged_run_and_names_it(
    name: str, run: RunFolder, tmp_path: Path, tracking: object, caplog: pytest.LogCaptureFixture
) -> None:
    make_run(tmp_path / "runs", seed=2)
    damage(run.path / name, "flip")
    quiet = Console(quiet=True)
    uploads = upload_pending(tmp_path / "runs", tracking, console=quiet)  # type: ignore[arg-type]
    assert uploads == Uploads(1, 0 if name == "run.json" else 1, 0)
    assert str(run.path / name) in caplog.text
    assert not run.published


def test_a_result_of_another_run_is_none_of_this(run: RunFolder, tmp_path: Path) -> None:
    other = make_run(tmp_path / "runs", seed=2)
    shutil.copy(other.path / "result.json", run.path / "result.json")
    with pytest.raises(Damaged, match=r"result\.json is damaged"):
        _ = run.result


@pytest.mark.parametrize("name", ["published.json", "tracking.json"])
@pytest.mark.parametrize("way", ["flip", "truncate", "edit"])
def test_where_a_run_was_uploaded_to_is_forgotten_where_it_is_damaged(
    name: str, way: str, run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    run.write_published({"run_id": "x", "tracking_uri": "u"})
    run.write_tracking({"run_id": "x", "tracking_uri": "u"})
    damage(run.path / name, way)
    kept = [each.get("run_id") for each in (run.published, run.tracking)]
    assert sorted(kept, key=str) == [None, "x"]
    assert f"delete {run.path / name}" in caplog.text
    run.verify()


def test_a_damaged_run_json_is_told_of_its_own_data_set_alone(
    run: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_run(tmp_path / "runs", dataset="tiny")
    damage(run.path / "run.json", "truncate")
    assert find_runs(tmp_path / "runs", dataset="tiny") == [other]
    assert not caplog.text
    assert find_runs(tmp_path / "runs") == [other]
    assert str(run.path / "run.json") in caplog.text


def test_a_run_of_an_earlier_version_still_reads(run: RunFolder, tmp_path: Path) -> None:
    for name in ("run.json", "result.json"):
        content = read_json(run.path / name)
        content.pop("seal")
        content.pop("files", None)
        write_json(run.path / name, content)
    run.verify()
    assert run.result["metrics"]
    (row,) = leaderboard(find_runs(tmp_path / "runs", finished=True))
    assert not row.left_out


@pytest.mark.parametrize("text", ["2", "2.5", "1e400", "NaN", "-Infinity", "[1, null]"])
@pytest.mark.parametrize("number", [1, -(2**63), 2**64 - 1, 2**64, -(2**70), 0.1, 5e-324])
def test_sealed_content_is_what_python_reads(text: str, number: float, tmp_path: Path) -> None:
    path = tmp_path / "sealed.json"
    write_sealed(path, {"a": json.loads(text), "b": {"c": number, "d": [number]}})
    theirs = json.loads(path.read_text())
    del theirs["seal"]
    assert repr(read_sealed(path, remedy="")) == repr(theirs)


def test_a_seal_tells_every_changed_byte(tmp_path: Path) -> None:
    path = tmp_path / "sealed.json"
    write_sealed(path, {"é": [1.5, None], "a": {"b": "text"}})
    assert read_sealed(path, remedy="") == {"é": [1.5, None], "a": {"b": "text"}}
    assert json.loads(path.read_text())["a"] == {"b": "text"}
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(flipped(raw, place))
        with pytest.raises(Damaged):
            read_sealed(path, remedy="", needed=True)


def test_a_checkpoint_tells_every_changed_byte(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    tensors = {"w": torch.arange(4.0), "b": torch.tensor(True), "h": torch.ones(2).bfloat16()}
    checkpoint.save(path, {"model": (tensors, {"n": 1})}, notes=None)
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(flipped(raw, place))
        try:
            sections, notes = checkpoint.load(path)
        except Damaged:
            continue
        # Spaces that fill the header up may change: nothing reads them.
        assert (sections["model"][1], notes) == ({"n": 1}, None)
        assert all(torch.equal(sections["model"][0][name], tensors[name]) for name in tensors)


KILLED = """
import os, signal, sys
from experiments.runs.folder import RunFolder
folder = RunFolder(sys.argv[1])
with folder.lock():
    (folder.path / "checkpoint.safetensors").write_bytes(b"x" * 1000)
    (folder.path / ".model.abc.tmp").mkdir()
    (folder.path / ".model.abc.tmp" / "model.safetensors").write_bytes(b"x")
    folder.finish(folder.result)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_kill_after_the_end_left_is_cleaned(run: RunFolder) -> None:
    words = [sys.executable, "-c", KILLED, str(run.path)]
    done = fork_server.run(words, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    left = {run.path / "checkpoint.safetensors", run.path / ".model.abc.tmp"}
    assert all(each.exists() for each in left)
    with run.lock():
        run.clean()  # another process is at it
        assert all(each.exists() for each in left)
    find_run(run.path, runs_dir="runs")
    assert not any(each.exists() for each in left)
    run.verify()
