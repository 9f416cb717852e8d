"""Run folders and stores from elsewhere: nothing outside is read, sent or written, and one sentence says so."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from experiments.commands.grid import prepare_launcher
from experiments.config.compose import compose, typed
from experiments.config.schema import TrackingConfig
from experiments.databases import problem_of_file
from experiments.errors import FailedError, PaddockError
from experiments.failures import sentence
from experiments.integrity import Damaged
from experiments.runs.folder import RunFolder, find_runs
from experiments.runs.leaderboard import leaderboard
from experiments.tracking import Uploads, upload_pending
from experiments.tracking.store import reach
from experiments.tuning.storage import connect as open_studies
from reports.store import connect as open_for_report
from tests.runs.run_folders import make_run

from .mlflow_state import sqlite_tracking


def _link(path: Path, secret: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(secret)


def _copies(runs: Path, secret: Path) -> list[RunFolder]:
    """Runs of which each leads elsewhere in another way."""
    made = [make_run(runs, model=f"m{number}") for number in range(5)]
    _link(made[0].path / "config.yaml", secret)
    (made[1].path / "model").mkdir(exist_ok=True)
    _link(made[1].path / "model" / "more.json", secret)
    _link(made[2].path / "extra", secret.parent)
    os.mkfifo(made[3].path / "pipe")
    files = {f"../../../../{secret.name}": {"bytes": 6, "sha256": "0" * 64}}
    made[4].update(files=files)
    return made


def test_nothing_outside_of_a_run_folder_is_sent(
    tracking: TrackingConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "elsewhere" / "secret"
    secret.parent.mkdir()
    secret.write_text("secret")
    runs = tmp_path / "runs"
    bad = _copies(runs, secret)
    make_run(runs, seed=2)
    counts = upload_pending(runs, tracking, console=Console(quiet=True))
    assert counts == Uploads(1, 5, 0)
    for folder in bad[:4]:
        assert f"Not uploaded: {folder.path}" in caplog.text
    assert caplog.text.count("is a link, a pipe or a device") == 4
    assert "which is outside of its folder" in caplog.text
    sent = [path for path in tmp_path.rglob("*") if path.is_file() and runs not in path.parents]
    assert [path for path in sent if path.read_bytes() == b"secret"] == [secret]


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset": "../../out"},
        {"protocol": "/tmp"},
        {"model_key": ".."},
        {"dataset": "a\0b"},
        {"config_hash": "x' OR 1=1"},
        {"seed": "1"},
        {"seed": True},
        {"started": 3},
        {"tags": []},
        {"files": ["a"]},
    ],
    ids=str,
)
def test_a_run_json_that_is_none(
    wrong: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, good = make_run(tmp_path), make_run(tmp_path, seed=2)
    (key,) = wrong
    folder.update(**wrong)
    with pytest.raises(Damaged, match=rf"run\.json is none of Paddock's: {key} is"):
        _ = folder.run
    assert find_runs(tmp_path) == [good]
    assert len(leaderboard(find_runs(tmp_path))) == 1
    assert "left out: " in caplog.text


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    one, two = make_run(tmp_path), make_run(tmp_path, seed=2)
    for path in (one.path / "run.json", two.path / "result.json"):
        path.unlink()
        os.mkfifo(path)
    with pytest.raises(Damaged, match=r"run\.json is no file, but a folder, a pipe"):
        _ = one.run
    with pytest.raises(Damaged, match=r"result\.json is no file, but a folder, a pipe"):
        two.verify()
    assert find_runs(tmp_path) == [two]


def test_a_sealed_file_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path)
    with (folder.path / "run.json").open("r+b") as stream:
        stream.truncate(2**40)  # takes no space
    with pytest.raises(Damaged, match="is larger than any that Paddock writes"):
        _ = folder.run


def _stores(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "none.db").write_text("this is no database, and long enough to be seen as none")
    (tmp_path / "file").write_text("x")
    with sqlite3.connect(tmp_path / "photos.db") as connection:
        connection.execute("CREATE TABLE photos(name)")
    with sqlite3.connect(tmp_path / "alike.db") as connection:
        connection.execute("CREATE TABLE experiments(day)")
        connection.execute("CREATE TABLE studies(day)")
    other = "it is the database of another program, with the tables"
    return {
        "none.db": "file is not a database: name another file",
        "file/below.db": f"{tmp_path / 'file'}: a file lies where a folder should be",
        "photos.db": f"{other} photos",
        "alike.db": f"{other} experiments, studies",
    }


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    for name, said in _stores(tmp_path).items():
        path, uri = tmp_path / name, f"sqlite:///{tmp_path / name}"
        before = path.read_bytes() if path.is_file() else None
        openers = [
            lambda uri=uri: reach(TrackingConfig(uri=uri)),
            lambda uri=uri: open_studies(uri, heartbeat_seconds=9),
        ]
        if before is not None:
            openers.append(lambda uri=uri: open_for_report(uri))
        for opened in openers:
            with pytest.raises((FailedError, OSError)) as caught:
                opened()
            told = sentence(caught.value)
            assert told is not None
            assert said in told
            assert "\n" not in told
            assert getattr(caught.value, "exit_code", 1) == 1
        # Neither MLflow nor Optuna made tables of theirs in it.
        assert (path.read_bytes() if path.is_file() else None) == before


def test_stores_of_ours_are_let_through(tmp_path: Path) -> None:
    tracking = sqlite_tracking(tmp_path)
    reach(tracking)
    reach(tracking)
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    for _ in range(2):
        open_studies(url, heartbeat_seconds=9)
    open_for_report(str(tracking.uri))
    assert problem_of_file(tmp_path / "none", table="studies", column="study_id") is None


def test_a_store_in_a_folder(tmp_path: Path) -> None:
    for opened in (lambda uri: reach(TrackingConfig(uri=uri)), open_for_report):
        with pytest.raises(PaddockError, match="in folders any more: name a database") as caught:
            opened(str(tmp_path / "mlruns"))
        assert "mlflow migrate-filestore" in str(caught.value)


def test_nul_bytes_in_a_configuration() -> None:
    for key in ("dataset.source", "runs_dir", "data_dir", "tracking.uri", "dataset.files.inter"):
        composed = compose(["model=pop", "dataset=tiny"])
        OmegaConf.update(composed, key, "a\0b", force_add=True)
        with pytest.raises(PaddockError, match=rf"{key}=a\\x00b holds a NUL byte"):
            typed(composed)
    with pytest.raises(ValueError, match="null") as caught:
        Path("a\0b").mkdir()
    assert "a path holds a NUL byte" in str(sentence(caught.value))


def test_numbers_of_processes() -> None:
    for number in (0, -5, "two", 1.5, True, None):
        with pytest.raises(PaddockError, match=rf"hydra\.launcher\.n_jobs={number} starts no"):
            prepare_launcher(OmegaConf.create({"n_jobs": number}))
    for given in ({"n_jobs": -1}, {"n_jobs": 2}, {}):
        prepare_launcher(OmegaConf.create(given))
