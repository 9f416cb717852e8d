"""Where a trial writes its files: a folder of its worker's own, which does not outlast it."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from experiments.tuning.heartbeat import is_gone, this_worker


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """Give a folder for the files of one trial, and remove it with them.

    Parameters
    ----------
    parent
        The folder of the study, which machines and containers may share; what dead workers of this
        one left below it is removed as well.
    """
    root = parent / "scratch"
    if root.exists():
        for left in root.iterdir():
            if is_gone(_worker_of(left)):
                shutil.rmtree(left, ignore_errors=True)
    worker = this_worker()
    # The process's number alone is 1 in every container.
    path = root / f"{quote(worker['host'], safe='')}-{worker['pid']}-{worker['started']}"
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _worker_of(folder: Path) -> dict[str, Any]:
    """The worker that a folder is named by, as its `this_worker` gave it; empty where by none."""
    found = re.fullmatch(r"(.+)-(\d+)-(\d+\.\d+)", folder.name)
    if found is None:
        return {}
    host, pid, started = found.groups()
    return {"host": unquote(host), "pid": int(pid), "started": float(started)}
