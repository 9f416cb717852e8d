"""The tables against the values that were logged."""

import ast
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.synthetic_store import Fake, make_store, make_study, members_of, values_of
from experiments.config.schema import TrackingConfig
from reports import cells
from reports.errors import ReportError
from reports.metrics import columns
from reports.options import parse
from reports.read import read
from reports.summarise import summarise
from tests.reports.conftest import SEEDS, Made, Report, Stored
from tests.tracking.mlflow_server import Server

ROOT = Path(__file__).parents[2]
LEAD = "full/ndcg_at_10"
COLUMNS = ["full/hit_at_1", "full/hit_at_10", LEAD]


def _values(fakes: list[Fake], model: str, metric: str) -> np.ndarray:
    """(S, U), of the runs that count."""
    counted = [fake for fake in fakes if fake.model == model and fake.quality != 0.9]
    assert [fake.seed for fake in counted] == list(SEEDS)
    return np.stack([values_of(fake)[metric] for fake in counted])


def test_means_deviations_marks_and_gains(board_report: Made, fakes: list[Fake]) -> None:
    made = board_report
    assert made.summary["tables"]["full"] == COLUMNS
    means = {}
    for model in ("pop", "bpr", "sasrec"):
        by_seed = _values(fakes, model, LEAD).mean(axis=1)
        told = made.row(model)["metrics"][LEAD]
        assert told["mean"] == pytest.approx(by_seed.mean())
        assert told["std"] == pytest.approx(by_seed.std(ddof=1))
        means[model] = by_seed.mean()
    assert means["sasrec"] > means["bpr"] > means["pop"]
    marks = {model: made.row(model)["metrics"][LEAD]["mark"] for model in means}
    assert marks == {"sasrec": "best", "bpr": "second", "pop": None}
    gains = {model: made.row(model)["metrics"][LEAD]["gain"] for model in means}
    assert gains["sasrec"] == pytest.approx(means["sasrec"] / means["bpr"] - 1)
    assert gains["pop"] == pytest.approx(means["pop"] / means["sasrec"] - 1)


def test_comparisons_are_of_the_users(board_report: Made, fakes: list[Fake]) -> None:
    told = board_report.row("sasrec")["metrics"][LEAD]["comparison"]
    difference_U = _values(fakes, "sasrec", LEAD).mean(0) - _values(fakes, "bpr", LEAD).mean(0)
    assert told["against"] == "bpr"
    assert told["difference"] == pytest.approx(difference_U.mean())
    assert told["p_users"] == pytest.approx(stats.wilcoxon(difference_U.round(12)).pvalue)
    assert told["low"] < told["difference"] < told["high"]
    assert told["verdict"] == "significant"


def test_a_slice_is_compared_by_its_own_users(
    store: str, report: Report, fakes: list[Fake]
) -> None:
    made = report(store, "slice=items_cold")
    assert (made.code, made.summary["slice"]) == (0, "items_cold")
    among = members_of(fakes[0])["slice/items_cold"]
    values = {
        model: _values(fakes, model, LEAD)[:, among].mean(0) for model in ("pop", "bpr", "sasrec")
    }
    for model, values_U in values.items():
        assert made.row(model)["metrics"][LEAD]["mean"] == pytest.approx(values_U.mean())
    told = made.row("sasrec")["metrics"][LEAD]["comparison"]
    difference_U = values["sasrec"] - values["bpr"]
    assert told["difference"] == pytest.approx(difference_U.mean())
    assert told["p_users"] == pytest.approx(stats.wilcoxon(difference_U.round(12)).pvalue)
    for name in ("index.html", "table.md"):
        text = (made.folder / name).read_text(encoding="utf-8")
        assert "ml-100k/loo, slice items_cold" in text


def test_a_slice_that_no_table_tells_of_is_not_tested(
    report: Report, stored: Stored, tmp_path: Path
) -> None:
    """The means of the slice are known, who is in it is not."""
    fakes = [Fake(model=model, seed=seed, members=False) for model in "ab" for seed in SEEDS]
    made = report(stored(tmp_path, fakes), "slice=users_warm")
    for row in made.summary["rows"]:
        assert row["metrics"][LEAD]["comparison"] is None
        assert any("not tested" in flag for flag in row["flags"])


