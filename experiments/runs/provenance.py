"""Where a number came from: code, packages, machine."""

import hashlib
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from experiments.paths import IN_CHECKOUT, ROOT

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


SOURCES = (
    *(f"*.{ending}" for ending in ("py", "yaml", "yml", "toml")),
    "experiments/*.json",
    *(f":(exclude){folder}" for folder in ("conf/tuned", "datasets", "docs")),
)
"""The files that can change a number, as git's pathspecs: code and configuration.

Data has a hash of its own, and what a study wrote to conf/tuned is in the configuration of the runs that
read it: neither makes code an uncommitted one.
"""

MOST_STORED = 200_000
"""Bytes of an untracked file above which its hash alone is stored."""


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
    """The commit of the code and what differs from it; all None outside a checkout.

    Returns
    -------
    dict
        `commit`; `dirty`, whether code or configuration differs; `diff`, of the tracked files of these;
        `untracked`, those that git does not know, path -> {"sha256", "text"} (no text of large files).
    """
    # An installed package may lie within the checkout of something else.
    commit = _git("rev-parse", "HEAD") if IN_CHECKOUT else None
    if commit is None:
        return {"commit": None, "dirty": None, "diff": None, "untracked": None}
    diff, untracked = _git("diff", "HEAD", "--", *SOURCES), _untracked()
    return {
        "commit": commit,
        "dirty": bool(diff or untracked),
        "diff": diff,
        "untracked": untracked,
    }


def _untracked() -> dict[str, dict[str, str | None]]:
    """The sources that git does not know, but for those that it ignores."""
    listed = _git("ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCES) or ""
    found: dict[str, dict[str, str | None]] = {}
    for name in sorted(filter(None, listed.split("\0"))):
        path = ROOT / name
        if not path.is_file():
            continue
        content = path.read_bytes()
        small = len(content) <= MOST_STORED
        found[name] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "text": content.decode("utf-8", errors="replace") if small else None,
        }
    return found


def host() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
