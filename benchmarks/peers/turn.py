"""One turn of one side: its child trains, and is asked for scores after each pass.

The same rule stops every side: its most passes, so many validations in a row without a better valid
NDCG@10, or its CPU seconds. The pass with the best valid NDCG@10 is the one that is tested.
"""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from benchmarks.peers.environments import OURS, interpreter
from benchmarks.peers.exchange import measured
from benchmarks.process import ONE_THREAD, ROOT
from experiments.protocol.split import Split

CHILD = Path(__file__).with_name("child.py")
LIBRARIES = Path(__file__).with_name("libraries")
THREADS = ONE_THREAD | dict.fromkeys(
    (
        "NUMBA_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "LK_NUM_THREADS",
        "LK_NUM_BACKEND_THREADS",
        "LK_NUM_PROCS",
    ),
    "1",
)
_WALL_SECONDS = 900.0
"""What a pass may take beside its CPU seconds before the child is ended: imports, a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """What a library trains: one of its models.

    Attributes
    ----------
    library
        Name of its adapter and its requirements.
    model
        Name of the adapter's model.
    settings
        Hyper-parameters.
    passes
        The most passes.
    note
        Where the hyper-parameters come from.
    """

    library: str
    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    passes: int = 1
    note: str = ""


@dataclass(kw_only=True)
class Turn:
    """What one turn of a side gave.

    Attributes
    ----------
    curve
        Pass by pass: CPU and wall seconds of training so far, valid metrics.
    tested
        Test metrics of the best pass.
    stopped
        Why it ended.
    peak_megabytes
        The most memory held until the end of the first pass, before anything was scored.
    """

    side: Side
    seed: int
    curve: list[dict[str, Any]] = field(default_factory=list)
    tested: dict[str, float] = field(default_factory=dict)
    stopped: str = ""
    peak_megabytes: float = 0.0
    scoring_cpu_seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> dict[str, Any]:
        """The first pass with the best valid NDCG@10."""
        return max(self.curve, key=lambda each: (each["ndcg_at_10"], -each["pass"]))

    def summary(self) -> dict[str, Any]:
        """All of it as JSON."""
        return asdict(self) | {"best": self.best if self.curve else None}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a turn ends: CPU seconds of training, and validations without a better one."""

    seconds: float
    patience: int
    threads: int = 1


def take_turn(
    side: Side, *, split: Split, data: Path, seed: int, rules: Rules, context: dict[str, Any]
) -> Turn:
    """Train a side's model from scratch in a child of its own.

    Raises
    ------
    benchmarks.peers.environments.Unavailable
        Where the library cannot be had.
    RuntimeError
        Where the child fails before its first pass, with the last lines that it said.
    """
    python = interpreter(side.library)
    turn = Turn(side=side, seed=seed)
    with TemporaryDirectory() as folder:
        request = Path(folder) / "request.json"
        content = {
            "adapter": str(LIBRARIES / f"{side.library}.py"),
            "model": side.model,
            "settings": side.settings,
            "passes": side.passes,
            "data": str(data),
            "seed": seed,
            "threads": rules.threads,
            "folder": folder,
            "context": context,
        }
        request.write_text(json.dumps(content), encoding="utf-8")
        with _child(python, request, ours=side.library == OURS) as process:
            _follow(process, turn, split=split, folder=Path(folder), rules=rules)
            if not turn.stopped:
                said = (Path(folder) / "stderr").read_text(encoding="utf-8", errors="replace")
                turn.stopped = "failed: " + " | ".join(said.strip().splitlines()[-3:])
    return turn


@contextmanager
def _child(python: Path, request: Path, *, ours: bool) -> Iterator["subprocess.Popen[str]"]:
    environment = os.environ | THREADS | {"PYTHONWARNINGS": "ignore"}
    # Another project's path would lead a library to modules that are not of its environment.
    environment.pop("PYTHONPATH", None)
    if ours:
        environment["PYTHONPATH"] = str(ROOT)
    with (request.parent / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [str(python), "-P", str(CHILD), str(request)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _follow(
    process: "subprocess.Popen[str]", turn: Turn, *, split: Split, folder: Path, rules: Rules
) -> None:
    """Listen to a child until it is done or has had enough."""
    assert process.stdin is not None
    assert process.stdout is not None
    answers: IO[str] = process.stdin
    scores = folder / "scores"

    def ask(content: dict[str, Any]) -> dict[str, Any]:
        answers.write(json.dumps(content) + "\n")
        answers.flush()
        return _line(process, rules.seconds, turn)

    line = _line(process, rules.seconds, turn)
    while "pass" in line:
        if not turn.curve:
            turn.peak_megabytes, turn.facts = line["peak"], line["facts"]
        a_pass = {"pass": line["pass"], "cpu": line["cpu"], "wall": line["wall"]}
        line = ask({"score": "valid", "to": str(scores)})
        if "scored" not in line:
            return
        turn.scoring_cpu_seconds = line["cpu"]
        turn.curve.append(a_pass | measured(split, "valid", scores))
        if turn.best is turn.curve[-1]:
            line = ask({"score": "test", "to": str(scores)})
            if "scored" not in line:
                return
            turn.tested = measured(split, "test", scores)
        turn.stopped = _reason(turn, rules)
        line = ask({"stop": bool(turn.stopped)})
    if "done" in line and turn.curve and not turn.stopped:
        turn.stopped = "done"


def _line(process: "subprocess.Popen[str]", seconds: float, turn: Turn) -> dict[str, Any]:
    """The next line of a child; an empty one where it ended, or takes far too long and is ended."""
    assert process.stdout is not None

    def too_long() -> None:
        turn.stopped = f"no pass within {3 * seconds + _WALL_SECONDS:.0f} wall seconds"
        process.kill()

    timer = threading.Timer(3 * seconds + _WALL_SECONDS, too_long)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    found: dict[str, Any] = json.loads(line) if line else {}
    return found


def _reason(turn: Turn, rules: Rules) -> str:
    """Why a turn ends here; nothing where it goes on."""
    last, best = turn.curve[-1], turn.best
    if last["pass"] >= turn.side.passes:
        return "all passes"
    if last["cpu"] >= rules.seconds:
        return "seconds"
    return "patience" if 0 < rules.patience <= last["pass"] - best["pass"] else ""
