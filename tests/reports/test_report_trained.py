"""Reports of a store that real training filled: its stages, and its tables of users."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.synthetic_store import client_of
from experiments.runs.configuration import STAGES, USERS_HASH
from experiments.runs.folder import RunFolder, find_runs
from reports.figures import Figure, Line, figures_of
from reports.options import parse
from reports.read import read
from reports.summarise import summarise
from reports.text import to_json
from tests.commands.command_line import CommandLine
from tests.damage import damage
from tests.reports.conftest import Report

LEAD = "full/ndcg_at_10"
ASKED = ("dataset=tiny", "dirty=true")
SMALL = {
    "bpr": ("model.epochs=4",),
    "ract": (
        "model.stages.actor.epochs=4",
        "model.stages.critic.epochs=2",
        "model.stages.critic.eval_step=1",
        "model.stages.finetune.epochs=3",
        "model.stages.finetune.stopping_step=0",
    ),
}
RUNS = (("bpr", 1), ("bpr", 2), ("ract", 1))


@dataclass(frozen=True)
class Trained:
    """A store, and the folders of the runs that filled it."""

    folder: Path

    @property
    def places(self) -> list[str]:
        """The keys of a command that works on it."""
        return [
            f"tracking.uri={self.uri}",
            f"tracking.artifacts={self.folder / 'artifacts'}",
            "tracking=local",
        ]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def run(self, model: str, seed: int) -> RunFolder:
        (found,) = [
            each
            for each in find_runs(self.folder / "runs", model=model)
            if each.run["seed"] == seed
        ]
        return found

    def users(self, model: str, seed: int) -> Path:
        """The table of users in the artifact store."""
        run_id = self.run(model, seed).published["run_id"]
        (found,) = (self.folder / "artifacts").rglob(f"{run_id}/artifacts/per_user.parquet")
        return found


@pytest.fixture(scope="module")
def trained(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two seeds of BPR and one of RaCT on the tiny data set."""
    made = Trained(tmp_path_factory.mktemp("trained"))
    shutil.copy(empty_store, made.folder / "mlflow.db")
    paddock = CommandLine(made.folder)
    for model, seed in RUNS:
        common = ("dataset=tiny", f"seed={seed}", "device=cpu", "threads=1", "progress=false")
        paddock.trained(f"model={model}", *SMALL[model], *common, *made.places)
    return made


@pytest.fixture
def damaged(trained: Trained) -> Iterator[Trained]:
    """The same, whose artifacts are whole again afterwards."""
    kept = {path: path.read_bytes() for path in trained.folder.rglob("artifacts/per_user.parquet")}
    assert len(kept) == len(RUNS)
    yield trained
    for path, content in kept.items():
        path.write_bytes(content)


def summary_of(uri: str) -> dict[str, Any]:
    """summary.json of the report."""
    options = parse([f"tracking.uri={uri}", *ASKED])
    made: dict[str, Any] = json.loads(to_json(summarise(read(options), options)))
    return made


def curves_of(uri: str) -> Figure:
    options = parse([f"tracking.uri={uri}", *ASKED])
    (found,) = [
        each for each in figures_of(summarise(read(options), options)) if each.name == "curves"
    ]
    return found


def drawn(figure: Figure) -> dict[str, list[list[float]]]:
    """Label -> the steps of each of its lines."""
    (panel,) = figure.panels
    lines: dict[str, list[list[float]]] = {}
    for mark in panel.marks:
        assert isinstance(mark, Line)
        lines.setdefault(mark.label, []).append(list(mark.x))
    return lines


