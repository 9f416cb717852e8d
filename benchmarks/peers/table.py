"""Results as files and as a table."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.files import read_json, write_text

RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = (
    "data, kind",
    "library",
    "a pass, CPU s",
    "ratio",
    "to the goal, CPU s",
    "ratio",
    "MB",
    "valid NDCG@10",
    "test NDCG@10",
    "test Hit@1",
)
LOST = "▼"
"""Beside ours where it is worse."""


def write(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Keep a result as JSON, curves as rows of columns; give it as it is read back."""
    for turn in [*result["ours"], *(turn for row in result["rows"] for turn in row["turns"])]:
        curve = turn["curve"]
        turn["curve"] = {
            name: [float(f"{a_pass[name]:.5g}") for a_pass in curve]
            for name in (curve[0] if curve else {})
        }
    text = json.dumps(result, indent=1, allow_nan=False)
    numbers = re.compile(r"\[\s*([-\d.eE+,\s]*?)\s*\]")
    text = numbers.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text + "\n")
    found: dict[str, Any] = read_json(path)
    return found


def rows(result: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    """Rows of a result: theirs / ours, with a mark where ours is worse."""
    for row in result["rows"]:
        name = f"{result['data']}, {result['kind']}"
        library = _library(row)
        found = row.get("comparison")
        if found is None:
            reasons = sorted({turn["stopped"] for turn in row["turns"]})
            yield (name, library, "; ".join(reasons), *[""] * 7)
            continue
        yield (
            name,
            library,
            *_seconds(found, "pass"),
            *_seconds(found, "to_goal"),
            _pair(found, "megabytes", "{:.0f}"),
            _pair(found, "valid_ndcg_at_10", "{:.4f}"),
            _pair(found, "test_ndcg_at_10", "{:.4f}"),
            _pair(found, "test_hit_at_1", "{:.4f}"),
        )
    for library, reason in result["unavailable"].items():
        yield (f"{result['data']}, {result['kind']}", library, f"left out: {reason}", *[""] * 7)


def markdown(results: Iterable[dict[str, Any]]) -> str:
    """All rows as a table in Markdown."""
    lines = [COLUMNS, ["---", "---", *["---:"] * 8]]
    lines += [row for result in results for row in rows(result)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def show(results: Iterable[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title=f"Theirs / ours, medians; {LOST}: ours is worse")
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if number < 2 else "right")
    for result in results:
        for row in rows(result):
            table.add_row(*row)
    Console(width=180).print(table)


def _library(row: dict[str, Any]) -> str:
    packages = row["turns"][0]["facts"].get("packages", {})
    version = next(iter(packages.values()), "")
    note = f" ({row['note']})" if row["note"] else ""
    return f"{row['library']} {version}{note}"


def _seconds(found: dict[str, Any], name: str) -> tuple[str, str]:
    cpu = found[name]["cpu"]
    middle = [sorted(cpu[side])[len(cpu[side]) // 2] for side in ("theirs", "ours")]
    ratio = " - ".join(f"{cpu['ratio'][which]:.2g}" for which in ("min", "median", "max"))
    return f"{middle[0]:.3g} / {middle[1]:.3g}{_mark(found, name)}", ratio


def _pair(found: dict[str, Any], name: str, form: str) -> str:
    both = " / ".join(form.format(found[name][side]) for side in ("theirs", "ours"))
    return f"{both}{_mark(found, name)}"


def _mark(found: dict[str, Any], name: str) -> str:
    return f" {LOST}" if name in found["loses"] else ""
