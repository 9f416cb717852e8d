"""Recommending from a finished run."""

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from .command_line import ROOT, CommandLine

TINY = ("dataset=tiny", "device=cpu", "threads=1")
ASK = ("mode=recommend", *TINY)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    paddock = CommandLine(tmp_path_factory.mktemp("trained"))
    for words in (("model=pop",), ("model=sasrec", "model.epochs=2")):
        answer = paddock(*TINY, *words)
        assert answer.code == 0, answer.err
    return paddock


def _rows(kind: str) -> list[list[str]]:
    with (ROOT / "datasets" / "tiny" / f"tiny.{kind}").open(encoding="utf-8") as stream:
        return list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


@pytest.fixture(scope="module")
def histories() -> dict[str, list[str]]:
    """Each user's items in time order; equal times keep the order of the file."""
    rows: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for user, item, _, time in _rows("inter"):
        rows[user].append((float(time), item))
    return {
        user: [item for _, item in sorted(events, key=lambda event: event[0])]
        for user, events in rows.items()
    }


@pytest.fixture(scope="module")
def titles() -> dict[str, str]:
    return {item: title for item, title, *_ in _rows("item")}


def _asked(paddock: CommandLine, *words: str) -> list[dict[str, Any]]:
    answer = paddock(*ASK, "format=json", *words)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_a_table_shows_titles(trained: CommandLine, titles: dict[str, str]) -> None:
    answer = trained(*ASK, "model=pop", "user=u1", "k=5")
    assert answer.code == 0, answer.err
    (one,) = _asked(trained, "model=pop", "user=u1", "k=5")
    assert "User u1" in answer.out
    for item in one["items"]:
        assert titles[item["item"]] in answer.out
        assert item["item"] in answer.out
    assert len(one["items"]) == 5


@pytest.mark.parametrize("model", ["pop", "sasrec"])
def test_recommendations_as_json(
    model: str, trained: CommandLine, histories: dict[str, list[str]], titles: dict[str, str]
) -> None:
    users = ["u1", "u2", "u150"]
    made = _asked(trained, f"model={model}", f"user=[{','.join(users)}]", "k=20")
    assert [one["user"] for one in made] == users
    for one in made:
        items = one["items"]
        assert [item["rank"] for item in items] == list(range(1, 21))
        named = [item["item"] for item in items]
        assert len(set(named)) == 20
        assert not set(named) & set(histories[one["user"]])
        assert [item["title"] for item in items] == [titles[name] for name in named]
        scores = [item["score"] for item in items]
        assert scores == sorted(scores, reverse=True)


def test_pop_counts_the_training_part(
    trained: CommandLine, histories: dict[str, list[str]]
) -> None:
    counts = Counter(item for history in histories.values() for item in history[:-2])
    for one in _asked(trained, "model=pop", "user=[u3,u77]", "k=10"):
        unseen = [counts[item] for item in counts if item not in histories[one["user"]]]
        best = sorted(unseen, reverse=True)[:10]
        assert [counts[item["item"]] for item in one["items"]] == best


def test_sasrec_is_personal_and_pop_is_not(trained: CommandLine) -> None:
    one, two = _asked(trained, "model=sasrec", "user=[u5,u6]", "k=10")
    assert [item["score"] for item in one["items"]] != [item["score"] for item in two["items"]]


def test_by_the_path_of_a_run(trained: CommandLine) -> None:
    by_path = {run.run["model_key"]: run.path for run in trained.runs}
    wanted = _asked(trained, "model=sasrec", "user=u9")
    # The run names its model: whichever model the command would compose does not matter.
    assert _asked(trained, "model=pop", "user=u9", f"run_id={by_path['sasrec']}") == wanted
    assert _asked(trained, "model=pop", "user=u9") != wanted


