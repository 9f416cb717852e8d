"""The command line, called in this process or in one of its own."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder, find_runs
from tests import fork_server

ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
    """What a command gave back."""

    code: int
    out: str
    err: str


class CommandLine:
    """run.py with everything that it writes under one folder, and without MLflow.

    The keys go into the command itself, where a user puts them: that they change no identity is
    part of what is tested.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs_dir = folder / "runs"
        self.data_dir = folder / "data"

    @property
    def runs(self) -> list[RunFolder]:
        return find_runs(self.runs_dir)

    @property
    def curves(self) -> list[Path]:
        """The curves that there are; may be asked while commands write, whose temporary folders go."""
        return list(self.runs_dir.glob("*/*/*/seed-*/curve.jsonl"))

    @property
    def places(self) -> list[str]:
        return [f"runs_dir={self.runs_dir}", f"data_dir={self.data_dir}"]

    def arguments(self, *overrides: str) -> list[str]:
        """The arguments of run.py; the tracking that a test asks for outranks none."""
        tracking = (
            [] if any(each.startswith("tracking=") for each in overrides) else ["tracking=off"]
        )
        return [*overrides, *tracking, *self.places]

    def __call__(self, *overrides: str) -> Answer:
        """Answer the command in this process."""
        from hydra.core.global_hydra import GlobalHydra

        from experiments.commands.run import main

        GlobalHydra.instance().clear()
        out, err = io.StringIO(), io.StringIO()
        with (
            _argv("run.py", *self.arguments(*overrides)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = _exit_code(main)
        GlobalHydra.instance().clear()
        return Answer(code, out.getvalue(), err.getvalue())

    def process(self, *overrides: str, options: tuple[str, ...] = ()) -> Answer:
        """Answer the command in a process of its own; with options of Python it is no fork."""
        done = fork_server.run(
            [sys.executable, *options, "run.py", *self.arguments(*overrides)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def trained(self, *overrides: str) -> RunFolder:
        """Run in this process and return the run folder, the newest one."""
        answer = self(*overrides)
        if answer.code != 0:
            raise PaddockError(answer.err)
        return self.runs[0]

    @property
    def complete(self) -> list[Path]:
        """Everything below the two folders that a later command would take for a finished product."""
        found = [
            path
            for folder in (self.runs_dir, self.data_dir)
            for path in folder.rglob("*")
            if path.is_file() and not path.name.endswith((".lock", ".tmp"))
        ]
        # Hydra notes what a grid was asked for.
        return [path for path in found if path != self.runs_dir / "multirun.yaml"]


def _exit_code(main: Callable[[], None]) -> int:
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextlib.contextmanager
def _argv(*arguments: str) -> Iterator[None]:
    before, sys.argv = sys.argv, list(arguments)
    try:
        yield
    finally:
        sys.argv = before
