from experiments.tracking import publish
from tests.runs.run_folders import begin_run, end_run, make_run

from .mlflow_state import assert_mirrors, client_of, runs_by_kind, snapshot


def test_a_published_run_mirrors_its_folder(tracking, tmp_path):
    folder = make_run(tmp_path / "runs", seed=3, dirty=True)
    run_id = publish(folder, tracking)
    assert_mirrors(folder, tracking)
    (parent,), (child,) = runs_by_kind(tracking)
    assert child.info.run_id == run_id == folder.published["run_id"]
    assert folder.published["tracking_uri"] == tracking.uri
    assert folder.published["parent_run_id"] == parent.info.run_id
    assert folder.published["experiment_id"] == child.info.experiment_id
    assert child.info.run_name == "sasrec seed 3"
    assert parent.info.run_name == "sasrec"
    expected = {
        "mlflow.parentRunId": parent.info.run_id,
        "mlflow.source.git.commit": "a" * 40,
        "paddock.kind": "run",
        "paddock.seed": "3",
        "paddock.config_hash": folder.run["config_hash"],
        "paddock.command": folder.run["command"],
        "paddock.model": "SASREC",
        "paddock.dirty": "true",
        "paddock.dataset_hash": "d" * 64,
        "paddock.split_hash": "5" * 64,
        "paddock.candidates_c20_hash": "c" * 64,
        "purpose": "test",
    }
    assert expected.items() <= child.data.tags.items()
    params = child.data.params
    assert params["model.learning_rate"] == "0.001"
    assert params["dataset.filters.min_rating"] == "null"
    assert params["protocol.rankings.full.cutoffs"] == "[1, 5, 10]"
    assert params["model.note"] == "x" * 6000
    assert "tracking.uri" not in params
    assert "seed" not in parent.data.params
    assert child.data.metrics["params_trained"] == 12345


def test_publishing_twice_changes_nothing(tracking, tmp_path):
    folder = make_run(tmp_path / "runs")
    first, before = publish(folder, tracking), snapshot(tracking)
    assert publish(folder, tracking) == first
    (folder.path / "published.json").unlink()
    (folder.path / "tracking.json").unlink()
    assert publish(folder, tracking) == first
    assert snapshot(tracking) == before


def test_a_long_curve_and_many_params_pass_mlflows_limits(tracking, tmp_path):
    folder = make_run(tmp_path / "runs", epochs=90)
    config = folder.run["config"]
    config["model"] |= {f"p{i}": i for i in range(250)} | {"odd key!": None}
    folder.update(config=config)
    publish(folder, tracking)
    assert_mirrors(folder, tracking)
    _, (child,) = runs_by_kind(tracking)
    assert child.data.params["model.p249"] == "249"
    assert child.data.params["model.odd key_"] == "null"


def test_values_that_are_not_finite_survive_publishing_twice(tracking, tmp_path):
    folder = begin_run(tmp_path / "runs")
    losses = {"train/loss": float("nan"), "train/norm": float("inf")}
    folder.append_epoch({"stage": "a", "epoch": 0, "step": 0, "seconds": 1.0, "metrics": losses})
    end_run(folder)
    assert publish(folder, tracking) is not None
    before = snapshot(tracking)
    publish(folder, tracking)
    assert snapshot(tracking) == before


def test_a_run_deleted_in_the_dashboard_is_made_again(tracking, tmp_path):
    folder = make_run(tmp_path / "runs")
    client_of(tracking).delete_run(publish(folder, tracking))
    publish(folder, tracking)
    assert_mirrors(folder, tracking)


def test_a_deleted_experiment_is_named_with_the_way_back(tracking, tmp_path, caplog):
    folder = make_run(tmp_path / "runs")
    publish(folder, tracking)
    client_of(tracking).delete_experiment(folder.published["experiment_id"])
    assert publish(folder, tracking) is None
    assert "mlflow experiments restore -x 1" in caplog.text


def test_a_model_that_cannot_score_the_test_says_so_where_its_numbers_would_stand(
    tracking, tmp_path
):
    note = "not applicable: it knows items by their interactions alone, and every target is new"
    valid = {"metrics": {"valid/full/ndcg_at_10": 0.2}, "not_applicable": {"test": note}}
    folder = begin_run(tmp_path / "runs")
    protocol = {
        "name": "loo-cold-items",
        "rankings": {"full": {"candidates": None, "cutoffs": [1, 10]}},
        "metrics": ["hit", "ndcg"],
        "valid_metric": "full/ndcg_at_10",
    }
    config = folder.run["config"] | {"protocol": protocol}
    folder.update(config=config, tags={"paddock.note.not_applicable": note})
    end_run(folder, result=valid)
    publish(folder, tracking)
    (parent,), (child,) = runs_by_kind(tracking)
    for run in (parent, child):
        for column in ("full Hit at 1", "full Hit at 10", "full NDCG at 10"):
            assert run.data.tags[column] == "not applicable"
        assert "Not applicable: it knows items" in run.data.tags["mlflow.note.content"]
        assert not [name for name in run.data.metrics if name.startswith("test/")]
    able = begin_run(tmp_path / "runs", model="content_knn")
    able.update(config=able.run["config"] | {"protocol": protocol})
    end_run(able)
    publish(able, tracking)
    page = client_of(tracking).get_experiment(parent.info.experiment_id).tags["mlflow.note.content"]
    first, second = (line for line in page.splitlines() if line.startswith("| ["))
    assert first.startswith("| [content_knn]")
    assert second.startswith("| [sasrec]")
    assert second.count("| n/a |") >= 1
    assert note in second
