"""The protocol between the benchmark and the libraries' own processes, with our interpreter as theirs."""

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.peers import environments, turn
from benchmarks.peers.cases import KINDS
from benchmarks.peers.compare import SHARE, compare
from benchmarks.peers.environments import FOLDER, OURS, Unavailable
from benchmarks.peers.exchange import write_interactions
from benchmarks.peers.table import RESULTS, markdown, write
from benchmarks.peers.turn import CHILD, LIBRARIES, ROOT, Rules, Side, Turn, take_turn
from experiments.files import read_json

if TYPE_CHECKING:
    from experiments.protocol.split import Phase, Split

OF_OURS = ("benchmarks", "experiments", "models", "paddock", "reports", "tests")


@pytest.fixture
def take(tiny_split: "Split", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Take a turn, every library's environment being this one."""
    monkeypatch.setattr(turn, "interpreter", lambda name: Path(sys.executable))
    data = tmp_path / "interactions.npz"
    write_interactions(tiny_split, data)

    def run(side: Side, **rules: Any) -> Turn:
        rules = {"seconds": 60.0, "patience": 0, **rules}
        return take_turn(
            side, split=tiny_split, data=data, seed=1, rules=Rules(**rules), context={}
        )

    return run


def by_popularity(split: "Split", phase: "Phase") -> tuple[float, float]:
    """NDCG@10 and Hit@1 of ranking by training counts, the mean over the orders of equal counts."""
    counts = np.bincount(split.train_items, minlength=split.n_items + 1)
    ndcg, hit = [], []
    for user in split.users(phase):
        known = set(split.history(phase).take(np.array([user])).items.tolist())
        (target,) = split.targets(phase).take(np.array([user])).items.tolist()
        rivals = [item for item in range(1, split.n_items + 1) if item not in known - {target}]
        above = sum(counts[item] > counts[target] for item in rivals)
        level = sum(counts[item] == counts[target] for item in rivals)
        ranks = np.arange(above + 1, above + level + 1)
        ndcg.append(np.mean(np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0)))
        hit.append(np.mean(ranks == 1))
    return float(np.mean(ndcg)), float(np.mean(hit))


def test_a_childs_scores_are_ranked_here_and_it_stops_when_told(
    take: Any, tiny_split: "Split"
) -> None:
    found = take(Side(library="implicit", model="pop", passes=9), patience=2)
    # Its passes are all alike: the first is the best, and two more are waited for.
    assert found.stopped == "patience"
    assert [each["pass"] for each in found.curve] == [1, 2, 3]
    assert found.best["pass"] == 1
    for phase, metrics in (("valid", found.best), ("test", found.tested)):
        expected = by_popularity(tiny_split, phase)  # type: ignore[arg-type]
        assert (metrics["ndcg_at_10"], metrics["hit_at_1"]) == pytest.approx(expected)
    seconds = [each["cpu"] for each in found.curve]
    assert seconds == sorted(seconds)
    assert found.peak_megabytes > 20
    assert found.facts["packages"]["implicit"]


def test_a_child_that_fails_says_why(take: Any) -> None:
    found = take(Side(library="implicit", model="als", settings={"no_such_key": 1}))
    assert found.stopped.startswith("failed: ")
    assert "no_such_key" in found.stopped
    assert not found.curve


def test_the_targets_of_the_test_stay_here(tiny_split: "Split", tmp_path: Path) -> None:
    path = tmp_path / "interactions.npz"
    write_interactions(tiny_split, path)
    data = np.load(path)
    given = sum(len(data[f"{part}_items"]) for part in ("train", "valid"))
    assert given == int((tiny_split.part < 2).sum())
    rows = tiny_split.part == 0
    assert np.array_equal(data["train_users"] + 1, tiny_split.row_users[rows])
    assert np.array_equal(data["train_items"] + 1, tiny_split.row_items[rows])
    same = data["train_users"][1:] == data["train_users"][:-1]
    assert (np.diff(data["train_places"])[same] > 0).all()


