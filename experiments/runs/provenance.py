"""Where a number came from: code, packages, machine."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from experiments.paths import ROOT

PACKAGES = (
    "recbole",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "polars",
    "pyarrow",
    "transformers",
    "hydra-core",
    "omegaconf",
    "mlflow",
    "optuna",
    "safetensors",
)


@cache
def packages() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git() -> dict[str, Any]:
    """The commit of the code and what differs from it; all None outside a checkout."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None, "diff": None}
    status = _git("status", "--porcelain") or ""
    return {
        "commit": commit,
        "dirty": bool(status),
        "diff": _git("diff", "HEAD") if status else "",
    }


def host() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
    }


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