def test_the_best_run_on_valid_counts(paddock: CommandLine) -> None:
    for seed in (1, 2):
        paddock.trained(*TINY, "model=bpr", "model.epochs=1", f"seed={seed}")
    paddock.trained(*TINY, "model=pop")
    by_valid = {run.result["metrics"]["valid/full/ndcg_at_10"]: run for run in paddock.runs}
    of_bpr = {value: run for value, run in by_valid.items() if run.run["model_key"] == "bpr"}
    for words, runs in ((["model=bpr"], of_bpr), ([], by_valid)):
        best = runs[max(runs)]
        chosen = _asked(paddock, *words, "user=u1")
        assert chosen[0]["origin"]["folder"] == str(best.path)
        assert chosen == _asked(paddock, "user=u1", f"run_id={best.path}")


def test_a_run_implies_its_data_and_protocol(paddock: CommandLine) -> None:
    few = "dataset.filters.min_user_interactions=10"
    run = paddock.trained(*TINY, "model=pop", "protocol=temporal", few)
    answer = paddock("mode=recommend", f"run_id={run.path}", "user=u1", "format=json")
    assert answer.code == 0, answer.err
    (one,) = json.loads(answer.out)
    assert (one["origin"]["dataset"], one["origin"]["protocol"]) == ("tiny", "temporal")


def test_somebody_new_with_words_conditions_and_dislikes(
    trained: CommandLine, histories: dict[str, list[str]], titles: dict[str, str]
) -> None:
    history = histories["u4"]
    words = (f"history=[{','.join(history)}]", "k=20")
    (new,) = _asked(trained, "model=sasrec", *words)
    (known,) = _asked(trained, "model=sasrec", "user=u4", "k=20")
    assert new["user"] is None
    assert [each["item"] for each in new["items"]] == [each["item"] for each in known["items"]]
    (late,) = _asked(
        trained, "model=sasrec", *words, "where=year>=2010 and not genres contains Romance"
    )
    rows = {row[0]: row for row in _rows("item")}
    assert late["items"]
    for each in late["items"]:
        assert float(rows[each["item"]][3]) >= 2010
        assert "Romance" not in rows[each["item"]][2]
    (found,) = _asked(
        trained, "model=pop", "query=a wizard, or two: it's enchanted", "serve.text_encoder=null"
    )
    assert found["rule"] == "query"
    assert "wizard" in titles[found["items"][0]["item"]].lower()
    best = new["items"][0]["item"]
    (without,) = _asked(trained, "model=sasrec", *words, f"dislikes=[{best}]")
    assert best not in [each["item"] for each in without["items"]]


