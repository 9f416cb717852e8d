"""`paddock ui`: MLflow on a store, opened at a leaderboard, and gone with its command."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from experiments.commands.ui import show
from experiments.config.schema import TrackingConfig
from experiments.errors import PaddockError
from experiments.tracking import publish
from tests.commands.command_line import ROOT
from tests.runs.run_folders import make_run


def test_the_command_serves_the_newest_leaderboard_until_it_is_ended(
    tracking: TrackingConfig, tmp_path: Path
) -> None:
    folder = make_run(tmp_path / "runs")
    publish(folder, tracking)
    process = subprocess.Popen(
        [sys.executable, "-m", "paddock", "ui", "--port", "0", f"tracking.uri={tracking.uri}"],
        cwd=ROOT,
        # Without a display no browser is looked for.
        env={name: value for name, value in os.environ.items() if "DISPLAY" not in name},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        assert said[0] == f"Starting MLflow on {tracking.uri} ...\n"
        link = re.fullmatch(r"Leaderboard: (http://127\.0\.0\.1:\d+)/#/(\S+)\n", said[1])
        assert link, said
        address, page = link.groups()
        assert page == (
            f"experiments/{folder.published['experiment_id']}/runs"
            "?viewStateShareKey=paddock-leaderboard&workflowType=machine_learning"
        )
        asked = f"{address}/api/2.0/mlflow/runs/get?run_id={folder.published['run_id']}"
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert b"sasrec" in answer.read()
        process.send_signal(signal.SIGTERM)
        # Nothing of MLflow's own messages.
        assert process.communicate(timeout=60)[0] == ""
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"{address}/health", timeout=10)
    finally:
        process.kill()
        process.wait()


def test_what_cannot_be_shown_is_said(tracking: TrackingConfig, tmp_path: Path) -> None:
    store = f"tracking.uri={tracking.uri}"
    with pytest.raises(PaddockError, match=r"tracking\.uri is null"):
        show(["tracking=off"], port=None, browser=False)
    publish(make_run(tmp_path / "runs"), tracking)
    with pytest.raises(PaddockError, match=r"no experiment tiny/loo; there are: .*ml-100k/loo"):
        show([store, "dataset=tiny"], port=None, browser=False)
    with pytest.raises(PaddockError, match="cannot be reached"):
        show(["tracking.uri=http://127.0.0.1:9"], port=None, browser=False)
