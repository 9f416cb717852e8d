"""The dashboard that a reviewer opens: descriptions, views, models, system metrics."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.config.schema import TrackingConfig
from experiments.runs.folder import RunFolder
from experiments.tracking import Tracker, publish
from experiments.tracking.dashboard import key_of
from experiments.tracking.notes import mean_and_deviation, shown_metrics
from experiments.tracking.system import PREFIX, SystemMetrics, system_points
from tests.browser import open_page
from tests.runs.run_folders import begin_run, epoch_record, make_run, result_of

from .mlflow_server import Server
from .mlflow_state import client_of, runs_by_kind

NOTE = "mlflow.note.content"
LEAD = "test/full/ndcg_at_10"
MODELS = {"bpr": (11, 12), "pop": (13, 14), "sasrec": (15, 16)}
"""Model -> what its seeds' results are drawn from."""


def _published(tmp_path: Path, tracking: TrackingConfig) -> dict[str, list[RunFolder]]:
    made: dict[str, list[RunFolder]] = {}
    for model, draws in MODELS.items():
        for seed, draw in enumerate(draws, start=1):
            folder = make_run(tmp_path / "runs", model=model, seed=seed, result=result_of(draw))
            assert publish(folder, tracking)
            made.setdefault(model, []).append(folder)
    return made


def _means(metric: str) -> dict[str, tuple[float, float]]:
    """By model, the best first, mean and sample standard deviation of what was drawn."""
    values = {
        model: [result_of(draw)["metrics"][metric] for draw in draws]
        for model, draws in MODELS.items()
    }
    ordered = sorted(values, key=lambda model: -np.mean(values[model]))
    return {m: (float(np.mean(values[m])), float(np.std(values[m], ddof=1))) for m in ordered}


def _rounded(mean: float, deviation: float, seeds: int = len(MODELS["bpr"])) -> str:
    """With as many decimals, four at most, as show two digits of the standard error."""
    error = deviation / seeds**0.5
    places = next((n for n in range(4) if error * 10**n >= 10), 4)
    return f"{mean:.{places}f} ± {deviation:.{places}f}"


def test_an_experiment_is_described_by_its_leaderboard(
    tracking: TrackingConfig, tmp_path: Path
) -> None:
    _published(tmp_path, tracking)
    experiment = client_of(tracking).get_experiment_by_name("ml-100k/loo")
    rows = [line for line in experiment.tags[NOTE].splitlines() if line.startswith("| [")]
    expected = _means(LEAD)
    assert [row.partition("[")[2].partition("]")[0] for row in rows] == list(expected)
    for row, each in zip(rows, expected.values(), strict=True):
        assert _rounded(*each) in row
    assert rows[0].split(" | ")[1].startswith("**")
    assert not any(row.split(" | ")[1].startswith("**") for row in rows[1:])


def test_a_parent_is_described_by_its_numbers_and_commands(
    tracking: TrackingConfig, tmp_path: Path
) -> None:
    made = _published(tmp_path, tracking)
    (parent,) = (run for run in runs_by_kind(tracking)[0] if run.info.run_name == "sasrec")
    note = parent.data.tags[NOTE]
    for ranking in ("full", "c20"):
        expected = _rounded(*_means(f"test/{ranking}/ndcg_at_10")["sasrec"])
        assert expected in note
        # MLflow's table shows the same, and the metric keeps all its digits.
        assert parent.data.tags[f"{ranking} NDCG at 10"] == expected
        assert parent.data.metrics[f"test/{ranking}/ndcg_at_10"] == pytest.approx(
            _means(f"test/{ranking}/ndcg_at_10")["sasrec"][0], rel=1e-12
        )
    assert parent.data.tags["seeds"] == "2"
    assert parent.data.tags["train s"] == "25.5"
    for folder in made["sasrec"]:
        assert folder.run["command"] in note
    (entered,) = parent.inputs.dataset_inputs
    assert entered.dataset.name == "ml-100k"


