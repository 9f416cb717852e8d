"""A finished run is a model of MLflow's: loaded elsewhere, served by its own server, and promoted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from experiments.config.schema import TrackingConfig
from experiments.passwords import without_password
from experiments.runs.folder import RunFolder
from experiments.serving.recommender import Recommender
from experiments.serving.requests import Request
from tests.commands.command_line import ROOT, Answer, CommandLine
from tests.tracking.mlflow_server import free_port

TINY = ("dataset=tiny", "device=cpu", "threads=1")


@dataclass(frozen=True)
class Tracked:
    """Two finished runs in a store, and what the better one answers where it was trained."""

    paddock: CommandLine
    uri: str
    runs: dict[str, RunFolder]
    answers: list[list[tuple[str, str, float]]]

    @property
    def places(self) -> tuple[str, ...]:
        folder = self.paddock.folder
        return ("tracking=local", f"tracking.uri={self.uri}", f"tracking.artifacts={folder}/files")

    def id_of(self, model: str) -> str:
        return str(self.runs[model].published["run_id"])

    def promoted(self, *words: str) -> Answer:
        return self.paddock("mode=promote", *TINY, *self.places, *words)

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)


REQUESTS = [
    Request(user="u1", k=7),
    Request(history=("i3", "i5"), k=7),
    Request(query="dragon", k=7),
    Request(user="u2", where="year>=1990", k=7),
]


@pytest.fixture(scope="module")
def tracked(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """The run folders and the data are gone when a test begins: the store is all that there is."""
    folder = tmp_path_factory.mktemp("tracked")
    shutil.copy(empty_store, folder / "mlflow.db")
    paddock, uri = CommandLine(folder), f"sqlite:///{folder / 'mlflow.db'}"
    made = Tracked(paddock, uri, {}, [])
    for model in ("ease", "pop"):
        made.runs[model] = paddock.trained(f"model={model}", *TINY, *made.places)
    own = Recommender.load(made.runs["ease"].path, text_encoder=None)
    for request in REQUESTS:
        items = own.recommend(request).items
        made.answers.append([(each.item, each.title, each.score) for each in items])
    shutil.move(paddock.data_dir, folder / "away")
    return made


def _elsewhere(uri: str) -> dict[str, str]:
    """The environment of a process that knows Paddock's code, and of the rest the store alone."""
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": uri,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        # `mlflow models serve` calls uvicorn by its name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


LOADED = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pandas.DataFrame(json.loads(sys.argv[2]))
made = model.predict(rows, params={"k": 7})
example = model.predict(model.input_example)
print(json.dumps([made.to_dict("records"), example.to_dict("records")]))
"""

ROWS = [
    {"user": "u1", "history": None, "query": None, "where": None},
    {"user": None, "history": ["i3", "i5"], "query": None, "where": None},
    {"user": None, "history": None, "query": "dragon", "where": None},
    {"user": "u2", "history": None, "query": None, "where": "year>=1990"},
    {"user": "nobody", "history": None, "query": None, "where": None},
]


def _check(rows: list[dict[str, Any]], tracked: Tracked) -> None:
    assert len(rows) == len(ROWS)
    for row, own in zip(rows, tracked.answers, strict=False):
        assert row["error"] == ""
        assert row["items"] == [item for item, _, _ in own]
        assert row["titles"] == [title for _, title, _ in own]
        assert row["scores"] == pytest.approx([score for _, _, score in own])
        assert len(row["reasons"]) == len(own)
    assert [row["rule"] for row in rows[:4]] == ["user", "history", "query", "user"]
    assert rows[4]["items"] == []
    assert "nobody" in rows[4]["error"]


def test_a_run_is_loaded_in_another_folder_from_the_store_alone(
    tracked: Tracked, tmp_path: Path
) -> None:
    """By a process that finds neither run folder nor data set; it answers as where it was trained."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, f"runs:/{tracked.id_of('ease')}/model", json.dumps(ROWS)],
        cwd=tmp_path,
        env=_elsewhere(tracked.uri),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made, example = json.loads(done.stdout)
    _check(made, tracked)
    assert len(example[0]["items"]) == 10
    assert list(tmp_path.iterdir()) == []


def test_the_model_holds_no_pickle_and_names_what_it_needs(
    tracked: Tracked, tmp_path: Path
) -> None:
    place = Path(tracked.client.download_artifacts(tracked.id_of("ease"), "model", str(tmp_path)))
    names = {path.suffix for path in place.rglob("*") if path.is_file()}
    assert names <= {"", ".txt", ".yaml", ".json", ".py", ".parquet", ".zst", ".safetensors"}
    required = (place / "requirements.txt").read_text()
    assert "paddock" in required.splitlines()
    assert "torch==" in required
    packed = sum(path.stat().st_size for path in (place / "artifacts").rglob("*") if path.is_file())
    assert packed < 300_000


def test_a_model_is_an_option(tracked: Tracked, tmp_path: Path) -> None:
    paddock = CommandLine(tmp_path)
    run = paddock.trained("model=pop", "seed=2", *TINY, *tracked.places, "tracking.model=false")
    files = tracked.client.list_artifacts(run.published["run_id"], "model")
    assert {each.path for each in files} == {"model/model.json", "model/model.safetensors"}
    refused = tracked.promoted(f"run_id={run.path}")
    assert "has no model that MLflow can load" in refused.err