def test_a_curve_ends_where_a_stage_does(trained: Trained) -> None:
    """The lines are those of curve.jsonl, stage by stage; a model of one stage has one line a seed."""
    figure = curves_of(trained.uri)
    expected: dict[str, list[list[float]]] = {"bpr": []}
    values: list[float] = []
    for model, seed in RUNS:
        by_stage: dict[str, list[float]] = {}
        for record in trained.run(model, seed).curve:
            by_stage.setdefault(record["stage"], []).append(record["step"])
            values.append(record["metrics"][f"valid/{LEAD}"])
        for stage, steps in by_stage.items():
            label = model if model == "bpr" else f"ract, stage {stage}"
            expected.setdefault(label, []).append(steps)
    assert set(expected) == {"bpr", *(f"ract, stage {s}" for s in ("actor", "critic", "finetune"))}
    assert drawn(figure) == expected
    assert sorted(v for mark in figure.panels[0].marks for v in mark.y) == pytest.approx(  # type: ignore[union-attr]
        sorted(values)
    )
    looks = {mark.label: (mark.look.color, mark.look.line) for mark in figure.panels[0].marks}
    assert len(set(looks.values())) == 4
    assert len({color for label, (color, _) in looks.items() if label != "bpr"}) == 1
    assert {row[0] for row in figure.body} == set(expected)
    assert "A line ends where a stage of the training ends." in figure.text


def test_a_store_that_tells_of_no_stages_keeps_one_line(trained: Trained, tmp_path: Path) -> None:
    shutil.copy(trained.folder / "mlflow.db", tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = client_of(uri)
    for model, seed in RUNS:
        run_id = trained.run(model, seed).published["run_id"]
        told = json.loads(client.get_run(run_id).data.tags[STAGES])
        first = {"bpr": {"train": 1}, "ract": {"actor": 1, "critic": 5, "finetune": 7}}
        assert told == first[model]
        client.delete_tag(run_id, STAGES)
    figure = curves_of(uri)
    assert drawn(figure) == {"bpr": [list(range(1, 5))] * 2, "ract": [list(range(1, 10))]}
    assert "stage" not in figure.text


def test_a_damaged_table_of_users_enters_no_comparison(damaged: Trained, report: Report) -> None:
    """The run is named, with the remedy, which heals it."""
    whole = summary_of(damaged.uri)
    assert whole["left_out"] == []
    # Still a table, of other values.
    damage(damaged.users("bpr", 2), "edit")
    made = report(damaged.uri, *ASKED)
    assert made.code == 0, made.err
    (left,) = made.summary["left_out"]
    folder = damaged.run("bpr", 2)
    assert (left["model"], left["seed"], left["run_id"]) == ("bpr", 2, folder.published["run_id"])
    assert [run["seed"] for run in made.row("bpr")["runs"]] == [1]
    mean = made.row("bpr")["metrics"][LEAD]["mean"]
    assert mean == damaged.run("bpr", 1).result["metrics"][f"test/{LEAD}"]
    page = (made.folder / "index.html").read_text(encoding="utf-8")
    assert left["reason"] in page
    command = r"upload it again: delete (\S+) on \S+, then python run\.py (mode=\S+)"
    (found,) = re.findall(command, left["reason"])
    noted, mode = found
    assert noted == str(folder.path / "published.json")
    Path(noted).unlink()
    answer = CommandLine(damaged.folder)(mode, *damaged.places)
    assert "1 runs uploaded" in answer.out, answer.err
    # In the very same run of MLflow.
    assert summary_of(damaged.uri) == whole


def test_exchanged_tables_of_users_enter_no_comparison(damaged: Trained, report: Report) -> None:
    """Each is a whole table of the same users, of another run."""
    one, other = damaged.users("bpr", 1), damaged.users("ract", 1)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    made = summary_of(damaged.uri)
    left = {(each["model"], each["seed"]) for each in made["left_out"]}
    assert left == {("bpr", 1), ("ract", 1)}
    assert [[run["seed"] for run in row["runs"]] for row in made["rows"]] == [[2]]
    # Where none is left, that is said.
    damage(damaged.users("bpr", 2), "flip")
    refused = report(damaged.uri, *ASKED)
    assert refused.code != 0
    assert "upload it again: delete" in refused.err


def test_tables_of_runs_that_state_no_hash_are_read(damaged: Trained, tmp_path: Path) -> None:
    """As earlier versions uploaded them."""
    shutil.copy(damaged.folder / "mlflow.db", tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = client_of(uri)
    for seed in (1, 2):
        client.delete_tag(damaged.run("bpr", seed).published["run_id"], USERS_HASH)
    damage(damaged.users("bpr", 2), "edit")
    made = summary_of(uri)
    assert made["left_out"] == []
    assert sorted(len(row["runs"]) for row in made["rows"]) == [1, 2]
