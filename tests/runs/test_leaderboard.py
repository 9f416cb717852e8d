import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments.errors import PaddockError
from experiments.runs.folder import find_runs, read_runs
from experiments.runs.leaderboard import Row, leaderboard, render

from .run_folders import HASHES, begin_run, make_run, result_of

NDCG, HIT = "test/full/ndcg_at_10", "test/c20/hit_at_1"


def scored(ndcg: float, hit: float) -> dict:
    result = result_of(1)
    result["metrics"] |= {NDCG: ndcg, HIT: hit}
    return result


def shown(rows: list[Row], *, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard")
    render(rows, console)
    return console.file.getvalue()


def plain(rows: list[Row], *, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width, record=True)
    render(rows, console)
    return console.export_text()


def test_rows_hold_mean_and_sample_deviation_over_seeds(tmp_path):
    for seed in (1, 2, 3):
        make_run(tmp_path, seed=seed)
    make_run(tmp_path, model="pop")
    rows = leaderboard(find_runs(tmp_path), metrics=[NDCG, HIT])
    row = next(row for row in rows if row.model_key == "sasrec")
    assert row.label == "sasrec"
    assert row.seeds == (1, 2, 3)
    assert row.train_seconds == pytest.approx(np.mean([11, 12, 13]))
    for name in (NDCG, HIT):
        values = [result_of(seed)["metrics"][name] for seed in (1, 2, 3)]
        assert row.means[name] == pytest.approx(np.mean(values))
        assert row.stds[name] == pytest.approx(np.std(values, ddof=1))
    pop = next(row for row in rows if row.model_key == "pop")
    assert pop.seeds == (1,)
    assert pop.stds == {}


def test_rows_are_sorted_by_the_metric_that_selects(tmp_path):
    make_run(tmp_path, model="bpr", result=scored(0.2, 0.9))
    make_run(tmp_path, model="pop", result=scored(0.1, 0.8))
    make_run(tmp_path, model="sasrec", result=scored(0.3, 0.1))
    # Also where that metric is no column.
    rows = leaderboard(find_runs(tmp_path), metrics=[HIT])
    assert [row.model_key for row in rows] == ["sasrec", "bpr", "pop"]


def test_errors_are_better_when_lower_and_what_lists_are_like_is_not_ranked(tmp_path):
    rmse, gini = "test/ratings/rmse", "test/full/gini_at_10"
    for model, value in (("bpr", 0.9), ("sasrec", 0.8), ("pop", 1.1)):
        result = scored(value, value)
        result["metrics"] |= {rmse: value, gini: value}
        make_run(tmp_path, model=model, result=result)
    rows = leaderboard(find_runs(tmp_path), metrics=[NDCG, rmse, gini])
    assert {row.model_key: row.marks for row in rows} == {
        "pop": {NDCG: "best"},
        "bpr": {NDCG: "second", rmse: "second"},
        "sasrec": {rmse: "best"},
    }


def test_a_column_is_shown_where_a_run_that_compares_has_it(tmp_path):
    rmse = "test/ratings/rmse"
    for seed in (1, 2):
        make_run(tmp_path, model="pop", seed=seed, result=scored(0.2, 0.2))
    rated = scored(0.1, 0.1)
    rated["metrics"][rmse] = 0.9
    make_run(tmp_path, model="bpr", result=rated, hashes={**HASHES, "split": "other"})
    rows = leaderboard(find_runs(tmp_path), metrics=[NDCG], where_known=[rmse])
    assert [(row.model_key, list(row.means)) for row in rows if not row.left_out] == [
        ("pop", [NDCG])
    ]
    make_run(tmp_path, model="sasrec", result=rated)
    rows = leaderboard(find_runs(tmp_path), metrics=[NDCG], where_known=[rmse])
    assert all(list(row.means) == [NDCG, rmse] for row in rows if not row.left_out)


def test_the_best_is_bold_and_the_second_underlined(tmp_path):
    make_run(tmp_path, model="bpr", result=scored(0.2, 0.9))
    make_run(tmp_path, model="pop", result=scored(0.1, 0.8))
    make_run(tmp_path, model="sasrec", result=scored(0.3, 0.9))
    rows = leaderboard(find_runs(tmp_path), metrics=[NDCG, HIT])
    assert [row.marks for row in rows] == [
        {NDCG: "best", HIT: "best"},
        {NDCG: "second", HIT: "best"},
        {HIT: "second"},
    ]
    sasrec, bpr, pop = shown(rows).splitlines()[-3:]
    assert "\x1b[1m0.3000\x1b[0m" in sasrec
    assert "\x1b[1m0.9000\x1b[0m" in sasrec
    assert "\x1b[4m0.2000\x1b[0m" in bpr
    assert "\x1b[1m0.9000\x1b[0m" in bpr
    assert "\x1b[4m0.8000\x1b[0m" in pop


def test_a_row_alone_is_not_the_best(tmp_path):
    make_run(tmp_path)
    (row,) = leaderboard(find_runs(tmp_path), metrics=[NDCG])
    assert row.marks == {}


def test_rankings_are_grouped_with_the_full_one_first(tmp_path):
    make_run(tmp_path)
    rows = leaderboard(find_runs(tmp_path))
    assert set(rows[0].means) == {
        "test/full/hit_at_1",
        "test/full/hit_at_10",
        "test/full/ndcg_at_10",
        "test/c20/hit_at_1",
        "test/c20/hit_at_10",
        "test/c20/ndcg_at_10",
    }
    first, second, *_ = plain(rows).splitlines()
    assert first.split() == ["full", "c20"]
    expected = "model seeds hit@1 hit@10 ndcg@10 hit@1 hit@10 ndcg@10 train s"
    assert second.split() == expected.split()


def test_configurations_of_one_model_are_told_apart(tmp_path):
    make_run(tmp_path, lr=0.001)
    make_run(tmp_path, lr=0.01)
    make_run(tmp_path, model="pop")
    labels = {row.label for row in leaderboard(find_runs(tmp_path), metrics=[NDCG])}
    assert labels == {
        "pop",
        "sasrec learning_rate=0.001",
        "sasrec learning_rate=0.01",
    }


def test_what_does_not_compare_is_left_out_with_the_reason(tmp_path):
    for seed in (1, 2):
        make_run(tmp_path, seed=seed)
    make_run(tmp_path, model="bpr")
    make_run(tmp_path, model="other", dataset="tiny")
    make_run(tmp_path, model="stale", hashes=HASHES | {"candidates_c20": "e" * 64})
    make_run(tmp_path, model="fewer", hashes={"dataset": "d" * 64, "split": "5" * 64})
    begin_run(tmp_path, model="busy")
    broken = make_run(tmp_path, model="broken")
    (broken.path / "result.json").write_text("{")
    rows = leaderboard(find_runs(tmp_path), metrics=[NDCG])
    reasons = {row.model_key: row.left_out for row in rows}
    assert reasons["sasrec"] == reasons["bpr"] == ""
    assert reasons["other"] == "answers another question: tiny/loo instead of ml-100k/loo"
    assert (
        reasons["stale"] == "answers another question: candidates c20 hash eeeeee instead of cccccc"
    )
    assert (
        reasons["fewer"] == "answers another question: candidates c20 hash none instead of cccccc"
    )
    assert reasons["busy"] == "not finished"
    assert "result.json is damaged: it is not valid JSON" in reasons["broken"]
    assert all(not row.means for row in rows if row.left_out)
    text = plain(rows)
    assert "left out: stale (seed 1): answers another question: candidates c20 hash eeeeee" in text
    assert "left out: busy (seed 1): not finished" in text


def test_one_configuration_on_two_versions_of_the_data_is_not_averaged(tmp_path):
    for seed in (1, 2):
        make_run(tmp_path, seed=seed)
    make_run(tmp_path, seed=3, hashes=HASHES | {"dataset": "e" * 64})
    kept, out = leaderboard(find_runs(tmp_path), metrics=[NDCG])
    assert (kept.seeds, out.seeds) == ((1, 2), (3,))
    assert out.left_out == "answers another question: dataset hash eeeeee instead of dddddd"
    assert kept.label == out.label == "sasrec"


def test_uncommitted_code_is_noted(tmp_path):
    make_run(tmp_path, seed=1, dirty=True)
    make_run(tmp_path, seed=2)
    (row,) = leaderboard(find_runs(tmp_path), metrics=[NDCG])
    assert row.flags == ("uncommitted",)
    assert "uncommitted" in plain([row])


def test_notes_stand_below_the_table_each_once(tmp_path):
    note = "reads no valid item, and is trained on another part of the users than the others are"
    for model, dirty, notes in (("bpr", True, [note]), ("pop", False, [note]), ("ease", False, [])):
        folder = make_run(tmp_path, model=model, dirty=dirty)
        tags = {f"paddock.note.{number}": text for number, text in enumerate(notes)}
        folder.update(tags=folder.run["tags"] | tags)
    text = plain(leaderboard(find_runs(tmp_path)), width=80)
    # The foot-notes are numbered in the order of the rows, and a row has its numbers in order.
    below = dict(re.findall(r"^ ([¹²]) (\w+)", text, re.MULTILINE))
    number = {word: mark for mark, word in below.items()}
    assert set(number) == {"uncommitted", "reads"}
    assert re.search("^ bpr ¹ ²  ", text, re.MULTILINE)
    assert re.search(f"^ pop {number['reads']}  ", text, re.MULTILINE)
    assert re.search("^ ease   ", text, re.MULTILINE)
    assert note in " ".join(text.split())
    assert text.count("reads no valid item") == 1


def words_of(text: str) -> set[str]:
    return set(text.replace("(", " ").replace(")", " ").split())


def test_a_narrow_terminal_shows_whole_words_and_the_metrics_that_matter(tmp_path):
    for seed in (1, 2, 3):
        for lr in (0.001, 0.01):
            make_run(tmp_path, seed=seed, lr=lr)
        make_run(tmp_path, model="pop", seed=seed, dirty=True)
    make_run(tmp_path, model="ease", hashes=HASHES | {"candidates_c20": "e" * 64})
    again = make_run(tmp_path, model="bpr", seed=1)
    again.update(
        config={
            **again.run["config"],
            "protocol": {**again.run["config"]["protocol"], "refit": "valid"},
        }
    )
    rows = leaderboard(find_runs(tmp_path))
    wide, narrow = plain(rows), plain(rows, width=80)
    assert all(len(line) <= 80 for line in narrow.splitlines())
    cut = words_of(narrow) - words_of(wide)
    assert cut <= words_of(
        "No room for full hit@1, c20 hit@1, c20 hit@10, c20 ndcg@10: a wider terminal shows more."
    )
    head = narrow.splitlines()[1]
    assert head.split() == ["model", "seeds", "hit@10", "ndcg@10", "train", "s"]
    assert "…" not in narrow
    for row in rows:
        for name in ("test/full/ndcg_at_10", "test/full/hit_at_10") if row.means else ():
            assert f"{row.means[name]:.4f}" in narrow
    assert "No room" not in wide


def test_a_run_is_shown_among_those_that_compare_with_it(tmp_path):
    for model, value in (("bpr", 0.2), ("pop", 0.1), ("sasrec", 0.3)):
        make_run(tmp_path, model=model, result=scored(value, value))
    elsewhere = HASHES | {"split": "6" * 64}
    for model, value in (("bpr", 0.9), ("pop", 0.8)):
        own = make_run(tmp_path, model=model, lr=0.5, result=scored(value, value), hashes=elsewhere)
    rows = leaderboard(find_runs(tmp_path), metrics=[NDCG], of=own)
    assert [(row.means[NDCG], row.asked_for) for row in rows] == [(0.9, False), (0.8, True)]
    (marked,) = (line for line in plain(rows).splitlines() if line.startswith(" →  "))
    assert marked.split()[1:3] == ["pop", "1"]
    assert "→ this configuration: place 2 of 2 by full ndcg@10" in plain(rows)
    # Without others there is nothing to be marked among.
    alone = make_run(tmp_path, model="ease", hashes=HASHES | {"split": "7" * 64})
    rows = leaderboard(find_runs(tmp_path), metrics=[NDCG], of=alone)
    assert [row.model_key for row in rows] == ["ease"]
    assert "→" not in plain(rows)


def test_of_a_long_table_a_run_shows_the_best_and_its_neighbours(tmp_path):
    for place in range(1, 31):
        made = make_run(tmp_path, lr=place / 100, result=scored(1 - place / 100, 0.5))
        if place == 20:
            own = made
    text = plain(leaderboard(find_runs(tmp_path), metrics=[NDCG], of=own))
    shown_places = [round((1 - float(found)) * 100) for found in re.findall(r" (0\.\d{4}) ", text)]
    assert shown_places == [*range(1, 6), *range(17, 24)]
    assert "… 11 more" in text
    assert "… 7 more" in text
    assert "place 20 of 30" in text


def test_a_metric_that_a_seed_lacks_is_a_dash(tmp_path):
    lacking = result_of(1)
    del lacking["metrics"][HIT]
    make_run(tmp_path, model="pop", result=lacking)
    make_run(tmp_path, model="bpr", result=scored(0.9, 0.9))
    rows = leaderboard(find_runs(tmp_path), metrics=[HIT])
    # A value alone is not the best of anything.
    assert [row.marks for row in rows] == [{}, {}]
    assert rows[0].means == {HIT: 0.9}
    (pop,) = [line for line in plain(rows).splitlines() if line.split()[:1] == ["pop"]]
    assert pop.split()[1:3] == ["1", "–"]


def test_a_seed_that_was_trained_twice_counts_once(tmp_path):
    make_run(tmp_path, seed=1)
    make_run(tmp_path, model="sasrec-too", seed=1)
    again = find_runs(tmp_path)
    for folder in again:
        result = folder.result
        folder.update(config_hash="a" * 64)
        folder.write_result(result)  # it is sealed for its configuration
    kept, out = leaderboard(again, metrics=[NDCG])
    assert kept.seeds == out.seeds == (1,)
    assert re.match(r"repeats run .*/sasrec-\w+/seed-1 with the same seed", out.left_out)


def test_an_unknown_metric_is_named_with_those_that_exist(tmp_path):
    make_run(tmp_path)
    with pytest.raises(PaddockError, match=r"'test/full/mrr'.*test/full/ndcg_at_10"):
        leaderboard(find_runs(tmp_path), metrics=["test/full/mrr"])


def test_run_json_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [make_run(tmp_path, seed=seed) for seed in (1, 2)]
    opened: list[str] = []
    own = Path.read_bytes

    def counted(path: Path) -> bytes:
        opened.append(str(path))
        return own(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    (row,) = leaderboard(read_runs(tmp_path, finished=True), metrics=[NDCG])
    assert row.seeds == (1, 2)
    assert sorted(opened) == sorted(
        str(folder.path / name) for folder in folders for name in ("run.json", "result.json")
    )


def test_an_empty_leaderboard_says_so(tmp_path):
    rows = leaderboard(find_runs(tmp_path), metrics=[NDCG])
    assert rows == []
    assert "No finished runs." in plain(rows)
