"""What the machine refuses ends a command with one sentence, and leaves nothing half-written."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .command_line import ROOT, Answer, CommandLine

POP = ("model=pop", "dataset=tiny")


def failed(answer: Answer, *told: str) -> None:
    """Exit code 1 and one line that holds everything in `told`."""
    assert answer.code == 1, answer
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ")
    for part in told:
        assert part in line, f"{part!r} is not in {line!r}"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set, prepared by a run that succeeds."""
    command = CommandLine(tmp_path_factory.mktemp("data"))
    command.trained(*POP)
    return command.data_dir


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 kB."""
    place = tmp_path / "full"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this user may mount nothing")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_file_where_a_folder_should_be(paddock: CommandLine, data: Path) -> None:
    file = paddock.folder / "file"
    file.write_text("mine")
    paddock.data_dir = file
    failed(paddock(*POP), f"{file}: a file lies where a folder should be")
    paddock.data_dir, paddock.runs_dir = data, file
    failed(paddock(*POP), f"{file}: a file lies where a folder should be")
    paddock.runs_dir = file / "deeper"
    failed(paddock(*POP), str(file), "a file lies where a folder should be")
    assert file.read_text() == "mine"


def test_a_place_where_nothing_can_be_made(paddock: CommandLine, data: Path) -> None:
    """There filelock alone would wait for ever."""
    paddock.data_dir = Path("/proc/self")
    failed(paddock(*POP), "/proc/self/.tiny-", "it is not there and cannot be made")
    paddock.data_dir, paddock.runs_dir = data, Path("/proc/self/runs")
    failed(paddock(*POP), "/proc/self/runs", "it is not there and cannot be made")
    paddock.runs_dir = paddock.folder / ("x" * 300)
    failed(paddock(*POP), "x" * 300, "the name is too long")
    circle = paddock.folder / "circle"
    circle.symlink_to(circle)
    paddock.runs_dir = circle / "runs"
    failed(paddock(*POP), str(circle))


def test_a_full_disk(paddock: CommandLine, data: Path, full: Path) -> None:
    paddock.data_dir = full / "data"
    failed(paddock(*POP), f"{full}/data/tiny-", "no space is left there")
    assert paddock.complete == []
    paddock.data_dir, paddock.runs_dir = data, full / "runs"
    failed(paddock(*POP), f"{full}/runs/tiny/loo/pop-", "no space is left there")
    assert not any(run.finished for run in paddock.runs)


def test_a_limit_on_the_size_of_files(
    paddock: CommandLine, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is written by libraries that wrap the system's error: checkpoints, Parquet."""
    # Python does not look whether it wrote all of a module's bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    paddock.data_dir = data
    for size, name in ((600, "seed-1/"), (6000, "seed-1/")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            answer = paddock("model=bpr", "dataset=tiny", "model.epochs=2", "checkpoint_seconds=0")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        failed(answer, name, "grow beyond the limit")
    again = paddock("model=bpr", "dataset=tiny", "model.epochs=2", "checkpoint_seconds=0")
    assert again.code == 0, again.err


def test_a_failure_in_a_grid_names_its_job(paddock: CommandLine, data: Path) -> None:
    paddock.data_dir = data
    paddock.runs_dir.mkdir()
    (paddock.runs_dir / "tiny").write_text("")
    answer = paddock("-m", *POP, "seed=1,2")
    assert answer.code == 1
    last = answer.err.splitlines()[-1]
    assert last.startswith(f"error: {paddock.runs_dir / 'tiny'}: a file lies where a folder")
    assert "[in model=pop dataset=tiny seed=1" in last
    assert "Traceback" not in answer.err


def test_a_damaged_yaml_file(paddock: CommandLine, tmp_path: Path) -> None:
    model = tmp_path / "plugin" / "conf" / "model"
    model.mkdir(parents=True)
    (model / "mine.yaml").write_text("name: BPR\nepochs: [1, 2\nkeep: best\n")
    answer = paddock("model=mine", "dataset=tiny", f"plugins=[{tmp_path / 'plugin'}]")
    failed(answer, f"{model / 'mine.yaml'}, line 3", "is not YAML")
    assert paddock.complete == []


def test_a_traceback_is_there_for_who_asks(
    paddock: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    paddock.runs_dir = Path("/dev/null")
    monkeypatch.setenv("PADDOCK_TRACEBACK", "1")
    answer = paddock(*POP)
    assert answer.code == 1
    assert "Traceback (most recent call last)" in answer.err
    assert answer.err.splitlines()[-1].startswith("error: /dev/null")


@pytest.mark.parametrize("command", [["run.py", "--help"], ["-m", "reports", "--help"]])
def test_an_output_that_takes_no_more(command: list[str]) -> None:
    def answer(out: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    full = os.open("/dev/full", os.O_WRONLY)
    said = answer(full)
    os.close(full)
    assert (said.returncode, said.stderr.count("\n")) == (1, 1), said
    assert said.stderr.startswith("error: the output: no space is left")

    read, write = os.pipe()
    os.close(read)
    left = answer(write)
    os.close(write)
    assert (left.returncode, left.stderr) == (1, "")


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    """Asked of the module itself: no store is read before the place is known."""
    from reports.write import write_folder

    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OSError, match=str(file)):
        write_folder(file / "report", {"index.html": "x"})
