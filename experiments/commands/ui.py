"""`paddock ui`: MLflow's dashboard of the tracking store, opened at a leaderboard."""

import argparse
import os
import signal
import sys
import webbrowser
from collections.abc import Sequence

from experiments.address import absolute, is_remote, with_password
from experiments.config.compose import compose, typed, with_plugins
from experiments.config.schema import Config
from experiments.errors import PaddockError
from experiments.failures import answering

PORT = 5000


def main() -> None:
    """Show what sys.argv asks for, until Ctrl-C."""
    asked = _parser().parse_args()
    # Whoever ends this process means the server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with answering():
            show(asked.overrides, port=asked.port, browser=asked.browser)
    except KeyboardInterrupt:
        sys.exit(0)


def show(overrides: Sequence[str], *, port: int | None, browser: bool) -> None:
    """Serve the store, say where its leaderboard is, and wait; of a server only the latter is said.

    Parameters
    ----------
    overrides : sequence of str
        As of `run.py`: `tracking.uri` counts, and `dataset` and `protocol` where a data set is named.
    port : int or None
        By default 5000, or a free one where that is taken.
    browser : bool
        Whether a browser is opened, where there is a display.

    Raises
    ------
    PaddockError
        There is no store, no such experiment, or no room at the port.
    """
    config = typed(compose(with_plugins(list(overrides))))
    uri = config.tracking.uri
    if uri is None:
        raise PaddockError("tracking.uri is null: there is no store to show; name one")
    from experiments.tracking.page import HOST, free_port, leaderboard_page, served
    from experiments.tracking.store import reach

    store = reach(config.tracking)
    experiment = _experiment(config, overrides)
    if is_remote(uri):
        _point(leaderboard_page(store, store.uri, experiment=experiment), store.uri, browser)
        return
    chosen = free_port(PORT if port is None else port)
    if port not in (None, 0, chosen):
        raise PaddockError(f"--port {port} is taken by another program; choose another one")
    address = f"http://{HOST}:{chosen}"
    page = leaderboard_page(store, address, experiment=experiment)
    print(f"Starting MLflow on {store.uri} ...", flush=True)
    with served(absolute(with_password(uri)), port=chosen) as server:
        _point(page, address, browser)
        print("Ctrl-C ends it.", flush=True)
        server.wait()
    raise PaddockError("MLflow's server ended by itself; run it again")


def _experiment(config: Config, overrides: Sequence[str]) -> str | None:
    """<dataset>/<protocol> where the command names a data set."""
    from experiments.data.prepare import dataset_name

    if not any(each.startswith(("dataset=", "dataset.")) for each in overrides):
        return None
    return f"{dataset_name(config.dataset)}/{config.protocol.name}"


def _point(page: str | None, address: str, browser: bool) -> None:
    if page is None:
        print("No run was tracked yet.")
    print(f"Leaderboard: {page}" if page else f"Dashboard: {address}", flush=True)
    if browser and _has_display():
        # A machine without a browser is no reason to fail.
        try:
            webbrowser.open(page or address)
        except (webbrowser.Error, OSError) as error:
            print(f"No browser opened: {error}", file=sys.stderr)


def _has_display() -> bool:
    """Whether a browser would have a window: without one a text browser might take the terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=sys.argv[0] if sys.argv[0].startswith("paddock") else "paddock ui",
        description="Show the tracking store in MLflow, opened at the newest leaderboard.",
        epilog="examples: paddock ui;  paddock ui dataset=ml-100k tracking.uri=sqlite:///other.db",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="tracking.uri, or dataset and protocol of the leaderboard, as for paddock run",
    )
    parser.add_argument("--port", type=int, help="by default 5000, or a free one")
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="print the link alone"
    )
    return parser


if __name__ == "__main__":
    main()
