"""What is said of the code that ran, in repositories of git's own making."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from experiments.runs import provenance


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean checkout of one commit, where the code is looked for."""
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / ".gitignore").write_text("runs/\n")
    (folder / "model.py").write_text("loss = 1\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(provenance, "ROOT", folder)
    return folder


def test_a_clean_checkout_is_its_commit(repository: Path) -> None:
    (repository / "runs").mkdir()
    (repository / "runs" / "result.json").write_text("{}")  # ignored
    told = provenance.git()
    assert told["commit"] == git(repository, "rev-parse", "HEAD")
    assert (told["dirty"], told["diff"]) == (False, "")


@pytest.mark.parametrize("staged", [False, True])
def test_a_changed_file_is_told_with_the_change(staged: bool, repository: Path) -> None:
    (repository / "model.py").write_text("loss = 2\n")
    if staged:
        git(repository, "add", "model.py")
    told = provenance.git()
    assert told["commit"] == git(repository, "rev-parse", "HEAD")
    assert told["dirty"] is True
    assert "-loss = 1" in told["diff"]
    assert "+loss = 2" in told["diff"]


def test_a_change_that_was_committed_is_one_no_more(repository: Path) -> None:
    (repository / "model.py").write_text("loss = 2\n")
    before = provenance.git()["commit"]
    git(repository, "commit", "--quiet", "--all", "--message", "second")
    told = provenance.git()
    assert told["commit"] != before
    assert (told["dirty"], told["diff"]) == (False, "")


def test_a_file_that_git_does_not_know_is_a_change(repository: Path) -> None:
    (repository / "other.py").write_text("loss = 3\n")
    assert provenance.git()["dirty"] is True


@pytest.mark.parametrize(
    "name", ["conf/tuned/tiny/loo/bpr.yaml", "notes.md", "datasets/own/own.inter", "docs/conf.py"]
)
def test_what_is_no_code_leaves_a_checkout_clean(name: str, repository: Path) -> None:
    clean = provenance.git()
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("one: 1\n")
    assert provenance.git() == clean
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "second")
    committed = provenance.git()
    path.write_text("one: 2\n")
    assert provenance.git() == committed
    assert committed["dirty"] is False


@pytest.mark.parametrize(
    "name", ["conf/model/own.yaml", "experiments/config/models.json", "a.toml"]
)
def test_new_configuration_is_a_change_and_told(name: str, repository: Path) -> None:
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}\n")
    told = provenance.git()
    assert told["dirty"] is True
    assert told["untracked"][name]["text"] == "{}\n"


def test_sources_that_git_does_not_know_are_told_with_their_text(repository: Path) -> None:
    (repository / "models").mkdir()
    (repository / "models" / "own é.py").write_text("loss = 3\n")
    (repository / "notes.txt").write_text("no source\n")
    (repository / "runs").mkdir()
    (repository / "runs" / "ignored.py").write_text("loss = 4\n")
    (repository / "large.py").write_text("#" * 300_000)
    told = provenance.git()["untracked"]
    assert set(told) == {"models/own é.py", "large.py"}
    assert told["models/own é.py"] == {
        "sha256": hashlib.sha256(b"loss = 3\n").hexdigest(),
        "text": "loss = 3\n",
    }
    assert told["large.py"] == {
        "sha256": hashlib.sha256(b"#" * 300_000).hexdigest(),
        "text": None,
    }
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "second")
    assert provenance.git()["untracked"] == {}


def test_a_removed_file_is_a_change(repository: Path) -> None:
    (repository / "model.py").unlink()
    told = provenance.git()
    assert told["dirty"] is True
    assert "-loss = 1" in told["diff"]


def test_outside_of_a_checkout_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    told = provenance.git()
    assert (told["commit"], told["dirty"], told["diff"]) == (None, None, None)
