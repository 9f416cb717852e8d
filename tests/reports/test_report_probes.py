"""The page's tables of probes, from a run that was trained, measured and tracked."""

import json
import re
import shutil
from pathlib import Path

import pytest

from experiments.runs.folder import RunFolder
from reports.probes import PROBES
from tests.commands.command_line import CommandLine
from tests.reports.conftest import Made, Report
from tests.small_allmrec import SMALL

NAMES = "[history_shuffled,history_removed,titles_neutral,leakage,popularity]"


@pytest.fixture(scope="module")
def measured(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, RunFolder]:
    """The address of a store with a small A-LLMRec and its probes, and the run's folder."""
    folder = tmp_path_factory.mktemp("probes")
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    made = CommandLine(folder).trained(
        "model=a_llmrec",
        "dataset=tiny",
        "protocol=loo-c20",
        "protocol.scored_users=8",
        "device=cpu",
        "threads=1",
        *SMALL,
        "model.llm.layers=1",
        "model.title_tokens=6",
        "model.epoch_samples=16",
        f"model.probes={NAMES}",
        "tracking=local",
        f"tracking.uri={uri}",
        f"tracking.artifacts={folder / 'artifacts'}",
    )
    return uri, made


def section(page: str) -> str:
    return page[page.index('<section id="probes"') :].partition("</section>")[0]


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html, flags=re.S)
    return [
        [
            re.sub(r"<[^>]+>", "", cell).strip()
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, flags=re.S)
        ]
        for row in rows
    ]


def test_each_probe_stands_beside_the_run_s_own_number(
    measured: tuple[str, RunFolder], report: Report
) -> None:
    uri, run = measured
    made: Made = report(uri, "dataset=tiny", "protocol=loo-c20", "dirty=true")
    assert made.code == 0, made.err
    html = section((made.folder / "index.html").read_text(encoding="utf-8"))
    assert "mechanics" in html
    metrics = run.result["metrics"]
    found = {(row[0], row[1]): row for row in cells(html) if len(row) == 7}
    for probe, meaning in PROBES.items():
        (row,) = [
            row
            for (taken, metric), row in found.items()
            if taken == meaning.taken and "Hit@1" in metric
        ]
        own, without = metrics["test/c20/hit_at_1"], metrics[f"test/{probe}/c20/hit_at_1"]
        assert row[2:5] == [f"{own:.4f}", f"{without:.4f}", f"{without - own:+.4f}"]
        assert row[5:] == [meaning.drop, meaning.stays]
    assert f"{metrics['test/leakage/list_hit_at_1']:.4f}" in html
    assert f"{metrics['test/popularity/spearman']:.4f}" in html
    # A probe is no ranking that models are compared by.
    summary = json.loads((made.folder / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["tables"]) == {"c20"}


def test_a_report_without_probes_has_no_such_section(board_report: Made) -> None:
    assert '<section id="probes"' not in (board_report.folder / "index.html").read_text()
