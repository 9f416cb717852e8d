"""What the layout of the repository promises."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = [
    ROOT / "run.py",
    *([ROOT / "tune.py"] if (ROOT / "tune.py").exists() else []),
    *(
        path
        for package in ("experiments", "models", "reports", "paddock")
        for path in sorted((ROOT / package).rglob("*.py"))
    ),
]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its head or within a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{_name(path)}: import {node.module} by its full name"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_datasets_is_no_package() -> None:
    """Hugging Face's `datasets` must stay findable from the repository's root."""
    assert list((ROOT / "datasets").rglob("__init__.py")) == []
    code = (
        "import importlib.util, json;"
        "spec = importlib.util.find_spec('datasets');"
        "print(json.dumps(None if spec is None else spec.origin))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # A folder without __init__.py has no origin: any real package of that name wins over it.
    assert str(ROOT / "datasets") not in done.stdout


def test_datasets_is_not_installed() -> None:
    spec = importlib.util.find_spec("datasets")
    assert spec is None or spec.origin is None or not spec.origin.startswith(str(ROOT / "datasets"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["experiments", "models", "paddock", "reports"]
    assert all(place.startswith("paddock/share/") for place in wheel["force-include"].values())


@pytest.mark.parametrize("path", CODE, ids=_name)
def test_recbole_modules_that_need_ray_or_pickles_are_not_imported(path: Path) -> None:
    banned = (
        "recbole.quick_start",
        "recbole.trainer.hyper_tuning",
        "ray",
        "pickle",
        "joblib",
        "dill",
    )
    assert not {module for module in _imports(path) if _within(module, banned)}


@pytest.mark.parametrize("path", CODE, ids=_name)
def test_nothing_is_pickled(path: Path) -> None:
    """Checkpoints are safetensors and JSON: reading one executes nothing."""
    banned = {("torch", "load"), ("torch", "save"), ("np", "load"), ("pd", "read_pickle")}
    used = {
        (node.value.id, node.attr)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert not used & banned


@pytest.mark.parametrize("path", CODE, ids=_name)
def test_modules_say_what_they_hold(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def _tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def test_no_path_of_one_machine() -> None:
    # A container's own user is no machine's.
    pattern = re.compile(rb"(?<![\w.])/(?:work|root|home)/(?!paddock/)[A-Za-z0-9_.]")
    found = [
        f"{_name(path)}:{number}"
        for path in _tracked()
        if path != Path(__file__)
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []


def test_products_are_not_tracked() -> None:
    names = [_name(path) for path in _tracked()]
    assert "datasets/tiny/tiny.inter" in names
    products = ("runs/", "mlruns/", "mlartifacts/", "datasets/prepared/", "outputs/", "multirun/")
    assert [name for name in names if name.startswith(products)] == []
    assert [name for name in names if re.search(r"\.(pth|pkl|safetensors|db|parquet)$", name)] == []
