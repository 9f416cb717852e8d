"""Lists of another system: a run's own lists score as the run did, and ranx says the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from experiments import checkpoint
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.compose import compose, typed
from experiments.config.resolve import resolve_model
from experiments.evaluation.topk import topk
from experiments.protocol.shared_data import SharedData, shared_data
from experiments.runs.folder import RunFolder
from experiments.runs.leaderboard import leaderboard
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.state import load_model_state

from .command_line import CommandLine

TINY = ("dataset=tiny", "device=cpu", "threads=1")
LONGEST = 20

Rows = dict[str, list[Any]]


class Trained:
    """A finished run on tiny, and its scores of all items for its test users."""

    def __init__(self, folder: Path) -> None:
        self.paddock = CommandLine(folder)
        self.run = self.paddock.trained("model=bpr", "model.epochs=3", *TINY)
        config = typed(compose(["dataset=tiny"]))
        config.data_dir = str(self.paddock.data_dir)
        self.shared: SharedData = shared_data(config)
        self.users: NDArray[np.int64] = self.shared.split.users("test")
        self.scores = self._scores()

    def _scores(self) -> torch.Tensor:
        sections, values = checkpoint.load(self.run.path / "model" / "model.safetensors")
        context = TrainingContext(
            data=self.shared.data,
            split=self.shared.split,
            seed=1,
            device=torch.device("cpu"),
            folder=self.run.path,
        )
        model, dataset, _ = build(resolve_model(values).values, context)
        load_model_state(model, *sections["model"])
        history = self.shared.split.history("test")
        return RecBoleScorer(model, dataset=dataset, history=history).score(self.users)

    def lists(self, k: int) -> Rows:
        """The k best items of every test user, history left out."""
        masked = self.shared.split.masked("test").take(self.users)
        items, scores = topk(self.scores, masked, k)
        return self.rows(np.repeat(self.users, k), items.ravel(), scores.ravel())

    def candidates(self) -> Rows:
        """The score of every candidate of every test user."""
        given = self.shared.candidates["test"]["c20"]
        users = np.repeat(given.users, 20).astype(np.int64)
        items = given.items_TC.ravel()
        scores = self.scores[np.searchsorted(self.users, users), items.astype(np.int64)]
        return self.rows(users, items, scores.double().numpy())

    def rows(self, users: NDArray[Any], items: NDArray[Any], scores: NDArray[np.float64]) -> Rows:
        data = self.shared.data
        return {
            "user": [data.user_tokens[each] for each in users],
            "item": [data.item_tokens[each] for each in items],
            "score": scores.tolist(),
        }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("score"))


def _asked(trained: Trained, file: Path, *words: str) -> RunFolder:
    answer = trained.paddock("mode=score", f"lists={file}", *TINY, *words)
    assert answer.code == 0, answer.err
    return max(
        (run for run in trained.paddock.runs if run.run["model"] == "External"),
        key=lambda run: (run.path / "result.json").stat().st_mtime_ns,
    )


def _refused(trained: Trained, *words: str) -> str:
    before = len(trained.paddock.runs)
    answer = trained.paddock("mode=score", *TINY, *words)
    assert answer.code != 0
    assert answer.err.count("\n") == 1, answer.err
    assert len(trained.paddock.runs) == before
    return answer.err


def _test_metrics(run: RunFolder) -> dict[str, float]:
    metrics = run.result["metrics"]
    return {name: value for name, value in metrics.items() if name.startswith("test/")}


def _as_csv(rows: Rows, path: Path) -> None:
    pl.DataFrame(rows).write_csv(path)


def _as_parquet(rows: Rows, path: Path) -> None:
    pl.DataFrame(rows).rename({"user": "user_id", "item": "item_id"}).sample(
        fraction=1.0, shuffle=True, seed=1
    ).write_parquet(path)


def _as_recbole(rows: Rows, path: Path) -> None:
    names = {"user": "user_id:token", "item": "item_id:token", "score": "score:float"}
    pl.DataFrame(rows).rename(names).write_csv(path, separator="\t")


def _as_trec(rows: Rows, path: Path) -> None:
    lines = zip(rows["user"], rows["item"], rows["score"], strict=True)
    # The rank is wrong on purpose: the score counts.
    path.write_text("".join(f"{user} Q0 {item}  1\t{score!r} tag\n" for user, item, score in lines))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", _as_csv),
        ("a.parquet", _as_parquet),
        ("a.inter", _as_recbole),
        ("a.trec", _as_trec),
    ],
)
def test_a_runs_own_lists_score_as_it_did(
    name: str, write: Callable[[Rows, Path], None], trained: Trained, tmp_path: Path
) -> None:
    """Every value of every user, slices and measures beyond accuracy too; candidates need scores."""
    write(trained.lists(LONGEST), tmp_path / name)
    scored = _asked(trained, tmp_path / name, "name=mine")
    own, made = _test_metrics(trained.run), _test_metrics(scored)
    of_all = {key: value for key, value in own.items() if "c20/" not in key}
    assert len(of_all) > 50
    assert made == of_all
    table = pl.read_parquet(scored.path / "per_user.parquet")
    assert table.equals(
        pl.read_parquet(trained.run.path / "per_user.parquet").select(table.columns)
    )
    (note,) = scored.run["tags"].values()
    assert "c20 is not measured" in note


def test_one_file_in_four_formats_is_one_run(trained: Trained, tmp_path: Path) -> None:
    rows = trained.lists(12)
    _as_csv(rows, tmp_path / "a.csv")
    _as_trec(rows, tmp_path / "a.run")
    ranks = {**rows, "score": list(range(1, 13)) * len(trained.users)}
    pl.DataFrame(ranks).rename({"score": "rank"}).write_csv(tmp_path / "b.csv")
    first = _asked(trained, tmp_path / "a.csv", "name=formats")
    assert trained.paddock(
        "mode=score", f"lists={tmp_path}/a.run", *TINY, "name=formats"
    ).out.startswith("formats seed 1: scored before, reused")
    assert _asked(trained, tmp_path / "b.csv", "name=formats") == first
    rows["item"][0], rows["item"][1] = rows["item"][1], rows["item"][0]
    _as_csv(rows, tmp_path / "c.csv")
    assert _asked(trained, tmp_path / "c.csv", "name=formats") != first


def test_scores_of_all_candidates_are_measured_among_candidates(
    trained: Trained, tmp_path: Path
) -> None:
    """And on nothing else: who scores 20 items with the target among them finds it by chance already."""
    _as_csv(trained.candidates(), tmp_path / "c20.csv")
    scored = _asked(trained, tmp_path / "c20.csv", "name=among")
    own, made = _test_metrics(trained.run), _test_metrics(scored)
    assert {key for key in own if "c20/" in key} <= made.keys()
    for key, value in made.items():
        assert value == pytest.approx(own[key], abs=1e-12), key
    assert not any("full/" in key for key in made)
    assert "full is not measured: the lists hold candidates alone" in str(scored.run["tags"])


@pytest.mark.slow  # ranx compiles its metrics
def test_ranx_says_the_same(trained: Trained, tmp_path: Path) -> None:
    """Short lists, users without one, and history among the items, on which the mask works first."""
    ranx = pytest.importorskip("ranx")
    rows = pl.DataFrame(trained.lists(7)).filter(pl.col("user") != "u3")
    own_history = trained.shared.split.masked("test")
    data = trained.shared.data
    seen = [
        {"user": data.user_tokens[user], "item": data.item_tokens[own_history.of(user)[0]]}
        for user in trained.users[:40]
        if data.user_tokens[user] != "u3"
    ]
    pl.concat([rows, pl.DataFrame(seen).with_columns(score=pl.lit(1e6))]).write_csv(
        tmp_path / "short.csv"
    )
    scored = _asked(trained, tmp_path / "short.csv", "name=short")
    targets = trained.shared.split.targets("test")
    qrels = {
        data.user_tokens[user]: {data.item_tokens[item]: 1 for item in targets.of(user)}
        for user in trained.users
    }
    run: dict[str, dict[str, float]] = {user: {} for user in qrels}
    for user, item, score in rows.iter_rows():
        run[user][item] = score
    names = {"hit": "hit_rate", "ndcg": "ndcg", "recall": "recall", "mrr": "mrr", "map": "map"}
    table = pl.read_parquet(scored.path / "per_user.parquet")
    users = [data.user_tokens[user] for user in table["user"]]
    compared = ranx.Run({user: found or {"nothing": 0.0} for user, found in run.items()})
    for ours, theirs in names.items():
        for k in (1, 5, 10, 20):
            ranx.evaluate(ranx.Qrels(qrels), compared, f"{theirs}@{k}")
            said = compared.scores[f"{theirs}@{k}"]
            made = table[f"full/{ours}_at_{k}"].to_numpy()
            np.testing.assert_allclose(made, [said[user] for user in users], err_msg=f"{ours}@{k}")
    (note,) = scored.run["tags"].values()
    assert "1 of 200 users have no list" in note
    assert "200 lists are shorter than 20" in note
    assert not any("coverage" in name for name in scored.result["metrics"])


def test_ties_count_in_expectation(trained: Trained, tmp_path: Path) -> None:
    """Of ten items at one rank with the target among them, hit at 1 is a tenth and hit at 5 a half."""
    data, targets = trained.shared.data, trained.shared.split.targets("test")
    masked = trained.shared.split.masked("test")
    rows: list[dict[str, Any]] = []
    for user in trained.users:
        target = int(targets.of(user)[0])
        out = {target, *masked.of(user).tolist()}
        others = [each for each in range(1, data.n_items + 1) if each not in out][:9]
        rows += [
            {"user": data.user_tokens[user], "item": data.item_tokens[each], "rank": 3}
            for each in (*others, target)
        ]
    pl.DataFrame(rows).write_csv(tmp_path / "ties.csv")
    metrics = _asked(trained, tmp_path / "ties.csv", "name=ties").result["metrics"]
    assert metrics["test/full/hit_at_1"] == pytest.approx(0.1)
    assert metrics["test/full/hit_at_5"] == pytest.approx(0.5)
    assert metrics["test/full/hit_at_10"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "user,item,rank\nu1,i1,1\n", "ends in none of .csv"),
        ("a.csv", "", "cannot be read"),
        ("a.csv", "user,item,rank\n", "holds no row"),
        ("a.csv", "user,item\nu1,i1\n", "has the columns user, item: name them"),
        ("a.csv", "user,item,rank\nu1,i1,1\nu1,,2\n", "line 3: no item"),
        ("a.csv", "user,item,score\nu1,i1,nan\n", "line 2: a score that is no finite number"),
        ("a.csv", "user,item,score\nu1,i1,inf\n", "line 2: a score that is no finite number"),
        ("a.csv", "user,item,rank\nu1,i1,first\n", "line 2: a rank that is no finite number"),
        ("a.csv", "user,item,rank\nu1,i1,1\nu1,i1,2\n", "line 2: the pair of user and item twice"),
        ("a.csv", "user,item,rank\nu1,i1,1\nu9999,i1,1\n", "line 3: user 'u9999', which is not in"),
        ("a.csv", "user,item,rank\n[PAD],i1,1\n", "line 2: user '[PAD]', which is not in tiny"),
        ("a.csv", "user,item,rank\nu1,x1,1\n", "line 2: item 'x1', which is not in tiny: did you"),
        ("a.run", "u1 Q0 i1 1 2.0\n", "line 1 has not the six columns"),
        ("a.parquet", "PAR1", "cannot be read"),
        ("a.csv", "user,item,rank\nu\xff1,i1,1\n", "line 2: user"),
    ],
)
def test_a_wrong_file_is_one_sentence(
    name: str, text: str, said: str, trained: Trained, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert said in _refused(trained, f"lists={tmp_path / name}", "name=wrong")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "mode=score needs lists=FILE"),
        (("lists=nowhere.csv",), "lists=nowhere.csv is no file"),
        (("lists=x.csv", "name=sasrec"), "name=sasrec is a model of Paddock's"),
        (("lists=x.csv", "name=a/b"), "names no folder"),
    ],
)
def test_a_wrong_command_is_one_sentence(
    words: tuple[str, ...], said: str, trained: Trained
) -> None:
    assert said in _refused(trained, *words)


def test_lists_stand_in_the_leaderboard(trained: Trained, tmp_path: Path) -> None:
    rows = trained.lists(LONGEST)
    rows["score"] = [-score for score in rows["score"]]
    _as_csv(rows, tmp_path / "worse.csv")
    scored = _asked(trained, tmp_path / "worse.csv", "name=worse")
    board = leaderboard(trained.paddock.runs)
    places = {row.label.split()[0]: number for number, row in enumerate(board)}
    assert not board[places["worse"]].left_out
    assert places["bpr"] < places["worse"]
    assert json.loads(json.dumps(scored.run["config"]["model"]))["name"] == "External"
    # The command says all that is needed to do it again.
    again = trained.paddock(*scored.run["command"].split()[2:], "device=cpu", "threads=1")
    assert again.code == 0, again.err
    assert "scored before, reused" in again.out
    refused = trained.paddock("mode=reproduce", f"run_id={scored.path}")
    assert "scored lists of another system, and trained nothing" in refused.err


@pytest.mark.slow  # a store's schema, and a report
def test_a_report_compares_lists_user_by_user(trained: Trained, tmp_path: Path) -> None:
    """From the tracking store alone: the difference to the best row, and whether it is significant."""
    from reports.options import parse
    from reports.read import read
    from reports.summarise import summarise
    from reports.text import to_json

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    places = ("tracking=local", f"tracking.uri={uri}", f"tracking.artifacts={tmp_path}/artifacts")
    rows = trained.lists(LONGEST)
    rows["score"] = [-score for score in rows["score"]]
    _as_csv(rows, tmp_path / "reversed.csv")
    scored = _asked(trained, tmp_path / "reversed.csv", "name=reversed", *places)
    again = trained.paddock("model=bpr", "model.epochs=3", *TINY, *places)
    assert again.code == 0, again.err
    options = parse(["dataset=tiny", "dirty=true", f"tracking.uri={uri}"])
    summary = json.loads(to_json(summarise(read(options), options)))
    assert summary["left_out"] == []
    (row,) = [row for row in summary["rows"] if row["label"] == "reversed"]
    own, best = (
        pl.read_parquet(run.path / "per_user.parquet")["full/ndcg_at_10"]
        for run in (scored, trained.run)
    )
    compared = row["metrics"]["full/ndcg_at_10"]["comparison"]
    assert compared["difference"] == pytest.approx((own - best).mean())
    assert 0 < compared["p_users"] <= compared["p_users_holm"] <= 1
    assert row["runs"][0]["command"] == scored.run["command"]