def test_a_slice_that_is_not_there_is_told(
    store: str, stored: Stored, report: Report, tmp_path: Path
) -> None:
    made = report(store, "slice=items_cool")
    assert made.code == 2
    assert "slice=items_cool: did you mean items_cold?" in made.err
    assert not made.folder.exists()
    made = report(stored(tmp_path, [Fake(model="pop", slices=())]), "slice=items_cold")
    assert "no run tells of any slice" in made.err


def test_what_does_not_compare_is_listed_and_not_averaged(board_report: Made) -> None:
    summary = board_report.summary
    assert {row["label"] for row in summary["rows"]} == {"pop", "bpr", "sasrec"}
    reasons = {(each["model"], each["seed"]): each["reason"] for each in summary["left_out"]}
    assert len(summary["left_out"]) == 5
    assert reasons["ract", 1] == "still running"
    assert reasons["ract", 2] == "failed"
    assert "uncommitted" in reasons["ease", 1]
    assert "candidates c20 test hash ffffff" in reasons["itemknn", 1]
    assert "same seed" in reasons["bpr", 1]


def test_uncommitted_code_is_flagged_where_it_is_asked_for(store: str, report: Report) -> None:
    row = report(store, "dirty=true").row("ease")
    assert "uncommitted code" in row["flags"]
    assert "1 of 3 seeds" in row["flags"]


def test_baselines_and_metrics_by_name(store: str, report: Report) -> None:
    made = report(store, "baselines=[pop]", "metrics=[full/mrr@10,c20/hit_at_5]")
    assert made.summary["tables"] == {"full": ["full/mrr_at_10"], "c20": ["c20/hit_at_5"]}
    assert made.row("pop")["metrics"]["full/mrr_at_10"]["gain"] is None
    assert made.row("bpr")["metrics"]["full/mrr_at_10"]["comparison"]["against"] == "pop"
    for words, told in (
        ("metrics=[full/mrr@11]", "full/mrr_at_1"),
        ("baselines=[popp]", "did you mean pop?"),
        ("dataset=ml-100", "did you mean ml-100k/loo?"),
    ):
        refused = report(store, words)
        assert refused.code == 2
        assert told in refused.err
        assert refused.err.count("\n") == 1


def test_errors_of_ratings_are_refused_in_words() -> None:
    with pytest.raises(ReportError, match=r"ratings/rmse is no metric of a ranking.*leaderboard"):
        columns(["test/full/ndcg_at_10", "test/ratings/rmse"], ["ratings/rmse"])


def test_the_same_store_gives_the_same_files(
    store: str, report: Report, board_report: Made
) -> None:
    first = {path.name: path.read_bytes() for path in board_report.folder.rglob("*.*")}
    second = {path.name: path.read_bytes() for path in report(store).folder.rglob("*.*")}
    assert first == second
    names = {"index.html", "summary.json", "table.md", "table.tex", "curves.svg", "cost.svg"}
    assert names <= set(first)


def test_markdown_and_latex_say_the_same(board_report: Made) -> None:
    made = board_report
    best = made.row("sasrec")["metrics"][LEAD]
    shown = f"{best['mean']:.4f} ± {best['std']:.4f}"
    markdown = (made.folder / "table.md").read_text(encoding="utf-8")
    assert f"**{shown}** ▲" in markdown
    latex = (made.folder / "table.tex").read_text(encoding="utf-8")
    assert rf"\textbf{{{shown.replace('±', '$' + chr(92) + 'pm$')}}}$^{{\ast}}$" in latex
    body = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len(body) == 2 * 4
    assert {line.count("&") for line in body} == {5}
    assert all(each in latex for each in (r"\toprule", r"\midrule", r"\bottomrule"))
    outside = "\n".join(line for line in latex.splitlines() if not line.startswith("%"))
    assert re.search(r"(?<!\\)[%_#]", outside.replace("_{", "")) is None


def test_budgets_studies_and_tiny_models(stored: Stored, tmp_path: Path, report: Report) -> None:
    fakes = [
        Fake(model="bpr", seed=seed, tags={"paddock.study": "ml-100k/loo/bpr"}) for seed in (1, 2)
    ]
    tiny = {"paddock.mechanics_only": "true"}
    uri = stored(tmp_path, [*fakes, Fake(model="a_llmrec", quality=0.5, tags=tiny)])
    make_study(uri, "bpr", trials=12)
    made = report(uri)
    assert made.code == 0, made.err
    assert made.row("bpr")["trials"] == 12
    assert made.row("a_llmrec")["trials"] == 0
    assert "unequal budget: 0 of 12 trials" in made.row("a_llmrec")["flags"]
    assert made.row("a_llmrec")["mechanics_only"] is True
    markdown = (made.folder / "table.md").read_text(encoding="utf-8")
    assert "a_llmrec †" in markdown
    assert "† On a tiny language model" in markdown
    page = (made.folder / "index.html").read_text(encoding="utf-8")
    shares = re.search(r"learning_rate</td><td>([\d.]+)</td>", page)
    # The value depends on the learning rate alone.
    assert shares is not None
    assert float(shares[1]) > 0.8


