"""An MLflow server of one's own, and one that asks for a password."""

import base64
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

from tests import fork_server

_PASSED = ("content-type", "accept")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(arguments: list[str], folder: Path) -> None:
    """`mlflow` with these arguments; what it would start to serve is served in its own process."""
    import mlflow.server
    from mlflow.cli import cli

    def serve_here(command: list[str], extra_env: dict[str, str], **options: object) -> NoReturn:
        os.environ |= extra_env
        assert command[1] == "-m", command
        _, _, module, *sys.argv[1:] = command
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        raise SystemExit

    os.chdir(folder)
    mlflow.server._exec_cmd = serve_here
    cli(arguments)


class Server:
    """`mlflow server` on a port and a folder that it keeps over a restart.

    Parameters
    ----------
    folder : Path
    store : Path
        The database that it begins with, which is copied.
    """

    def __init__(self, folder: Path, *, store: Path) -> None:
        self.folder = folder
        shutil.copy(store, folder / "server.db")
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["server", "--workers", "1", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "server-artifacts")]
        environment = os.environ | {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # Eight processes that wait for work that no test has.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with (self.folder / "server.log").open("ab") as log:
            self.process = fork_server.call(
                serve,
                command,
                self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.2)
        raise AssertionError(
            "the server did not start: " + (self.folder / "server.log").read_text()
        )

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


class PasswordGate:
    """A web server that lets requests through to another one if they carry a name and a password.

    Parameters
    ----------
    target : str
        The address that requests are passed on to.
    user, password : str
        What a request must say by HTTP's basic authentication.
    """

    def __init__(self, target: str, *, user: str, password: str) -> None:
        expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.refused: list[str] = []
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path != "/health" and self.headers.get("Authorization") != expected:
                    gate.refused.append(self.path)
                    self._send(401, {}, b"who are you?")
                    return
                passed = {k: v for k, v in self.headers.items() if k.lower() in _PASSED}
                request = urllib.request.Request(
                    target + self.path,
                    data=content if self.command != "GET" else None,
                    headers=passed,
                    method=self.command,
                )
                try:
                    with urllib.request.urlopen(request) as found:
                        self._send(found.status, found.headers, found.read())
                except urllib.error.HTTPError as error:
                    self._send(error.code, error.headers, error.read())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def _send(self, status: int, headers: Any, content: bytes) -> None:
                self.send_response(status)
                for name in ("Content-Type", "Content-Disposition"):
                    if name in headers:
                        self.send_header(name, headers[name])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Silence."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
