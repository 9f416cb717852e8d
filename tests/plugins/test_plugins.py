"""A plug-in that brings one of each kind of component, from a folder and as an installed package."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.runs.folder import RunFolder, find_runs
from experiments.runs.leaderboard import leaderboard
from paddock.testing import ModelContract
from tests import fork_server
from tests.commands.command_line import Answer

ROOT = Path(__file__).parents[2]
PLUGIN = Path(__file__).with_name("example_plugin")


def python(*arguments: str, cwd: Path = ROOT, **environment: str) -> Answer:
    """Run a script of the checkout in a process of its own."""
    done = fork_server.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def places(folder: Path) -> list[str]:
    return [f"runs_dir={folder / 'runs'}", f"data_dir={folder / 'data'}", "tracking=off"]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A command that uses the plug-in's YAML, model, strategy, split, metric, measure and reader."""
    folder = tmp_path_factory.mktemp("everything")
    lines = [
        f"user{user}\titem{(user * step) % 17}\t{step}"
        for user in range(1, 31)
        for step in range(1, 9)
    ]
    (folder / "arrows.txt").write_text("\n".join(lines) + "\n")
    return [
        f"plugins=[{PLUGIN}]",
        "model=cosine",
        "dataset=csv",
        f"dataset.source={folder / 'arrows.txt'}",
        "dataset.name=arrows",
        "dataset.format=arrows",
        "dataset.columns.user=who",
        "dataset.columns.item=what",
        "dataset.columns.time=when",
        "protocol.split=last_n",
        "protocol.settings.last=1",
        "protocol.metrics=[hit,ndcg,dcg]",
        "protocol.beyond=[coverage,share_of_first]",
        "protocol.rankings.c20.candidates=5",
        "protocol.rankings.c20.cutoffs=[1,5]",
        *places(folder),
    ]


@pytest.fixture(scope="module")
def trained(everything: list[str]) -> RunFolder:
    answer = python("run.py", *everything)
    assert answer.code == 0, answer.err
    runs_dir = next(each for each in everything if each.startswith("runs_dir="))
    (folder,) = find_runs(runs_dir.partition("=")[2], finished=True)
    return folder


def test_every_component_takes_part(trained: RunFolder) -> None:
    metrics = trained.result["metrics"]
    # NDCG is DCG over the ideal gain, which is 1 for one target.
    assert metrics["test/full/dcg_at_10"] == pytest.approx(metrics["test/full/ndcg_at_10"])
    assert 0 <= metrics["test/full/share_of_first_at_10"] <= 1
    assert set(trained.run["sources"]) == {
        "model CosineMF",
        "strategy half_pairs",
        "split last_n",
        "metric dcg",
        "list measure share_of_first",
    }
    assert trained.run["config"]["model"]["temperature"] == 5.0


def test_the_callback_is_called_in_order(trained: RunFolder) -> None:
    events = json.loads((trained.path / "events.json").read_text())
    epochs = [each for n in (1, 2, 3) for each in (f"validate {n}", f"epoch {n}")]
    assert events == ["start", "stage train", *epochs, "end"]


def test_its_command_gives_the_same_run(trained: RunFolder, everything: list[str]) -> None:
    python_, script, *overrides = shlex.split(trained.run["command"])
    assert (python_, script) == ("python", "run.py")
    kept = [each for each in everything if each.startswith(("runs_dir", "data_dir", "tracking"))]
    answer = python("run.py", *overrides, *kept)
    assert "finished before, reused" in answer.out, answer.err


def test_it_is_reproduced(trained: RunFolder, everything: list[str]) -> None:
    kept = [each for each in everything if each.startswith(("runs_dir", "data_dir", "tracking"))]
    answer = python("run.py", "mode=reproduce", f"run_id={trained.path}", "format=json", *kept)
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["reproduced"]


def test_it_is_tuned(tmp_path: Path) -> None:
    """The ranges are those that the keys and the class declare; there is no search file."""
    answer = python(
        "tune.py",
        f"plugins=[{PLUGIN}]",
        "model=cosine",
        "dataset=tiny",
        "model.epochs=1",
        "study.n_trials=2",
        "study.final_seeds=1",
        f"study.tuned_dir={tmp_path / 'tuned'}",
        *places(tmp_path),
    )
    assert answer.code == 0, answer.err
    (written,) = (tmp_path / "tuned").rglob("cosine.yaml")
    text = written.read_text()
    assert "temperature:" in text
    assert "learning_rate:" in text


def test_its_note_stands_beside_its_row(trained: RunFolder) -> None:
    (row,) = leaderboard([trained])
    assert "ranked by cosines" in row.flags