def test_a_seed_is_described_by_its_numbers_and_its_command(
    tracking: TrackingConfig, tmp_path: Path
) -> None:
    folder = make_run(tmp_path / "runs", seed=1, dirty=True)
    publish(folder, tracking)
    client, run_id = client_of(tracking), folder.published["run_id"]
    tags = client.get_run(run_id).data.tags
    value = f"{folder.result['metrics'][LEAD]:.4f}"
    assert value in tags[NOTE]
    assert folder.run["command"] in tags[NOTE]
    assert "uncommitted" in tags[NOTE]
    assert tags["full NDCG at 10"] == value
    assert tags["train s"] == "11.0"
    client.set_tag(run_id, NOTE, "The reviewer's own words.")
    publish(folder, tracking)
    assert client.get_run(run_id).data.tags[NOTE] == "The reviewer's own words."


def test_a_description_by_hand_stays(tracking: TrackingConfig, tmp_path: Path) -> None:
    first = make_run(tmp_path / "runs", seed=1)
    publish(first, tracking)
    client, parent_id = client_of(tracking), first.published["parent_run_id"]
    before = client.get_run(parent_id).data.tags[NOTE]
    publish(make_run(tmp_path / "runs", seed=2), tracking)
    assert "2 seeds" in client.get_run(parent_id).data.tags[NOTE] != before
    client.set_tag(parent_id, NOTE, "The reviewer's own words.")
    experiment_id = first.published["experiment_id"]
    client.set_experiment_tag(experiment_id, NOTE, "Read the paper first.")
    publish(make_run(tmp_path / "runs", seed=3), tracking)
    assert client.get_run(parent_id).data.tags[NOTE] == "The reviewer's own words."
    assert client.get_experiment(experiment_id).tags[NOTE] == "Read the paper first."


def test_rows_that_answer_another_question_are_not_in_the_description(
    tracking: TrackingConfig, tmp_path: Path
) -> None:
    _published(tmp_path, tracking)
    other = {"dataset": "d" * 64, "split": "6" * 64, "candidates_c20": "c" * 64}
    publish(make_run(tmp_path / "runs", model="ease", seed=1, hashes=other), tracking)
    note = client_of(tracking).get_experiment_by_name("ml-100k/loo").tags[NOTE]
    rows = [line for line in note.splitlines() if line.startswith("| [")]
    assert not any("[ease]" in row for row in rows)
    assert any("[bpr]" in row for row in rows)
    (reason,) = (line for line in note.splitlines() if line.startswith("- [ease]"))
    assert "answers another question: split hash 666666 instead of 555555" in reason


def test_refitted_models_stand_apart(tracking: TrackingConfig, tmp_path: Path) -> None:
    publish(make_run(tmp_path / "runs", model="bpr"), tracking)
    folder = make_run(tmp_path / "runs", model="ease")
    config = folder.run["config"]
    folder.update(config=config | {"protocol": config["protocol"] | {"refit": "valid"}})
    publish(folder, tracking)
    client = client_of(tracking)
    experiment = client.get_experiment_by_name("ml-100k/loo")
    note = experiment.tags[NOTE]
    assert note.index("[bpr]") < note.index("protocol.refit=valid") < note.index("[ease]")
    parents = {run.info.run_name: run for run in runs_by_kind(tracking)[0]}
    assert "protocol.refit=valid" in parents["ease"].data.tags[NOTE]
    assert "protocol.refit=valid" not in parents["bpr"].data.tags[NOTE]
    # The views' own filters, put to the store.
    for title, expected in (("Leaderboard", {"bpr"}), ("Refitted", {"ease"})):
        kept = json.loads(experiment.tags[f"mlflow.sharedViewState.{key_of(title)}"])
        query = json.loads(kept["state"])["searchFilter"]
        found = client.search_runs([experiment.experiment_id], query)
        assert {run.info.run_name for run in found} == expected


