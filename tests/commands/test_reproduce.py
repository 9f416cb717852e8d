"""Reproducing runs: what is bit-equal, what differs, and what is said of it."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from experiments.config.schema import TrackingConfig
from experiments.integrity import stated
from experiments.runs import provenance
from experiments.runs.folder import RunFolder
from tests.tracking.mlflow_state import client_of

from .command_line import ROOT, Answer, CommandLine

BASELINES: dict[str, tuple[str, ...]] = {
    "bpr": ("model.epochs=2", "model.train_batch_size=128"),
    "lightgcn": ("model.epochs=2",),
    "ract": (
        "model.stages.actor.epochs=2",
        "model.stages.critic.epochs=2",
        "model.stages.critic.eval_step=2",
        "model.stages.finetune.epochs=1",
    ),
    "sasrec": ("model.epochs=2", "model.hidden_size=16"),
}
COMMIT = {"commit": "c" * 40, "dirty": False, "diff": "", "untracked": {}}
LEAD = "test/full/ndcg_at_10"

Findings = Mapping[str, Any]


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, Any]], None]:
    """The commit that runs are made by from here on, whatever is changed in this checkout."""

    def check_out(git: Mapping[str, Any]) -> None:
        monkeypatch.setattr(provenance, "git", lambda: dict(git))

    check_out(COMMIT)
    return check_out


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data, which all commands here share."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def paddock(tmp_path: Path, prepared_once: Path) -> CommandLine:
    made = CommandLine(tmp_path)
    made.data_dir = prepared_once
    return made


def _train(paddock: CommandLine, model: str = "bpr", *words: str) -> RunFolder:
    common = ("dataset=tiny", "device=cpu", "progress=false", "seed=2")
    return paddock.trained(f"model={model}", *BASELINES.get(model, ()), *common, *words)


def _reproduce(
    paddock: CommandLine, run_id: str | Path, *words: str, tracking: str = "tracking=off"
) -> tuple[Answer, Findings]:
    asked = ("mode=reproduce", f"run_id={run_id}", "format=json", "progress=false")
    answer = paddock(*asked, tracking, *words)
    return answer, json.loads(answer.out) if answer.code < 2 else {}


def _store(tracking: TrackingConfig) -> tuple[str, ...]:
    return (
        "tracking=local",
        f"tracking.uri={tracking.uri}",
        f"tracking.artifacts={tracking.artifacts}",
    )


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("model", BASELINES)
def test_a_baseline_comes_out_to_the_bit_from_the_store_alone(
    paddock: CommandLine, tracking: TrackingConfig, model: str
) -> None:
    folder = _train(paddock, model, *_store(tracking))
    run_id, runs = folder.published["run_id"], paddock.runs_dir
    shutil.rmtree(runs)
    answer, told = _reproduce(paddock, run_id, *_store(tracking)[1:], tracking="tracking=local")
    assert answer.code == 0, answer.err + answer.out
    verdicts = {name: told[name]["verdict"] for name in ("code", "data", "packages", "numbers")}
    assert set(verdicts.values()) == {"same"}
    assert "to the bit" in told["numbers"]["detail"]
    assert "200 users" in told["numbers"]["detail"]
    assert told["reproduced"] is True
    # It was trained elsewhere, and nothing of it was tracked.
    assert not list(runs.rglob("run.json"))
    found = client_of(tracking).search_runs(["1"], "tags.`paddock.kind` = 'run'")
    assert [run.info.run_id for run in found] == [run_id]


@pytest.mark.usefixtures("checkout")
def test_a_number_that_was_tampered_with_is_found_in_the_store(
    paddock: CommandLine, tracking: TrackingConfig
) -> None:
    run_id = _train(paddock, "bpr", *_store(tracking)).published["run_id"]
    client = client_of(tracking)
    true = client.get_run(run_id).data.metrics[LEAD]
    client.log_metric(run_id, LEAD, true + 1e-9, step=10_000)
    answer, told = _reproduce(paddock, run_id, *_store(tracking)[1:], tracking="tracking=local")
    assert answer.code == 1
    assert told["numbers"]["verdict"] == "differs"
    assert LEAD in told["numbers"]["detail"]
    assert told["data"]["verdict"] == told["code"]["verdict"] == "same"


@pytest.mark.usefixtures("checkout")
def test_one_value_of_one_user_is_found(paddock: CommandLine) -> None:
    folder = _train(paddock)
    path = folder.path / "per_user.parquet"
    table = pl.read_parquet(path)
    column = table.columns[1]
    table[0, column] = table[0, column] + 1e-12
    table.write_parquet(path)
    # As if the run had come to that value: otherwise the file is refused as damaged.
    folder.update(files=folder.run["files"] | {path.name: stated(path)})
    answer, told = _reproduce(paddock, folder.path)
    assert answer.code == 1
    assert "other values for 1 of 200 users" in told["numbers"]["detail"]


@pytest.mark.usefixtures("checkout")
def test_stages_that_runs_share_are_trained_again(paddock: CommandLine) -> None:
    """Weights that were kept beside the data and are no longer what was trained change nothing."""
    small = [f"model.backbone.{word}" for word in ("epochs=1", "hidden_size=8", "inner_size=8")]
    folder = _train(paddock, "a_llmrec_align", *small)
    kept = list(paddock.data_dir.rglob("stages/*.safetensors"))
    assert len(kept) == 2, "a backbone and an alignment"
    for path in kept:
        path.write_bytes(b"not what was trained")
    answer, told = _reproduce(paddock, folder.path)
    assert answer.code == 0, answer.err
    assert told["reproduced"] is True
    assert "to the bit" in told["numbers"]["detail"]
    assert [path.read_bytes() for path in kept] == 2 * [b"not what was trained"]


def test_with_other_versions_the_tolerance_counts(
    paddock: CommandLine, checkout: Callable[[Mapping[str, Any]], None]
) -> None:
    folder = _train(paddock)
    folder.update(packages={**folder.run["packages"], "torch": "1.13.0"})
    checkout({**COMMIT, "commit": "d" * 40})
    answer, told = _reproduce(paddock, folder.path)
    assert answer.code == 0
    assert told["code"]["detail"] == f"made by commit {'c' * 10}, this is {'d' * 10}"
    assert "torch 1.13.0 then" in told["packages"]["detail"]
    assert told["numbers"]["verdict"] == "same"
    for off, code, verdict in ((0.005, 0, "within 0.01"), (0.02, 1, "differs")):
        result = folder.result
        changed = {**result["metrics"], LEAD: result["metrics"][LEAD] + off}
        folder.write_result({**result, "metrics": changed})
        answer, told = _reproduce(paddock, folder.path)
        assert answer.code == code
        assert told["numbers"]["verdict"] == verdict
        assert LEAD in told["numbers"]["detail"]
        folder.write_result(result)


@pytest.mark.usefixtures("checkout")
def test_other_data_under_the_same_name_is_not_trained_on(
    paddock: CommandLine, tmp_path: Path
) -> None:
    source = tmp_path / "own"
    shutil.copytree(ROOT / "datasets" / "tiny", source)
    (file,) = source.glob("*.inter")
    words = ("dataset=atomic", f"dataset.source={source}", "dataset.prefix=tiny")
    asked = ("model=bpr", "model.epochs=1", "device=cpu", "progress=false")
    folder = paddock.trained(*asked, *words)
    assert _reproduce(paddock, folder.path)[0].code == 0
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(lines[:-5]) + "\n", encoding="utf-8")
    answer, told = _reproduce(paddock, folder.path)
    assert answer.code == 1
    assert told["data"]["verdict"] == "differs"
    assert "dataset" in told["data"]["detail"]
    assert told["numbers"] == {"verdict": "unknown", "detail": "not trained on other data"}
    assert told["code"]["verdict"] == told["packages"]["verdict"] == "same"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A checkout of its own with this working tree as its one commit."""
    folder = tmp_path / "checkout"
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "all")
    return folder


