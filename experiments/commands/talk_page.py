"""`paddock talk`: the page that talks about a data set, on loopback."""

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.config.check import check
from experiments.config.compose import compose, typed
from experiments.errors import PaddockError
from experiments.failures import answering

PORT = 8501
PAGE = Path(__file__).parents[1] / "talk" / "page.py"


def main() -> None:
    """Serve what sys.argv asks for, until Ctrl-C."""
    asked = _parser().parse_args()
    with answering():
        check(typed(compose(asked.overrides)))
        command = page_command(asked.overrides, port=asked.port, browser=asked.browser)
        try:
            sys.exit(subprocess.run(command, check=False, env=environment()).returncode)
        except KeyboardInterrupt:
            sys.exit(0)


def page_command(overrides: Sequence[str], *, port: int = PORT, browser: bool = False) -> list[str]:
    """The command that serves the page on 127.0.0.1.

    Parameters
    ----------
    overrides : sequence of str
        As of `run.py`.
    port : int
    browser : bool
        Whether a browser is opened.

    Raises
    ------
    PaddockError
        Streamlit is not installed.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise PaddockError("the page needs streamlit: pip install 'paddock[talk]'")
    return [
        *(sys.executable, "-m", "streamlit", "run", str(PAGE)),
        "--server.address=127.0.0.1",
        f"--server.port={port}",
        f"--server.headless={str(not browser).lower()}",
        "--server.fileWatcherType=none",
        "--server.maxUploadSize=1",
        "--browser.gatherUsageStats=false",
        "--runner.magicEnabled=false",
        "--client.toolbarMode=minimal",
        "--client.showErrorDetails=none",
        *("--", *overrides),
    ]


def environment() -> dict[str, str]:
    """The page's environment: this project is found wherever streamlit puts its script's folder."""
    paths = [str(PAGE.parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in paths if each)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="paddock talk", description="Open the page that talks about a data set."
    )
    parser.add_argument("overrides", nargs="*", help="as of run.py, such as dataset=ml-100k")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--browser", action="store_true", help="open a browser")
    return parser


if __name__ == "__main__":
    main()
