"""Processes of Python that begin with the heavy packages imported.

A command of Paddock in a process of its own imports torch, RecBole, MLflow and Hydra first, which
takes longer than anything that a test asks of it. Here one process, the server, imports them once
for the whole session and forks at each request. What comes out is a `subprocess.Popen` of a real
process: its own process identifier, a SIGKILL that is one, true exit codes. It is a child of the
process that runs the tests, not of the server.

A fork is not a start, so some requests get a start all the same (`_may_fork`): another Python or
another checkout, options of Python, a variable of the environment that a package reads when it is
imported, packages elsewhere, limits that are set before the start. A test of what is imported, of
how fast a command answers, or of an installed package calls `subprocess` itself. All that are
forked share one seed of Python's hashes.
"""

import atexit
import base64
import ctypes
import gc
import importlib
import os
import pickle
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

ROOT = Path(__file__).parents[1]

PRELOADED = (
    "experiments.commands.run",
    "experiments.commands.train",
    "experiments.commands.reproduce",
    "experiments.runs.leaderboard",
    "experiments.tuning.tune",
    "experiments.tuning.cli",
    "experiments.tracking.publishing",
    "torch._dynamo",
    "mlflow.entities",
    "mlflow.store.tracking.sqlalchemy_store",
    "alembic.context",
    "sqlalchemy.dialects.sqlite",
    "polars",
    "pyarrow.csv",
    "pyarrow.pandas_compat",
    "email.policy",
    "importlib_metadata",
    "experiments.language.parts",
    "tokenizers",
    "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "pytest",
)
"""What the server imports; their imports come with them."""

# MLflow asks whether it may report its use when it is imported; Paddock forbids it later.
STARTED_WITH = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
"""The environment of the server, before a test changes its own."""
STARTED_WITH.pop("PYTHONPATH", None)

_READ_AT_IMPORT = (
    "HF_", "LD_", "MKL_", "MPL", "NUMBA_", "NUMEXPR_", "OMP_", "OPENBLAS_", "POLARS_",
    "PYTHON", "TOKENIZERS_", "TORCH_", "TRANSFORMERS_",
)  # fmt: skip
_OPTIONS = {
    "cwd", "encoding", "env", "errors", "start_new_session", "stderr", "stdin", "stdout", "text",
}  # fmt: skip
_SUBREAPER = 36


def start(arguments: Sequence[str | Path], **options: Any) -> "subprocess.Popen[Any]":
    """What `subprocess.Popen` does, forked where it comes to the same.

    Parameters
    ----------
    arguments : sequence of str or Path
        The words of the command: `sys.executable`, then a script, `-m` and a module, or `-c` and
        code.
    **options
        Those of `subprocess.Popen`.

    Returns
    -------
    subprocess.Popen
    """
    words = [os.fspath(word) for word in arguments]
    kind = _Forked if _may_fork(words, options) else subprocess.Popen
    return kind(words, **options)


def run(
    arguments: Sequence[str | Path],
    *,
    capture_output: bool = False,
    check: bool = False,
    input: Any = None,
    timeout: float | None = None,
    **options: Any,
) -> "subprocess.CompletedProcess[Any]":
    """What `subprocess.run` does, forked where it comes to the same."""
    if capture_output:
        options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if input is not None:
        options["stdin"] = subprocess.PIPE
    with start(arguments, **options) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def call(function: Callable[..., object], *arguments: Any, **options: Any) -> Any:
    """Call a function of a module in a process of its own; returned is the process.

    Parameters
    ----------
    function : callable
        Found by its module and name.
    *arguments
        Can be pickled.
    **options
        Those of `subprocess.Popen`.
    """
    packed = base64.b64encode(pickle.dumps((function, arguments))).decode()
    code = (
        "import base64, pickle;"
        f"function, arguments = pickle.loads(base64.b64decode({packed!r}));"
        "function(*arguments)"
    )
    return start([sys.executable, "-c", code], cwd=ROOT, **options)


def _may_fork(words: list[str], options: Mapping[str, Any]) -> bool:
    known = sys.platform == "linux" and set(options) <= _OPTIONS
    if not known or len(words) < 2 or words[0] != sys.executable:
        return False
    environment = dict(options.get("env") or os.environ)
    packages = {*filter(None, environment.pop("PYTHONPATH", "").split(os.pathsep))}
    if packages - {str(ROOT)} or any(
        environment.get(name) != STARTED_WITH.get(name)
        for name in {*environment, *STARTED_WITH}
        if name.startswith(_READ_AT_IMPORT)
    ):
        return False
    folder = Path(options.get("cwd") or Path.cwd()).resolve()
    if words[1] in ("-c", "-m"):
        return folder == ROOT or bool(packages)
    return not words[1].startswith("-") and (folder / words[1]).resolve().parent == ROOT