def test_a_class_goes_by_its_name(tmp_path: Path) -> None:
    answer = python(
        "run.py",
        f"plugins=[{PLUGIN}]",
        "model=recbole",
        "model.name=CosineMF",
        "model.epochs=1",
        "dataset=tiny",
        *places(tmp_path),
    )
    assert answer.code == 0, answer.err
    (folder,) = find_runs(tmp_path / "runs", model="CosineMF")
    assert folder.run["model_key"] == "cosinemf"


def test_an_installed_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(PLUGIN, site / "cosine_plugin", ignore=shutil.ignore_patterns("__pycache__"))
    info = site / "cosine_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cosine-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[paddock.plugins]\ncosine = cosine_plugin\n")
    answer = python(
        "run.py",
        "model=cosine",
        "model.epochs=1",
        "dataset=tiny",
        *places(tmp_path),
        PYTHONPATH=str(site),
    )
    assert answer.code == 0, answer.err
    (folder,) = find_runs(tmp_path / "runs", model="CosineMF")
    assert "plugins" not in folder.run["command"]


def test_the_report_has_its_section(tmp_path: Path) -> None:
    tracking = f"tracking.uri=sqlite:///{tmp_path / 'mlflow.db'}"
    common = ["dataset=tiny", f"plugins=[{PLUGIN}]"]
    kept = [each for each in places(tmp_path) if not each.startswith("tracking")]
    artifacts = f"tracking.artifacts={tmp_path / 'artifacts'}"
    answer = python("run.py", "model=pop", *common, *kept, tracking, artifacts)
    assert answer.code == 0, answer.err
    answer = python("-m", "reports", *common, tracking, f"out={tmp_path / 'out'}", "dirty=true")
    assert answer.code == 0, answer.err
    (page,) = (tmp_path / "out").rglob("index.html")
    assert "The example plug-in was here." in page.read_text()
    assert 'id="seeds-listed"' in page.read_text()


def test_files_of_a_searched_folder_run_and_reproduce(tmp_path: Path) -> None:
    conf = tmp_path / "conf" / "model"
    conf.mkdir(parents=True)
    (conf / "mine.yaml").write_text("defaults: [bpr, _self_]\nembedding_size: 8\nepochs: 1\n")
    place = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    answer = python("run.py", place, "model=mine", "dataset=tiny", *places(tmp_path))
    assert answer.code == 0, answer.err
    (folder,) = find_runs(tmp_path / "runs", model="mine")
    assert place in shlex.split(folder.run["command"])
    answer = python(
        "run.py", "mode=reproduce", f"run_id={folder.path}", "format=json", *places(tmp_path)
    )
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["reproduced"]


MISTAKES = [
    ("plugins=[./no/such/folder]", "plugins holds ./no/such/folder: there is no such folder"),
    ("plugins=[no_such_package]", "there is no folder and no installed package of that name"),
]


@pytest.mark.parametrize(("override", "message"), MISTAKES)
def test_a_plugin_that_is_not_there(override: str, message: str, paddock: Any) -> None:
    answer = paddock("model=bpr", "dataset=tiny", override)
    assert answer.code == 2
    assert message in answer.err


def test_two_components_of_one_name(tmp_path: Path) -> None:
    folder = tmp_path / "twice"
    folder.mkdir()
    (folder / "metrics.py").write_text(
        "from paddock import metric\n\n\n@metric('ndcg')\ndef mine(at):\n    return at.hit_GK\n"
    )
    answer = python("run.py", "model=bpr", "dataset=tiny", f"plugins=[{folder}]", *places(tmp_path))
    assert answer.code == 2
    assert f"{folder / 'metrics.py'} brings the metric ndcg, which" in answer.err


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("def on_epoch(self): ...", "Late.on_epoch must take (self, record)"),
        (
            "def on_batches(self, done, total): ...",
            "Late.on_batches is never called; a callback has",
        ),
    ],
)
def test_a_callback_that_could_not_be_called(method: str, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "late"
    folder.mkdir()
    (folder / "late.py").write_text(
        f"from paddock import Callback\n\n\nclass Late(Callback):\n    {method}\n"
    )
    answer = python("run.py", "model=pop", "dataset=tiny", f"plugins=[{folder}]", *places(tmp_path))
    assert answer.code == 2
    assert message in answer.err
    assert not list((tmp_path / "runs").rglob("run.json"))


class TestCosineMF(ModelContract):
    """The public contract, inherited as the author of a plug-in does."""

    model = "CosineMF"
    values = {"strategy": "pairs", "embedding_size": 8, "learning_rate": 0.01}
    plugins = (str(PLUGIN),)
