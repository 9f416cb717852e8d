import numpy as np
import pytest

from experiments.tracking import Tracker, publish
from experiments.tracking.describe import child_params, parent_params
from tests.runs.run_folders import HASHES, begin_run, make_run, result_of

from .mlflow_state import assert_mirrors, client_of, runs_by_kind


def test_the_parent_holds_mean_and_sample_deviation(tracking, tmp_path):
    folders = [make_run(tmp_path / "runs", seed=seed) for seed in (1, 2, 10)]
    publish(folders[0], tracking)
    (parent,), _ = runs_by_kind(tracking)
    name = "test/full/ndcg_at_10"
    assert parent.data.metrics["seeds"] == 1
    assert parent.data.metrics[name] == result_of(1)["metrics"][name]
    assert f"{name}_std" not in parent.data.metrics
    publish(folders[1], tracking)
    publish(folders[2], tracking)
    # A seed that still runs does not count.
    Tracker(tracking, begin_run(tmp_path / "runs", seed=11)).start()
    (parent,), children = runs_by_kind(tracking)
    assert len(children) == 4
    assert parent.info.status == "FINISHED"
    assert parent.info.end_time >= parent.info.start_time
    assert parent.data.tags["paddock.seeds"] == "1,2,10"
    assert parent.data.metrics["seeds"] == 3
    results = [folder.result for folder in folders]
    for metric in results[0]["metrics"]:
        values = [result["metrics"][metric] for result in results]
        assert parent.data.metrics[metric] == pytest.approx(np.mean(values), rel=1e-12)
        assert parent.data.metrics[f"{metric}_std"] == pytest.approx(np.std(values, ddof=1))
    assert parent.data.metrics["time/train_seconds"] == pytest.approx(np.mean([11, 12, 20]))
    assert "train/loss" not in parent.data.metrics


def test_a_parent_tells_nothing_of_the_grid_that_it_came_from():
    config = {"model": {"name": "Pop"}, "grid_seeds": {"bpr": [1]}, "tracking": {"uri": "x"}}
    assert parent_params({"config": config}) == {"model.name": "Pop"}
    assert child_params({"config": config}) == {"model.name": "Pop"}


def test_a_forced_repetition_replaces_the_seed(tracking, tmp_path):
    first = publish(make_run(tmp_path / "runs", seed=1), tracking)
    publish(make_run(tmp_path / "runs", seed=2), tracking)
    folder = make_run(tmp_path / "runs", seed=1, result=result_of(77))
    second = publish(folder, tracking)
    assert second != first
    (parent,), children = runs_by_kind(tracking)
    assert [child.data.tags["paddock.seed"] for child in children] == ["1", "2"]
    assert_mirrors(folder, tracking)
    name = "test/c20/hit_at_1"
    values = [result_of(77)["metrics"][name], result_of(2)["metrics"][name]]
    assert parent.data.metrics[name] == pytest.approx(np.mean(values))


def test_a_repetition_on_another_node_of_a_cluster_replaces_the_seed(
    tracking, tmp_path, monkeypatch
):
    for seed, node in ((77, "node-1"), (78, "node-2"), (79, "node-3")):
        monkeypatch.setattr("socket.gethostname", lambda node=node: node)
        folder = make_run(tmp_path / "runs", seed=1, result=result_of(seed))
        if seed != 78:
            publish(folder, tracking)
    (parent,), children = runs_by_kind(tracking)
    assert len(children) == 1
    assert_mirrors(folder, tracking)
    name = "test/c20/hit_at_1"
    assert parent.data.metrics[name] == result_of(79)["metrics"][name]


def test_a_run_of_a_folder_that_was_moved_is_replaced(tracking, tmp_path):
    old = make_run(tmp_path / "runs", seed=1)
    publish(old, tracking)
    (tmp_path / "runs").rename(tmp_path / "moved")
    folder = make_run(tmp_path / "moved", seed=1, result=result_of(77))
    publish(folder, tracking)
    _, (child,) = runs_by_kind(tracking)
    assert_mirrors(folder, tracking)
    assert child.data.tags["paddock.folder_id"] == folder.run["folder_id"]


@pytest.mark.parametrize(
    "claimed",
    [
        {},
        {"folder_id": ""},
        {"seed": 3},
        {"hashes": HASHES | {"split": "6" * 64}},
        {"model": "BPR"},
    ],
    ids=["another folder", "no folder", "another seed", "another split", "another model"],
)
def test_a_folder_from_elsewhere_deletes_no_run_that_it_names(tracking, tmp_path, claimed):
    mine = [make_run(tmp_path / "mine", seed=seed) for seed in (1, 2)]
    kept = {publish(folder, tracking) for folder in mine}
    foreign = make_run(tmp_path / "foreign", seed=1, result=result_of(77))
    same_folder = {"folder_id": mine[0].run["folder_id"]} if claimed else {}
    foreign.update(supersedes=sorted(kept), **(same_folder | claimed))
    foreign.write_result(result_of(77))
    publish(foreign, tracking)
    _, children = runs_by_kind(tracking)
    assert kept < {child.info.run_id for child in children}


def test_the_same_seed_from_two_machines_counts_once(tracking, tmp_path):
    publish(make_run(tmp_path / "mine", seed=1), tracking)
    publish(make_run(tmp_path / "yours", seed=1, result=result_of(77)), tracking)
    (parent,), children = runs_by_kind(tracking)
    assert len(children) == 2
    assert parent.data.metrics["seeds"] == 1
    name = "test/c20/hit_at_1"
    assert parent.data.metrics[name] == result_of(1)["metrics"][name]


def test_the_parent_names_its_seeds_although_another_process_wrote_them_last(tracking, tmp_path):
    first, second = (make_run(tmp_path / "runs", seed=seed) for seed in (1, 2))
    publish(first, tracking)
    publish(second, tracking)
    # The metrics stand, and only the tag is an earlier view's.
    client_of(tracking).set_tag(second.published["parent_run_id"], "paddock.seeds", "1")
    publish(second, tracking)
    (parent,), _ = runs_by_kind(tracking)
    assert parent.data.tags["paddock.seeds"] == "1,2"
