"""The door for Python, called from another folder than it writes to."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from experiments.errors import PaddockError
from paddock import api

ROOT = Path(__file__).parents[2]
TINY = ("dataset=tiny", "device=cpu", "tracking=off")


def test_run_leaderboard_and_recommender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    pop = api.run("model=pop", *TINY, root=root)
    ease = api.run("model=ease", *TINY, root=root)
    assert list(elsewhere.iterdir()) == []
    assert api.run("model=ease", *TINY, root=root) == ease
    assert api.open_run(pop.folder, root=root) == pop
    assert (root / "runs") in ease.folder.parents
    assert ease.content["model_key"] == "ease"
    board = api.leaderboard("tiny", root=root)
    name = "test/full/ndcg_at_10"
    by_model = dict(board.select("model", name).iter_rows())
    assert by_model == {each.content["model_key"]: each.metrics[name] for each in (pop, ease)}
    assert board["left_out"].null_count() == 2
    assert board[name].is_sorted(descending=True)
    users = ease.per_user()
    assert len(users) == 200
    answer = ease.recommender().recommend(api.Request(history=("i3", "i5"), k=4))
    assert len(answer.items) == 4
    assert answer.origin.folder == str(ease.folder)


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(PaddockError, match="did you mean"):
        api.run("model=sasrec", "model.learning_rat=1", *TINY, root=tmp_path)
    with pytest.raises(PaddockError, match="trains nothing"):
        api.run("mode=leaderboard", *TINY, root=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert api.leaderboard("tiny", root=tmp_path).height == 0


def test_importing_it_is_light() -> None:
    code = (
        "import sys, paddock.api; print({'torch', 'recbole', 'polars', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / "python.ipynb", as_version=4)
    metadata = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, kernel_name="python3", timeout=300, resources=metadata).execute()
    shown = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    assert "'ease'" in shown[-1]["data"]["text/plain"]
    assert list(tmp_path.iterdir()) == []