def _told_of_budgets(
    uri: str, protocol: str, **studies: dict[str, Any]
) -> tuple[str, dict[str, tuple[str, ...]]]:
    """The sentences on budgets and the flags of each row, of models with these studies."""
    where = f"ml-100k/{protocol}"
    tags = {name: {"paddock.study": f"{where}/{name}"} for name in studies}
    fakes = [Fake(model=name, users=20, tags=tags[name]) for name in studies]
    make_store(Path(uri.removeprefix("sqlite:///")).parent, fakes, experiment=where, uri=uri)
    for name, study in studies.items():
        make_study(uri, name, **study, experiment=where)
    options = parse([f"tracking.uri={uri}", f"protocol={protocol}"])
    summary = summarise(read(options), options)
    return cells.budgets(summary), {row.label: row.flags for row in summary.rows}


def test_budgets_are_judged_in_what_limited_them(tracking: TrackingConfig) -> None:
    uri = str(tracking.uri)
    # The same seconds, in which the quicker model has ten times the trials.
    told, flags = _told_of_budgets(
        uri,
        "alike",
        bpr={"trials": 20, "seconds": 30, "epochs": 10, "timeout": 600},
        sasrec={"trials": 2, "seconds": 310, "epochs": 30, "timeout": 600},
    )
    assert "the largest is 20 trials, and sasrec 2 trials" in told
    assert told.endswith(
        "Seconds limited the studies, and in seconds of trials budgets are alike: 600 to 620 s each."
    )
    assert flags == {"bpr": (), "sasrec": ("unequal budget: 2 of 20 trials",)}
    # The same trials, in a tenth of the seconds.
    told, flags = _told_of_budgets(
        uri,
        "unequal",
        bpr={"trials": 3, "seconds": 20, "timeout": 60},
        sasrec={"trials": 3, "seconds": 200},
    )
    assert told == (
        "Tuning budgets are equal: 3 trials each. Seconds limited some of the studies, and in seconds "
        "of trials budgets are unequal: sasrec had 600 s, and bpr 60 s."
    )
    assert flags == {"bpr": ("unequal budget: 60 of 600 s of trials",), "sasrec": ()}
    # Where trials alone limited them, a slower model is no better tuned: another magnitude is told.
    for seconds, epochs, expected in (
        (20, 90, ""),
        (9, 90, " In seconds of trials: sasrec had 300 s, and bpr 27 s."),
        (20, 10, " In epochs of all trials together: sasrec had 300 epochs, and bpr 30 epochs."),
    ):
        told, flags = _told_of_budgets(
            uri,
            f"{seconds}-{epochs}",
            bpr={"trials": 3, "seconds": seconds, "epochs": epochs},
            sasrec={"trials": 3, "seconds": 100, "epochs": 100},
        )
        assert told == f"Tuning budgets are equal: 3 trials each.{expected}"
        assert flags == {"bpr": (), "sasrec": ()}


def test_budgets_of_another_stores_studies_are_those_that_the_runs_tell(
    tracking: TrackingConfig, tmp_path: Path
) -> None:
    """As `tune.py` writes them into conf/tuned."""
    tuned = {
        "bpr": ("25", "690.0", "python tune.py model=bpr study.n_trials=null study.timeout=660"),
        "sasrec": ("2", "731.1", "python tune.py model=sasrec study.timeout=660"),
    }
    fakes = [
        Fake(
            model=model,
            users=20,
            params={"tuned.n_trials": trials, "tuned.seconds": seconds, "tuned.command": command},
        )
        for model, (trials, seconds, command) in tuned.items()
    ]
    options = parse([f"tracking.uri={make_store(tmp_path, fakes, uri=str(tracking.uri))}"])
    told = cells.budgets(summarise(read(options), options))
    assert "in seconds of trials budgets are alike: 690 to 731 s each." in told