@pytest.mark.slow  # a server of MLflow's own
def test_mlflows_own_server_answers(tracked: Tracked, tmp_path: Path) -> None:
    port = free_port()
    uri = f"runs:/{tracked.id_of('ease')}/model"
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "models", "serve", "-m", uri),
            *("--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)),
        ],
        cwd=tmp_path,
        env=_elsewhere(tracked.uri),
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "log").open("w"),
        start_new_session=True,
    )
    try:
        _until_it_answers(f"http://127.0.0.1:{port}/ping", server, tmp_path / "log")
        body = {"dataframe_records": ROWS, "params": {"k": 7}}
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            _check(json.load(answer)["predictions"], tracked)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


@pytest.mark.slow  # a session of Spark
def test_sparks_function_answers(tracked: Tracked) -> None:
    spark = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    import mlflow

    mlflow.set_tracking_uri(tracked.uri)
    session = spark.SparkSession.builder.master("local[1]").getOrCreate()
    try:
        kinds = "items array<string>, titles array<string>, scores array<double>, "
        asked = mlflow.pyfunc.spark_udf(
            session,
            f"runs:/{tracked.id_of('ease')}/model",
            env_manager="local",
            result_type=kinds + "reasons array<string>, rule string, error string",
        )
        rows = session.createDataFrame([("u1",), ("u2",)], "user string")
        made = rows.select(asked("user").alias("answer")).collect()
    finally:
        session.stop()
    own = Recommender.load(tracked.runs["ease"].path, text_encoder=None)
    for user, row in zip(("u1", "u2"), made, strict=True):
        expected = own.recommend(Request(user=user, k=10)).items
        assert row["answer"]["items"] == [item.item for item in expected]


def _until_it_answers(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(240):
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise AssertionError(log.read_text())


def test_a_better_run_is_promoted_and_a_worse_one_only_by_force(
    tracked: Tracked, tmp_path: Path
) -> None:
    ease, pop = (tracked.runs[model] for model in ("ease", "pop"))
    valid = {
        key: run.result["metrics"]["valid/full/ndcg_at_10"] for key, run in tracked.runs.items()
    }
    assert valid["ease"] > valid["pop"]
    first = tracked.promoted(f"run_id={pop.path}")
    assert first.code == 0, first.err
    assert first.out.startswith("models:/tiny-loo@champion is version 1")
    better = tracked.promoted(f"run_id={tracked.id_of('ease')}")
    assert f"{valid['ease']:.4f}, {valid['pop']:.4f} before" in better.out.replace("\n", " ")
    assert "was version 2 already" in tracked.promoted(f"run_id={ease.path}").out
    worse = tracked.promoted(f"run_id={pop.path}")
    assert worse.code != 0
    assert "which is not better than the" in worse.err
    held = tracked.client.get_model_version_by_alias("tiny-loo", "champion")
    assert (held.run_id, str(held.version)) == (tracked.id_of("ease"), "2")
    assert "ease seed 1: valid/full/ndcg_at_10" in held.description
    assert "tiny" in tracked.client.get_registered_model("tiny-loo").description

    done = subprocess.run(
        [sys.executable, "-c", LOADED, "models:/tiny-loo@champion", json.dumps(ROWS)],
        cwd=tmp_path,
        env=_elsewhere(tracked.uri),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _check(json.loads(done.stdout)[0], tracked)

    forced = tracked.promoted(f"run_id={pop.path}", "force=true")
    assert "models:/tiny-loo@champion is version 1" in forced.out
    shadow = tracked.promoted(f"run_id={ease.path}", "alias=shadow")
    assert "models:/tiny-loo@shadow is version 2" in shadow.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "mode=promote needs run_id="),
        (("run_id=0123",), "run_id=0123 is no run of"),
        (("run_id=x", "alias=a/b"), "alias='a/b' is none"),
        (("run_id=x", "alias=1"), "alias='1' is none"),
    ],
)
def test_a_wrong_promotion_is_one_sentence(
    words: tuple[str, ...], said: str, tracked: Tracked
) -> None:
    answer = tracked.promoted(*words)
    assert answer.code != 0
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert without_password(tracked.uri) == tracked.uri


def test_without_a_store_there_is_no_registry(tracked: Tracked) -> None:
    answer = tracked.paddock("mode=promote", *TINY, "run_id=x")
    assert "a registry is part of a tracking store" in answer.err


def test_an_address_of_the_registry_names_its_run(tracked: Tracked) -> None:
    """The last of this file: what is prepared for it lies where other tests want nothing."""
    assert tracked.promoted(f"run_id={tracked.id_of('ease')}", "alias=named").code == 0
    store = TrackingConfig(uri=tracked.uri)
    loaded = Recommender.load(
        "models:/tiny-loo@named", runs_dir=tracked.paddock.runs_dir, tracking=store
    )
    assert loaded.origin.run_id == tracked.id_of("ease")
    asked = ("mode=recommend", *TINY, *tracked.places, "user=u1", "k=7", "format=json")
    answer = tracked.paddock(*asked, "run_id='models:/tiny-loo@named'")
    assert answer.code == 0, answer.err
    (one,) = json.loads(answer.out)
    found = [(item["item"], item["title"]) for item in one["items"]]
    assert found == [(item, title) for item, title, _ in tracked.answers[0]]
    for address, said in (
        ("models:/tiny-loo@nobody", "registered are: tiny-loo"),
        ("models:/other/1", "registered are: tiny-loo"),
        ("models:/tiny-loo", "write models:/NAME@ALIAS or models:/NAME/VERSION"),
    ):
        refused = tracked.paddock(*asked, f"run_id='{address}'")
        assert refused.code == 2
        assert said in refused.err
        assert refused.err.count("\n") == 1