def test_a_profile_of_somebody_new(paddock: CommandLine) -> None:
    paddock.trained(*TINY, "model=profile", "model.epochs=1")
    (one,) = _asked(paddock, "profile.age=31", "profile.country=kr", "k=3")
    assert (one["rule"], one["origin"]["model"]) == ("profile", "profile")
    assert one["items"][0]["reasons"][0]["evidence"] == ["age=31", "country=kr"]


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_lists_of_all_users(
    form: str, trained: CommandLine, histories: dict[str, list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "made" / f"lists.{form}"
    words = ("model=sasrec", "where=year<2010", "exclude=[i3]", "k=7")
    (told,) = _asked(trained, *words, "user=all", f"out={out}", "progress=false")
    rows = _read(out)
    assert (told["users"], told["items"]) == (len(histories), len(rows))
    assert {row["user"] for row in rows} == set(histories)
    for user in ("u1", "u77"):
        (one,) = _asked(trained, *words, f"user={user}")
        of_user = [row for row in rows if row["user"] == user]
        assert [row["item"] for row in of_user] == [item["item"] for item in one["items"]]
        for row, item in zip(of_user, one["items"], strict=True):
            assert (int(row["rank"]), row["title"]) == (item["rank"], item["title"])
            assert float(row["score"]) == pytest.approx(item["score"], rel=1e-4)
    assert list(out.parent.iterdir()) == [out]


def _read(out: Path) -> list[dict[str, Any]]:
    if out.suffix == ".parquet":
        return pl.read_parquet(out).to_dicts()
    with out.open(encoding="utf-8") as stream:
        if out.suffix == ".csv":
            return list(csv.DictReader(stream))
        lines = [json.loads(line) for line in stream]
    return [{"user": line["user"], **item} for line in lines for item in line["items"]]


def test_more_than_there_is(
    trained: CommandLine, histories: dict[str, list[str]], titles: dict[str, str]
) -> None:
    (one,) = _asked(trained, "model=pop", "user=u1", "k=500")
    catalogue = {item for history in histories.values() for item in history}
    assert {item["item"] for item in one["items"]} == catalogue - set(histories["u1"])


def test_asking_trains_and_writes_no_run(trained: CommandLine) -> None:
    before = sorted(path for path in trained.runs_dir.rglob("*") if path.is_file())
    _asked(trained, "model=pop", "user=u1")
    assert sorted(path for path in trained.runs_dir.rglob("*") if path.is_file()) == before


MISTAKES = {
    "an unknown user": (["model=pop", "user=u9999"], "user=u9999", "u99"),
    "one unknown user of two": (["model=pop", "user=[u1,v1]"], "user=v1", "nearest ids"),
    "no user in the list": (["model=pop", "user=[]"], "user=[]", "names nobody"),
    "no finished run": (["model=lightgcn", "user=u1"], "model=lightgcn", "run.py model=lightgcn"),
    "an unknown run": (["model=pop", "user=u1", "run_id=nowhere/seed-1"], "run_id=nowhere", ""),
    "other data": (
        ["model=pop", "user=u1", "dataset.filters.min_rating=4"],
        "trained on other data",
        "dataset.filters",
    ),
    "a file for one user": (["model=pop", "user=u1", "out=x.csv"], "user=all", "out=FILE"),
    "all users and no file": (["model=pop", "user=all"], "out=FILE", ""),
    "a file of another kind": (["model=pop", "user=all", "out=x.xlsx"], "out=x.xlsx", ".parquet"),
    "a condition that is code": (
        ["model=pop", "user=u1", "where=__import__('os').system('true')"],
        "where=",
        "is not understood",
    ),
    "a history for a vector a user": (["model=bpr", "history=[i1]"], "no finished run", "bpr"),
    "an unknown item": (["model=pop", "history=[nothing of the sort]"], "nothing of the sort", ""),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes(what: str, trained: CommandLine) -> None:
    words, *told = MISTAKES[what]
    (pop,) = [run.path for run in trained.runs if run.run["model_key"] == "pop"]
    answer = trained(*ASK, *(word.format(pop=pop) for word in words))
    assert answer.code == 2, answer
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    for part in told:
        assert part in answer.err


def _numbered(tmp_path: Path) -> Path:
    folder = tmp_path / "numbered"
    folder.mkdir()
    rows = [
        f"{100 + user}\t{(user + 3 * step) % 40}\t{step}" for user in range(40) for step in range(5)
    ]
    head = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / "numbered.inter").write_text("\n".join([head, *rows]) + "\n")
    return folder


def test_numeric_ids(paddock: CommandLine, tmp_path: Path) -> None:
    here = ("dataset=atomic", f"dataset.source={_numbered(tmp_path)}", "model=pop")
    assert paddock(*here).code == 0
    for spelling in ("user=107", "user='107'", "user=[107]"):
        answer = paddock("mode=recommend", *here, "format=json", "k=3", spelling)
        assert answer.code == 0, answer.err
        (one,) = json.loads(answer.out)
        assert one["user"] == "107"
        assert len(one["items"]) == 3
        assert [item["title"] for item in one["items"]] == [""] * 3
    answer = paddock("mode=recommend", *here, "user=99")
    assert answer.code == 2
    # By value, not by spelling: 199 would be spelled nearer.
    assert "nearest ids are 100, 101, 102" in answer.err
