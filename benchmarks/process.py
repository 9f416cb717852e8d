"""Processes of one thread that a benchmark measures."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}


def one_thread() -> dict[str, str]:
    """The caller's environment on one thread, in which Python keeps the bytecode that it compiles.

    A caller that sees to it that none is written would have every process compile the project anew,
    which happens to no user.
    """
    return {
        key: value
        for key, value in (os.environ | ONE_THREAD).items()
        if key != "PYTHONDONTWRITEBYTECODE"
    }


def python_output(*arguments: object) -> str:
    """What Python prints when it is called with these arguments, in the checkout and on one thread.

    Raises
    ------
    RuntimeError
        When it ends with another code than 0; with the end of its messages.
    """
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=one_thread(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        called = " ".join(map(str, arguments))
        raise RuntimeError(f"{called} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout
