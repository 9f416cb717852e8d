"""Pictures of a report and of the dashboard, as the README shows them.

    python -m reports.pictures dataset=tiny tracking.uri=sqlite:///mlflow.db

takes the keys of `python -m reports`, needs Chromium and playwright, and writes report.png and
dashboard.png to reports/pictures/. The store is a file, which MLflow's own server shows.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reports.errors import ReportError
from reports.options import Options, parse
from reports.read import read
from reports.render import files
from reports.summarise import summarise
from reports.write import write_folder

OUT = Path(__file__).resolve().parent / "pictures"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DRAWN = "!document.querySelector('.plot:not([data-drawn])')"
_VIEW = "paddock-leaderboard"
"""The key of the view that comes with every experiment."""

_EXPAND = "mlflow.experiment.metadata_editor.expand_button"
_PATIENCE = 300


def main() -> None:
    """Take both pictures."""
    try:
        options = parse(sys.argv[1:])
        with _browser() as browser, TemporaryDirectory() as folder:
            OUT.mkdir(exist_ok=True)
            _report(browser, options, Path(folder))
            _dashboard(browser, options, Path(folder))
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    for path in sorted(OUT.glob("*.png")):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def _report(browser: Any, options: Options, folder: Path) -> None:
    summary = summarise(read(options), options)
    write_folder(folder / "report", files(summary))
    page = browser.new_page(viewport={"width": 1240, "height": 1500})
    page.goto((folder / "report" / "index.html").as_uri())
    page.wait_for_function(_DRAWN)
    page.screenshot(path=OUT / "report.png")


def _dashboard(browser: Any, options: Options, folder: Path) -> None:
    experiment = read(options).experiment_id
    with _server(options.tracking_uri, folder) as address:
        page = browser.new_page(viewport={"width": 1600, "height": 760})
        page.goto(f"{address}/#/experiments/{experiment}/runs?viewStateShareKey={_VIEW}")
        page.locator(".ag-center-cols-container [role=row]").first.wait_for()
        # Neither the assistant nor the notice about views is of any use in a picture.
        for name in ("Close", "Hide banner"):
            page.get_by_role("button", name=name, exact=True).first.click()
        page.locator(f"[data-component-id='{_EXPAND}']").click()
        page.get_by_text("Sorted by").wait_for()
        page.mouse.move(0, 0)
        page.wait_for_timeout(1000)
        page.screenshot(path=OUT / "dashboard.png")


@contextmanager
def _browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        raise ReportError("there is no Chromium: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ReportError("there is no playwright: pip install playwright") from error
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@contextmanager
def _server(uri: str, folder: Path) -> Iterator[str]:
    """MLflow's server on the store; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--backend-store-uri", uri],
            env=os.environ
            | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(address)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _wait_for(address: str) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=1):
                return
        except OSError as error:
            if time.monotonic() > end:
                raise ReportError("MLflow's server does not start") from error
            time.sleep(0.2)


if __name__ == "__main__":
    main()
