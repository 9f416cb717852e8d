"""A PostgreSQL server of the test's own, in a folder, on a free port."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


class Postgres:
    """PostgreSQL's own binaries, as the package pgserver or a Linux distribution carries them."""

    def __init__(self) -> None:
        # Not in pytest's folder, which is its user's alone.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.port = free_port()
        self.url = f"postgresql://tuner@127.0.0.1:{self.port}/postgres"
        self._data = self.folder / "data"
        self._binaries = _binaries()
        # The server refuses to run as root.
        self._user: dict[str, object] = {}
        if os.getuid() == 0:
            self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._user:
            shutil.chown(self.folder, "nobody", "nogroup")
        arguments = ["-D", str(self._data), "-U", "tuner", "-A", "trust", "--no-sync", "-E", "UTF8"]
        self._run("initdb", *arguments, "--locale=C")
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._binaries / "postgres"),
                    *("-D", str(self._data), "-p", str(self.port)),
                    *(
                        "-c",
                        "listen_addresses=127.0.0.1",
                        "-c",
                        f"unix_socket_directories={self.folder}",
                    ),
                    *("-c", "fsync=off"),
                ],
                stdout=log,
                stderr=log,
                **self._user,  # type: ignore[call-overload]
            )
        for _ in range(300):
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                assert self._process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.2)
        raise AssertionError(
            "the server did not start: " + (self.folder / "server.log").read_text()
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
        shutil.rmtree(self.folder)

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / name), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **self._user,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stderr


def _binaries() -> Path:
    try:
        import pgserver

        return Path(pgserver.__file__).parent / "pginstall" / "bin"
    except ImportError:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("no PostgreSQL: pip install pgserver, or apt-get install postgresql")
    return found[-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