def test_the_description_says_what_to_beware_of_and_tells_configurations_apart(
    tracking: TrackingConfig, tmp_path: Path
) -> None:
    publish(make_run(tmp_path / "runs", lr=0.1), tracking)
    publish(make_run(tmp_path / "runs", lr=0.2, dirty=True), tracking)
    note = client_of(tracking).get_experiment_by_name("ml-100k/loo").tags[NOTE]
    clean, dirty = (
        next(line for line in note.splitlines() if f"[sasrec learning_rate={lr}]" in line)
        for lr in ("0.1", "0.2")
    )
    assert "uncommitted" in dirty
    assert "uncommitted" not in clean


def test_a_collapsed_seed_is_named_until_it_is_trained_again(
    tracking: TrackingConfig, tmp_path: Path
) -> None:
    def published(seed: int, value: float) -> None:
        result = result_of(seed)
        result["metrics"][LEAD] = value
        assert publish(make_run(tmp_path / "runs", model="bpr", seed=seed, result=result), tracking)

    def described() -> str:
        return client_of(tracking).get_experiment_by_name("ml-100k/loo").tags[NOTE]

    for seed, value in enumerate((0.305, 0.330, 0.031), start=1):
        published(seed, value)
    assert "seed 3 collapsed: 0.0310" in described()
    published(3, 0.31)
    assert "collapsed" not in described()


def test_the_model_is_an_output_of_its_run_and_goes_with_it(
    tracking: TrackingConfig, tmp_path: Path
) -> None:
    client = client_of(tracking)
    first = make_run(tmp_path / "runs", seed=1)
    run_id = publish(first, tracking)
    assert publish(first, tracking) == run_id
    experiment = first.published["experiment_id"]
    (model,) = client.search_logged_models([experiment])
    assert model.source_run_id == run_id
    assert model.name == "sasrec-seed-1"
    assert str(model.status) == "READY"
    assert model.tags["paddock.files"] == f"runs:/{run_id}/model"
    (output,) = client.get_run(run_id).outputs.model_outputs
    assert output.model_id == model.model_id
    again = publish(make_run(tmp_path / "runs", seed=1, result=result_of(77)), tracking)
    (model,) = client.search_logged_models([experiment])
    assert model.source_run_id == again


def test_system_metrics_are_sampled_and_sent_again(
    tracking: TrackingConfig, tmp_path: Path
) -> None:
    folder = begin_run(tmp_path / "runs")
    sampler = SystemMetrics(folder, seconds=0)
    points = [point for step in (0, 1, 1) for point in sampler.sample(step)]
    assert {point.step for point in points} == {0, 1}
    assert all(point.name.startswith(PREFIX) for point in points)
    kept = system_points(folder)
    assert len(kept) == 2 * len({point.name for point in points})
    memory = [point.value for point in kept if "process_memory_usage_mega" in point.name]
    assert all(10 < value < 1e6 for value in memory)
    # They are the machine's, and no run contradicts another by them.
    tracker = Tracker(tracking, folder)
    tracker.start()
    folder.append_epoch(epoch_record(1, 0))
    tracker.epoch(epoch_record(1, 0))
    make_done(folder)
    run_id = tracker.finish()
    parents, children = runs_by_kind(tracking)
    assert [child.info.run_id for child in children] == [run_id]
    assert any(name.startswith(PREFIX) for name in children[0].data.metrics)
    assert not any(name.startswith(PREFIX) for name in parents[0].data.metrics)
    assert publish(folder, tracking) == run_id
    # A run that begins anew does not keep those of the one before.
    SystemMetrics(begin_run(tmp_path / "runs"))
    assert system_points(folder) == []


def make_done(folder: RunFolder) -> None:
    """Finish a run that has begun, as `make_run` does."""
    for name in ("per_user.parquet", "config.yaml"):
        (folder.path / name).write_bytes(b"")
    folder.finish(result_of(1))