def _git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_source_that_git_does_not_know_is_other_code(
    paddock: CommandLine, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a checkout of git's own making."""
    monkeypatch.setattr(provenance, "ROOT", copied)

    def command(*words: str) -> Answer:
        return paddock("device=cpu", "progress=false", *words)

    done = command("model=pop", "dataset=tiny", "seed=2")
    assert done.code == 0, done.err
    (folder,) = paddock.runs
    assert folder.run["git"]["dirty"] is False
    assert folder.run["git"]["untracked"] == {}
    asked = ("mode=reproduce", f"run_id={folder.path}", "format=json")
    told = json.loads(command(*asked).out)
    assert told["code"]["verdict"] == told["numbers"]["verdict"] == "same"

    source = "loss = 3\n"
    (copied / "models" / "_own.py").write_text(source)
    told = json.loads(command(*asked).out)
    assert told["code"]["verdict"] == "differs"
    assert "models/_own.py" in told["code"]["detail"]

    done = command("model=pop", "dataset=tiny", "seed=3")
    assert done.code == 0, done.err
    stored = paddock.runs[0].run["git"]
    assert stored["dirty"] is True
    digest = hashlib.sha256(source.encode()).hexdigest()
    assert stored["untracked"] == {"models/_own.py": {"sha256": digest, "text": source}}


@pytest.mark.usefixtures("checkout")
def test_a_table_tells_the_verdicts(paddock: CommandLine) -> None:
    folder = _train(paddock)
    answer = paddock("mode=reproduce", f"run_id={folder.path}", "progress=false")
    assert answer.code == 0
    for word in ("code", "data", "packages", "numbers", "to the bit", "bpr on tiny/loo seed 2"):
        assert word in answer.out
    assert answer.out.rstrip().endswith("reproduced")


def test_what_cannot_be_reproduced_is_told_in_one_sentence(
    paddock: CommandLine, tracking: TrackingConfig
) -> None:
    folder = _train(paddock, "bpr", *_store(tracking))
    parent = folder.published["parent_run_id"]
    config = folder.run["config"]
    for words, told in (
        ((), "needs run_id"),
        (("run_id=nowhere",), "run_id=nowhere is neither"),
        ((f"run_id={parent}", *_store(tracking)), "mean of several seeds"),
        (("run_id=nowhere", *_store(tracking)), "run_id=nowhere is neither"),
        ((f"run_id={folder.path}",), "epoch_size"),
    ):
        if "epoch_size" in told:
            folder.update(config={**config, "epoch_size": 3})
        answer = paddock("mode=reproduce", *words)
        assert answer.code == 2
        assert told in answer.err
        assert answer.err.count("\n") == 1
