"""What is forked cannot be told from what is started, and what could be is started."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import fork_server

ROOT = Path(__file__).parents[1]
TELL = """
import json, os, sys
print(json.dumps({
    "pid": os.getpid(), "ppid": os.getppid(), "session": os.getsid(0), "cwd": os.getcwd(),
    "argv": sys.argv, "path": sys.path[:2], "name": __name__, "variable": os.environ.get("OWN"),
    "stdin": sys.stdin.read(), "heavy": "torch" in sys.modules,
}))
print("and said", file=sys.stderr)
sys.exit(3)
"""


def told(*options: str, **given: Any) -> dict[str, Any]:
    words = [sys.executable, *options, "-c", TELL, "one", "two words"]
    done = fork_server.run(
        words, input="asked", capture_output=True, text=True, **{"cwd": ROOT, **given}
    )
    assert (done.returncode, done.stderr) == (3, "and said\n"), done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_it_is_told_what_a_process_is_told(tmp_path: Path) -> None:
    environment = {**os.environ, "OWN": "mine", "PYTHONPATH": str(ROOT)}
    seen = told(cwd=tmp_path, env=environment, start_new_session=True)
    assert seen.pop("heavy")
    assert seen.pop("session") == seen.pop("pid") != os.getpid()
    real = subprocess.run(
        [sys.executable, "-c", TELL, "one", "two words"],
        cwd=tmp_path, env=environment, input="asked", text=True, capture_output=True, check=False,
    )  # fmt: skip
    expected = json.loads(real.stdout)
    assert not expected.pop("heavy")
    del expected["session"], expected["pid"]
    assert seen == expected
    assert seen["ppid"] == os.getpid()


@pytest.mark.parametrize(
    "given",
    [
        {"env": {**os.environ, "OMP_NUM_THREADS": "3"}},
        {"env": {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}/elsewhere"}},
        {"cwd": "/"},
        {"umask": 0o77},
    ],
)
def test_what_a_fork_would_get_wrong_is_started(given: dict[str, Any]) -> None:
    assert not told(**given)["heavy"]


def test_options_of_python_are_heeded() -> None:
    assert not told("-B")["heavy"]


def test_it_ends_as_a_process_does() -> None:
    def code(program: str) -> tuple[int, str]:
        words = [sys.executable, "-c", program]
        done = fork_server.run(words, cwd=ROOT, capture_output=True, text=True)
        return done.returncode, done.stderr + done.stdout

    assert code("import os; os._exit(7)") == (7, "")
    assert code("import sys; sys.exit('why')") == (1, "why\n")
    assert code("import atexit; atexit.register(print, 'last')") == (0, "last\n")
    failed, said = code("1 / 0")
    assert failed == 1
    assert said.endswith("ZeroDivisionError: division by zero\n")
    later = "import threading; threading.Timer(0.1, lambda: print('later')).start()"
    assert code(later) == (0, "later\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_signal(number: signal.Signals) -> None:
    program = (
        "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "print('begun', flush=True); time.sleep(60)"
    )
    process = fork_server.start(
        [sys.executable, "-c", program],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"begun\n"
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait() == -number
    assert not psutil.pid_exists(process.pid)