def test_columns_are_those_that_people_expect() -> None:
    names = [
        f"test/{r}/{m}_at_{k}" for r in ("c20", "full") for m in ("hit", "ndcg") for k in (1, 5)
    ]
    assert shown_metrics(
        [*names, "test/full/mrr_at_5", "valid/x/hit_at_9", "time/train_seconds"]
    ) == {
        "full": ["test/full/ndcg_at_5", "test/full/hit_at_5", "test/full/hit_at_1"],
        "c20": ["test/c20/ndcg_at_5", "test/c20/hit_at_5", "test/c20/hit_at_1"],
    }
    assert shown_metrics(["test/full/recall_at_5"]) == {"full": ["test/full/recall_at_5"]}
    assert mean_and_deviation({"a": 0.12345}, "a") == "0.1235"
    assert mean_and_deviation({"a": 0.12345, "a_std": 0.0, "seeds": 2}, "a") == "0.1235 ± 0.0000"
    for deviation, shown in (
        (0.01, "0.1235 ± 0.0100"),
        (0.04, "0.123 ± 0.040"),
        (0.4, "0.12 ± 0.40"),
    ):
        metrics = {"a": 0.12345, "a_std": deviation, "seeds": 4}
        assert mean_and_deviation(metrics, "a") == shown
    assert mean_and_deviation({}, "a") == "–"


def test_the_real_dashboard_shows_the_leaderboard(
    browser: Any, tracking: TrackingConfig, tmp_path: Path
) -> None:
    made = _published(tmp_path, tracking)
    published = made["sasrec"][0].published
    experiment = published["experiment_id"]
    server = Server(tmp_path, store=Path(str(tracking.uri).removeprefix("sqlite:///")))
    server.start()
    try:
        runs = f"{server.uri}/#/experiments/{experiment}/runs"
        view = f"{runs}?viewStateShareKey={key_of('Leaderboard')}"
        opened = open_page(
            browser, view, allowed=server.uri, viewport={"width": 2400, "height": 1000}
        )
        page = opened.page
        expected = _means(LEAD)
        names = page.locator(
            ".ag-pinned-left-cols-container [role=row], .ag-center-cols-container [role=row]"
        )
        names.filter(has_text="sasrec").first.wait_for()
        shown = _cells(page, "tags.`full NDCG at 10`")
        assert shown == [_rounded(*each) for each in expected.values()]
        heads = page.evaluate(
            "[...document.querySelectorAll('.ag-header-cell')]"
            ".sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x)"
            ".map(head => head.innerText.trim())"
        )
        # Accuracy before the cost.
        ordered = ["full NDCG at 10", "c20 NDCG at 10", "seeds", "train s", "peak memory MB"]
        assert [head for head in heads if head in ordered] == ordered
        assert "**" not in page.locator(".ag-center-cols-container").inner_text()
        by_row = page.evaluate(
            "[...document.querySelectorAll('[role=row][row-index]')]"
            ".map(row => [Number(row.getAttribute('row-index')), row.innerText])"
        )
        for place, model in enumerate(expected):
            assert any(model in text for index, text in by_row if index == place)
        page.locator(
            "[data-component-id='mlflow.experiment.metadata_editor.expand_button']"
        ).click()
        page.get_by_text("Sorted by full NDCG@10").wait_for()
        page.get_by_role("button", name="Leaderboard").first.click()
        page.get_by_role("menuitem").filter(has_text="Seeds").first.wait_for()
        page.keyboard.press("Escape")

        page.goto(f"{runs}/{published['parent_run_id']}")
        page.get_by_text(_rounded(*expected["sasrec"])).first.wait_for()

        page.goto(f"{runs}/{published['run_id']}")
        page.get_by_text("sasrec-seed-1").first.wait_for()
        page.get_by_text("ml-100k").first.wait_for()
        page.context.close()
    finally:
        server.kill()


def _cells(page: Any, column: str) -> list[str]:
    """The texts of a column, by row from above."""
    cells = page.evaluate(
        "id => [...document.querySelectorAll('.ag-row [col-id]')]"
        ".filter(cell => cell.getAttribute('col-id') === id)"
        ".map(cell => [Number(cell.closest('[row-index]').getAttribute('row-index')), cell.innerText])",
        column,
    )
    return [text.strip() for _, text in sorted(cells)]
