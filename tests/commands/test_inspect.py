"""mode=inspect: the facts against pandas, the pictures, and the data set in MLflow."""

import json
from pathlib import Path

import pandas as pd
import pytest

from .command_line import CommandLine

ROWS = pd.read_csv("datasets/tiny/tiny.inter", sep="\t")


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspect")
    words = [
        "mode=inspect",
        "dataset=tiny",
        "format=json",
        "tracking=local",
        f"tracking.uri=sqlite:///{folder / 'm.db'}",
        f"tracking.artifacts={folder / 'artifacts'}",
    ]
    paddock = CommandLine(folder)
    done = [paddock(*words), paddock(*words)]
    assert [one.code for one in done] == [0, 0]
    return folder, json.loads(done[0].out)


def test_the_facts_are_those_of_pandas(inspected):
    _, facts = inspected
    assert facts["rows"] == len(ROWS)
    assert facts["users"] == ROWS["user_id:token"].nunique()
    assert facts["items"] == ROWS["item_id:token"].nunique()
    lengths = ROWS.groupby("user_id:token").size()
    assert facts["history_length"]["50"] == lengths.quantile(0.5)
    assert facts["history_length"]["100"] == lengths.max()


def test_pictures_and_facts_are_kept_beside_the_data(inspected):
    folder, facts = inspected
    (kept,) = (folder / "data").glob("tiny-*/inspect")
    assert json.loads((kept / "facts.json").read_text()) == facts
    for name in ("history_length.svg", "popularity.svg"):
        assert "<svg" in (kept / name).read_text()


def test_mlflow_has_the_data_set_once_with_its_digest(inspected):
    from mlflow import MlflowClient

    folder, facts = inspected
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'm.db'}")
    experiment = client.get_experiment_by_name("tiny/data")
    (run,) = client.search_runs([experiment.experiment_id])
    (entered,) = run.inputs.dataset_inputs
    assert entered.dataset.name == "tiny"
    assert entered.dataset.digest == facts["hash"][:36]
    assert run.data.metrics["data/rows"] == len(ROWS)
    assert {Path(f.path).name for f in client.list_artifacts(run.info.run_id)} == {
        "facts.json",
        "history_length.svg",
        "popularity.svg",
    }
    tags = experiment.tags
    assert "Facts of the data set **tiny**" in tags["mlflow.note.content"]
    (view,) = (value for key, value in tags.items() if key.startswith("mlflow.sharedViewState."))
    shown = json.loads(json.loads(view)["state"])["selectedColumns"]
    # A column without a metric behind it would be empty.
    assert shown
    assert {each.split("`")[1] for each in shown} <= set(run.data.metrics)
