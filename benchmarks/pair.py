"""Two processes, RecBole's and ours, that train by turns: neither works while the other is timed."""

import json
import subprocess
import sys
from types import TracebackType
from typing import Any

from benchmarks.process import ROOT, one_thread


class Side:
    """A process of `benchmarks.side`.

    Attributes
    ----------
    facts
        The model's class and its hyper-parameters.
    """

    def __init__(self, side: str, overrides: list[str], *, device: str = "cpu") -> None:
        self._name = side
        arguments = ["-m", "benchmarks.side", side, json.dumps(overrides), device]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *arguments],
            cwd=ROOT,
            env=one_thread(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self._answer()

    def turn(self, seconds: float | None) -> dict[str, Any]:
        """One pass, or one that is estimated within so many CPU seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(seconds)}\n")
        self._process.stdin.flush()
        return self._answer()

    def __enter__(self) -> "Side":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if kind is not None:
            self._process.terminate()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found
