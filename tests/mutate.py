"""Mutation testing of changed modules: which changes of the code no test notices.

    make mutate                                       # what differs from main, or else from HEAD~1
    make mutate BASE=v1.0
    make mutate MODULES=experiments/protocol/splits/loo.py TESTS=tests/protocol/test_splits.py

mutmut makes the mutants and runs the tests, in a copy of the checkout. A module is tested by the
folder of tests that mirrors its own, without the slow ones, unless TESTS names others.

mutmut leaves decorated functions alone, which here are metrics, splits, properties and more. The
copy therefore decorates them behind their definition, `name = decorator(name)`, which means the
same. What stays unmutated: code outside of functions, setters, and functions within functions.
"""

import argparse
import ast
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

ROOT = Path(__file__).parents[1]
PACKAGES = ("experiments", "models", "reports", "paddock")

CONFIGURATION = """\
[mutmut]
source_paths=
{packages}
only_mutate=
{modules}
also_copy=
{copied}
pytest_add_cli_args_test_selection=
{tests}
pytest_add_cli_args=
    -m
    not slow
    -p
    no:cacheprovider
process_isolation=forkserver
"""
"""torch and polars have threads that do not survive a fork, hence the server of processes."""


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def changed_modules(base: str | None) -> list[str]:
    """The modules that differ from `base`, by default from where the branch left main."""
    if base is None:
        branched = git("merge-base", "HEAD", "main").strip()
        base = branched if branched != git("rev-parse", "HEAD").strip() else "HEAD~1"
    names = git("diff", "--name-only", "--diff-filter=d", base, "--", *PACKAGES).splitlines()
    return [name for name in names if name.endswith(".py")]


def tests_of(module: str) -> str:
    """The tests that mirror a module: the nearest folder of tests with the name of one of its own."""
    folder = Path(module).parent
    mirrored = folder.relative_to("experiments") if folder.parts[0] == "experiments" else folder
    while mirrored.parts and not (ROOT / "tests" / mirrored).is_dir():
        mirrored = mirrored.parent
    return str("tests" / mirrored)


def undecorated(source: str) -> str:
    """The source with every decorator of a function applied behind the function."""
    lines = source.splitlines()
    behind: dict[int, list[str]] = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef) or not node.decorator_list:
            continue
        texts = [ast.unparse(decorator) for decorator in node.decorator_list]
        if any(text.startswith((f"{node.name}.", "overload")) for text in texts):
            continue  # a setter needs the property of its name, which the definition would replace
        if texts in (["staticmethod"], ["classmethod"]):
            continue  # mutmut knows these
        for line in range(node.decorator_list[0].lineno - 1, node.lineno - 1):
            lines[line] = ""
        assert node.end_lineno is not None
        applied = node.name
        for text in reversed(texts):
            applied = f"{text}({applied})"
        behind[node.end_lineno] = [f"{' ' * node.col_offset}{node.name} = {applied}"]
    made: list[str] = []
    for number, line in enumerate(lines, start=1):
        made += [line, *behind.get(number, [])]
    return "\n".join(made) + "\n"


def copy_of_checkout(folder: Path, modules: list[str], tests: list[str]) -> None:
    """The files that git knows or would take, and mutmut's configuration."""
    names = git("ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    for module in modules:
        path = folder / module
        path.write_text(undecorated(path.read_text(encoding="utf-8")), encoding="utf-8")
    top = sorted({Path(name).parts[0] for name in names} - {"tests", "pyproject.toml"})
    (folder / "setup.cfg").write_text(
        CONFIGURATION.format(
            **{
                key: "\n".join(f"    {each}" for each in values)
                for key, values in {
                    "packages": [name for name in PACKAGES if (ROOT / name).is_dir()],
                    "modules": modules,
                    "copied": top,
                    "tests": tests,
                }.items()
            }
        )
    )


def mutmut(folder: Path, *words: str, capture: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *words],
        cwd=folder,
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=True,
    )
    return done.stdout or ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Mutation testing of changed modules.")
    parser.add_argument("modules", nargs="*", help="instead of those that changed")
    parser.add_argument("--base", help="what the checkout is compared with")
    parser.add_argument("--tests", nargs="*", help="instead of those that mirror the modules")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    modules = asked.modules or changed_modules(asked.base)
    if not modules:
        console.print("No module changed.")
        return
    tests = asked.tests or sorted({tests_of(module) for module in modules})
    console.print(f"Mutating {', '.join(modules)}; tests: {', '.join(tests)}", highlight=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_of_checkout(folder, modules, tests)
        mutmut(folder, "run", "--max-children", str(asked.workers), capture=False)
        results = dict(
            line.strip().split(": ", 1)
            for line in mutmut(folder, "results", "--all", "true").splitlines()
            if ": " in line
        )
        table = Table(show_lines=True)
        table.add_column("Function", overflow="fold")
        table.add_column("Change", ratio=1)
        table.add_column("Result")
        for mutant, result in results.items():
            if result == "killed":
                continue
            shown = mutmut(folder, "show", mutant).splitlines()
            change = [line for line in shown if line[:1] in "+-" and line[:3] not in ("+++", "---")]
            function = mutant.rpartition("__mutmut_")[0].replace("ǁ", ".").replace(".x_", ".")
            table.add_row(function, Syntax("\n".join(change), "diff"), result)
        if table.row_count:
            console.print(table)
        killed = sum(result == "killed" for result in results.values())
        console.print(f"{killed} of {len(results)} mutants were noticed.", highlight=False)


if __name__ == "__main__":
    main()
