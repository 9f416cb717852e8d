import re

import pytest
from rich.console import Console

from experiments.config.schema import TrackingConfig
from experiments.errors import PaddockError
from experiments.tracking import Uploads, publish, upload_pending
from tests.runs.run_folders import begin_run, make_run

from .mlflow_state import assert_mirrors, sqlite_tracking


def test_pending_runs_are_uploaded_once(tracking, tmp_path):
    runs_dir = tmp_path / "runs"
    publish(make_run(runs_dir, seed=1), tracking)
    late = [make_run(runs_dir, seed=2), make_run(runs_dir, model="pop")]
    begin_run(runs_dir, seed=3)
    quiet = Console(quiet=True)
    assert upload_pending(runs_dir, tracking, console=quiet) == Uploads(2, 0, 1)
    assert upload_pending(runs_dir, tracking, console=quiet) == Uploads(0, 0, 3)
    for folder in late:
        assert_mirrors(folder, tracking)
    # Another store has not seen them.
    other = sqlite_tracking(tmp_path / "other")
    assert upload_pending(runs_dir, other, console=quiet) == Uploads(3, 0, 0)


def test_a_broken_folder_does_not_hold_up_the_others(tracking, tmp_path, caplog):
    broken = make_run(tmp_path / "runs", seed=1)
    (broken.path / "result.json").write_text("{")
    good = make_run(tmp_path / "runs", seed=2)
    uploads = upload_pending(tmp_path / "runs", tracking, console=Console(quiet=True))
    assert uploads == Uploads(1, 1, 0)
    assert "result.json is damaged: it is not valid JSON" in caplog.text
    assert_mirrors(good, tracking)


def test_a_store_out_of_order_is_named(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is no database, and long enough to be seen as none")
    make_run(tmp_path / "runs")
    with pytest.raises(PaddockError, match=re.escape(str(tmp_path / "mlflow.db"))):
        upload_pending(tmp_path / "runs", sqlite_tracking(tmp_path))
    with pytest.raises(PaddockError, match=r"tracking\.uri is null"):
        upload_pending(tmp_path / "runs", TrackingConfig(uri=None))