class _Request(NamedTuple):
    """What a process is to be; its three streams are sent along."""

    words: list[str]
    cwd: str
    environment: dict[str, str]
    start_new_session: bool


class _Forked(subprocess.Popen):  # type: ignore[type-arg]
    """A `subprocess.Popen` in which the fork and the exec alone are others."""

    def _execute_child(
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
        creationflags, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite,
        restore_signals, gid, gids, uid, umask, start_new_session, process_group,
    ) -> None:  # fmt: skip
        given = (p2cread, c2pwrite, errwrite)
        request = _Request(
            list(args),
            os.fspath(cwd or Path.cwd()),
            dict(os.environ if env is None else env),
            start_new_session,
        )
        try:
            self.pid = _server().fork(
                request, [own if own != -1 else stream for stream, own in enumerate(given)]
            )
            self._child_created = True
        finally:
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


class _Server:
    """The server, seen by who asks."""

    def __init__(self) -> None:
        self._socket, its = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._lock = threading.Lock()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(its.fileno())],
                cwd=ROOT,
                env=STARTED_WITH,
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def fork(self, request: _Request, streams: list[int]) -> int:
        """The process identifier of a new child of this process."""
        content = pickle.dumps(request)
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        with self._lock:
            try:
                socket.send_fds(self._socket, [struct.pack("!I", len(content))], streams)
                self._socket.sendall(content)
                # The server's child's child falls to this process.
                if prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
                    raise OSError(ctypes.get_errno(), "prctl")
                answer = self._socket.recv(4)
            except OSError:
                answer = b""
            finally:
                prctl(_SUBREAPER, 0, 0, 0, 0)
        if len(answer) != 4:
            self._said.seek(0)
            raise RuntimeError(f"the fork server has ended:\n{self._said.read().decode()}")
        return int(struct.unpack("!I", answer)[0])


_running: list[_Server] = []


def _server() -> _Server:
    if not _running:
        _running.append(_Server())
    return _running[0]


def _serve(connection: socket.socket) -> _Request | None:
    """Fork at each request; comes back with the request in each child, and with None at the end."""
    while True:
        header, streams, _, _ = socket.recv_fds(connection, 4, 3)
        if not header:
            return None
        content = b""
        (size,) = struct.unpack("!I", header)
        while len(content) < size:
            content += connection.recv(size - len(content))
        others = [thread.name for thread in threading.enumerate()[1:]]
        if others:
            raise RuntimeError(f"threads are not forked: {', '.join(others)}")
        child = _forked()
        if child == 0:
            connection.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
        for stream in {*streams} - {0, 1, 2}:
            os.close(stream)
        if child == 0:
            return _Request(*pickle.loads(content))
        connection.sendall(struct.pack("!I", child))


def _forked() -> int:
    """Zero in a child that has fallen to who asked, the child's process identifier here."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        between = os.getpid()
        child = os.fork()
        if child != 0:
            os.write(writing, struct.pack("!I", child))
            # Whose parent ends gets another.
            os._exit(0)
        while os.getppid() == between:
            time.sleep(0.0005)
    else:
        os.waitpid(between, 0)
        child = int(struct.unpack("!I", os.read(reading, 4))[0])
    os.close(reading)
    os.close(writing)
    return child


def _become(request: _Request, paths: list[str]) -> None:
    """Be what Python would be, started so."""
    if request.start_new_session:
        os.setsid()
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.cwd)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    sys.path[:] = paths
    if request.environment.get("PYTHONPATH"):
        sys.path.insert(0, str(ROOT))
    importlib.invalidate_caches()
    sys.orig_argv = list(request.words)
    _, first, *rest = request.words
    if first == "-c":
        code, *sys.argv[1:] = rest
        sys.argv[0] = "-c"
        sys.path.insert(0, "")
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(code, "<string>", "exec"), vars(main))
    elif first == "-m":
        module, *sys.argv[1:] = rest
        sys.argv[0] = "-m"
        sys.path.insert(0, request.cwd)
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = [first, *rest]
        sys.path.insert(0, str(Path(first).absolute().parent))
        runpy.run_path(first, run_name="__main__")


def _exit_code(request: _Request, paths: list[str]) -> int:
    """Python's answer to how the program ended."""
    try:
        _become(request, paths)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End as Python does, except that nothing is taken down.

    That would write to every page of the memory that is shared with the server, each of which the
    kernel would copy first.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = 120
    os._exit(code & 0xFF)


def main() -> None:
    """The server, and what is forked from it."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    # `python -m` put the folder first.
    paths = sys.path[1:]
    for name in PRELOADED:
        importlib.import_module(name)
    # Hydra looks for its plug-ins and learns its grammar with the first composition.
    importlib.import_module("experiments.tuning.cli").read(["model=bpr", "dataset=tiny"])
    gc.collect()
    gc.freeze()
    request = _serve(connection)
    if request is not None:
        _end(_exit_code(request, paths))


if __name__ == "__main__":
    main()
