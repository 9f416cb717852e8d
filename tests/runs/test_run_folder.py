import json

import pytest

from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder, find_runs

from .run_folders import begin_run, end_run, epoch_record, make_run, result_of


def test_a_run_is_running_until_its_result_is_written(tmp_path):
    folder = begin_run(tmp_path, seed=3)
    assert folder.exists
    assert not folder.finished
    assert folder.run["finished"] is None
    assert folder.path.relative_to(tmp_path).parts[:2] == ("ml-100k", "loo")
    assert folder.path.name == "seed-3"
    end_run(folder)
    assert folder.finished
    assert folder.result == result_of(3)
    assert folder.run["started"] <= folder.run["finished"]
    assert folder.run["params_trained"] == 12345


def test_the_curve_goes_on_where_it_was_cut(tmp_path):
    folder = begin_run(tmp_path)
    records = [epoch_record(1, step) for step in range(5)]
    for record in records:
        folder.append_epoch(record)
    assert folder.curve == records
    folder.truncate_curve(2)
    assert folder.curve == records[:3]
    folder.append_epoch(records[3])
    assert folder.curve == records[:4]


def test_a_half_written_line_is_neither_read_nor_continued(tmp_path):
    folder = begin_run(tmp_path)
    folder.append_epoch(epoch_record(1, 0))
    with (folder.path / "curve.jsonl").open("a") as stream:
        stream.write(json.dumps(epoch_record(1, 1))[:40])
    assert folder.curve == [epoch_record(1, 0)]
    folder.append_epoch(epoch_record(1, 1))
    assert folder.curve == [epoch_record(1, 0), epoch_record(1, 1)]


def test_a_forced_repetition_leaves_no_number_behind(tmp_path):
    folder = make_run(tmp_path)
    folder.write_published({"run_id": "x"})
    again = begin_run(tmp_path)
    assert again == folder
    assert not again.finished
    assert again.curve == []
    assert again.published == {}
    assert not (again.path / "result.json").exists()


def test_runs_are_found_newest_first_and_filtered(tmp_path):
    old = make_run(tmp_path, seed=1)
    other = make_run(tmp_path, seed=1, model="pop", dataset="tiny")
    unfinished = begin_run(tmp_path, seed=2)
    for folder, year in ((old, 2020), (other, 2021), (unfinished, 2022)):
        folder.update(started=f"{year}-01-01T00:00:00+00:00")
    assert find_runs(tmp_path) == [unfinished, other, old]
    assert find_runs(tmp_path, finished=True) == [other, old]
    assert find_runs(tmp_path, finished=False) == [unfinished]
    assert find_runs(tmp_path, dataset="tiny") == [other]
    assert find_runs(tmp_path, protocol="other") == []
    assert find_runs(tmp_path, model="sasrec") == find_runs(tmp_path, model="SASREC")
    assert find_runs(tmp_path / "absent") == []


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(PaddockError, match=r"run\.json is missing"):
        _ = RunFolder(tmp_path).run
    folder = make_run(tmp_path)
    (folder.path / "result.json").write_text("{")
    with pytest.raises(PaddockError, match=r"result\.json is damaged: it is not valid JSON"):
        _ = folder.result
