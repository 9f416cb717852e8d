"""An environment for each library: a virtual environment of its pinned requirements, made once.

`requirements/NAME.txt` pins a library; a first line `# python 3.12` says that it needs that Python.
Environments lie in a cache folder, named by the file's content, so that a changed pin makes another one.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from experiments.locks import lock

FOLDER = Path(__file__).resolve().parent / "requirements"
VARIABLE = "PADDOCK_BENCH_ENVIRONMENTS"
"""Names the cache folder, by default one in the user's cache."""

OURS = "paddock"
_LAST_LINES = 3


class Unavailable(Exception):
    """A library that cannot be had here, with the reason."""


def interpreter(name: str) -> Path:
    """The Python that a library runs on; its environment is made where there is none.

    Raises
    ------
    Unavailable
        Where it does not install, with the last lines that pip says.
    """
    if name == OURS:
        return Path(sys.executable)
    requirements = FOLDER / f"{name}.txt"
    content = requirements.read_text(encoding="utf-8")
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    folder = cache_folder() / f"{name}-{digest}"
    ready, python = folder / ".ready", folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock(folder.with_suffix(".lock")):
        if not ready.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            # A pip of its own, and byte code of all of torch, would take longer than the rest.
            _run([str(_base(content)), "-m", "venv", "--without-pip", str(folder)])
            print(f"peers: installing {name}", file=sys.stderr, flush=True)
            pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
            _run([*pip, "--quiet", "--no-compile", "-r", str(requirements)])
            ready.touch()
    return python


def cache_folder() -> Path:
    """Where the environments lie."""
    if folder := os.environ.get(VARIABLE):
        return Path(folder).resolve()
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "paddock" / "peers"


def _base(content: str) -> Path:
    """The Python that an environment is made with."""
    wanted = re.match(r"# python (\d\.\d+)\n", content)
    if wanted is None or wanted[1] == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    found = shutil.which(f"python{wanted[1]}")
    if found is None:
        raise Unavailable(f"it needs Python {wanted[1]}, and no python{wanted[1]} is on the path")
    return Path(found)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise Unavailable(" ".join(said[-_LAST_LINES:]) or f"{command[0]} ended badly")