def test_an_interpreter_that_is_not_here_leaves_a_library_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some.txt").write_text("# python 9.9\nsome==1\n")
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(Unavailable, match=r"Python 9\.9"):
        environments.interpreter("some")


def made_turn(*passes: tuple[float, float], peak: float, test: float) -> Turn:
    """A turn of passes, each with its CPU seconds so far and its valid NDCG@10."""
    curve = [
        {"pass": number, "cpu": cpu, "wall": 2 * cpu, "ndcg_at_10": valid, "hit_at_1": valid}
        for number, (cpu, valid) in enumerate(passes, start=1)
    ]
    return Turn(
        side=Side(library="some", model="als"),
        seed=1,
        curve=curve,
        tested={"ndcg_at_10": test, "hit_at_1": test},
        peak_megabytes=peak,
    )


def test_where_ours_loses() -> None:
    theirs = made_turn((4.0, 0.1), (8.0, 0.2), peak=100, test=0.3)
    ours = made_turn((1.0, 0.05), (2.0, 0.1), (3.0, 0.15), (16.0, 0.3), peak=200, test=0.2)
    found = compare([theirs], [ours])
    assert found["goal"] == pytest.approx(SHARE * 0.2)
    assert found["pass"]["cpu"]["ratio"]["median"] == pytest.approx(4.0 / 4.0)
    assert found["to_goal"]["cpu"] == {
        "theirs": [8.0],
        "ours": [16.0],
        "ratio": {"min": 0.5, "median": 0.5, "max": 0.5},
    }
    assert found["to_goal"]["wall"]["theirs"] == [16.0]
    assert found["loses"] == ["to_goal", "megabytes", "test_ndcg_at_10", "test_hit_at_1"]
    assert compare([ours], [theirs])["loses"] == ["valid_ndcg_at_10"]


def test_results_are_read_back_as_they_were(tmp_path: Path) -> None:
    ours = made_turn((1.0, 0.1), (2.0, 0.2), peak=1, test=0.2)
    result = {
        "data": "d",
        "kind": "als",
        "unavailable": {"other": "no wheel"},
        "ours": [ours.summary()],
        "rows": [
            {
                "library": "some",
                "model": "als",
                "note": "",
                "turns": [ours.summary()],
                "comparison": compare([ours], [ours]),
            }
        ],
    }
    kept = write(tmp_path / "d-als.json", result)
    assert kept["ours"][0]["curve"]["cpu"] == [1.0, 2.0]
    table = markdown([kept])
    assert "| d, als | some" in table
    assert "left out: no wheel" in table


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_kept_result_holds_what_it_promises(path: Path) -> None:
    result = read_json(path)
    assert path.stem == f"{result['data']}-{result['kind']}"
    known = {(side.library, side.model) for side in KINDS[result["kind"]].peers}
    for row in result["rows"]:
        assert (row["library"], row["model"]) in known
        for each in row["turns"]:
            assert all(np.diff(each["curve"].get("cpu", [])) > 0)
    assert len(result["ours"]) == result["rounds"]


def test_the_page_shows_the_kept_results() -> None:
    results = [read_json(path) for path in sorted(RESULTS.glob("*.json"))]
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    for line in markdown(results).splitlines()[2:]:
        assert line in page, "python -m benchmarks.peers --show prints the table of docs/speed.md"


@pytest.mark.parametrize(
    "path", [CHILD, *sorted(LIBRARIES.glob("*.py"))], ids=lambda path: path.stem
)
def test_what_their_interpreters_run_imports_nothing_of_ours(path: Path) -> None:
    if path.stem == OURS:
        return
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not imported & set(OF_OURS)


def test_every_side_has_an_adapter_and_a_pin() -> None:
    for kind in KINDS.values():
        for side in kind.peers:
            assert (LIBRARIES / f"{side.library}.py").is_file()
            assert "==" in (FOLDER / f"{side.library}.txt").read_text(encoding="utf-8")