def test_a_run_without_its_users_is_shown_but_not_tested(
    stored: Stored, tmp_path: Path, report: Report
) -> None:
    fakes = [Fake(model="bpr"), Fake(model="sasrec", quality=0.6, per_user=False)]
    made = report(stored(tmp_path, fakes))
    assert made.code == 0, made.err
    told = made.row("sasrec")
    assert told["metrics"][LEAD]["comparison"] is None
    assert any("not tested" in flag for flag in told["flags"])


def test_a_server_gives_the_same_report_as_its_file(
    store: str, report: Report, board_report: Made, tmp_path: Path
) -> None:
    server = Server(tmp_path, store=Path(store.removeprefix("sqlite:///")))
    server.start()
    try:
        over_http = report(server.uri)
        assert over_http.code == 0, over_http.err
        by_server = over_http.summary
        page = (over_http.folder / "index.html").read_text(encoding="utf-8")
    finally:
        server.kill()
    assert by_server == board_report.summary
    assert f"{server.uri}/#/experiments/" in page
    assert report(server.uri).code == 2


def test_nothing_is_left_where_writing_fails(
    store: str, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = report(store)
    before = (made.folder / "index.html").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    refused = report(store)
    assert refused.code == 1
    assert "no space is left there" in refused.err
    assert (made.folder / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


GROUND = (
    "experiments.address",
    "experiments.databases",
    "experiments.errors",
    "experiments.failures",
    "experiments.files",
    "experiments.integrity",
    "experiments.locks",
    "experiments.passwords",
    "experiments.paths",
    "experiments.processes",
    "experiments.terminal",
    "experiments.visible",
)
SHARED = {
    *GROUND,
    "experiments.config.metric_names",
    "experiments.runs",
    "experiments.runs.compare",
    "experiments.runs.configuration",
}
"""What a report knows beside the ground: which runs compare, how metrics are called."""

PLUGINS = {"experiments.components.plugins", "experiments.components.registry"}
"""What a report with plug-ins loads them by."""


def test_reports_know_neither_the_engine_nor_the_models() -> None:
    banned = {"experiments", "models", "recbole", "torch", "hydra", "omegaconf", "sqlite3"}
    for path in sorted((ROOT / "reports").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            known = set(names) - SHARED - PLUGINS
            assert not {name.partition(".")[0] for name in known} & banned, path


HEAVY = ("torch", "recbole", "hydra", "omegaconf")
NEEDED = (
    *GROUND,
    "experiments.components",
    "experiments.config",
    "experiments.evaluation",
    "experiments.runs",
)
"""What a report loads of the engine: of the evaluation, the declarations of metrics."""


def test_a_report_needs_no_engine(store: str, tmp_path: Path) -> None:
    """In a process of its own in which the other packages are as if not installed."""
    code = (
        "import sys, runpy\n"
        f"heavy, needed = {HEAVY}, {NEEDED}\n"
        "def within(name, packages):\n"
        "    return any(name == each or name.startswith(each + '.') for each in packages)\n"
        "class Hiding:\n"
        "    def __init__(self, finder): self.finder = finder\n"
        "    def __getattr__(self, name): return getattr(self.finder, name)\n"
        "    def find_spec(self, name, *rest):\n"
        "        ours = name.startswith('experiments.') and not within(name, needed)\n"
        "        if ours or within(name, ('models', *heavy)):\n"
        "            return None\n"
        "        return self.finder.find_spec(name, *rest)\n"
        "sys.meta_path[:] = map(Hiding, sys.meta_path)\n"
        f"sys.argv = ['reports', 'tracking.uri={store}', 'out={tmp_path}', 'name=apart']\n"
        "runpy.run_module('reports', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "apart" / "summary.json").read_text(encoding="utf-8"))
    assert content["rows"]


def test_a_seed_that_collapsed_is_named(stored: Stored, tmp_path: Path, report: Report) -> None:
    qualities = {"bpr": (0.5, 0.5, 0.02), "sasrec": (0.6, 0.6, 0.6)}
    fakes = [
        Fake(model=model, seed=seed, quality=quality, users=2_000)
        for model, values in qualities.items()
        for seed, quality in enumerate(values, start=1)
    ]
    made = report(stored(tmp_path, fakes))
    (flag,) = made.row("bpr")["flags"]
    (value,) = re.fullmatch(r"seed 3 collapsed: (0\.\d{4})", flag).groups()
    assert float(value) < 0.05
    assert made.row("sasrec")["flags"] == []
    assert flag in (made.folder / "index.html").read_text(encoding="utf-8")
