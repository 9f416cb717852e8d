"""One side of a pair, in a process of its own: an untrained model that trains a pass when asked.

    python -m benchmarks.side recbole|paddock OVERRIDES [DEVICE]

Every line on stdin asks for a turn: the most CPU seconds that it may take, or null for a whole pass.
Every line on stdout tells one, as JSON.
"""

import json
import sys
from contextlib import redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.measure import Seconds, now, peak_megabytes, since
from benchmarks.setup_model import CPU, untrained, untrained_peer
from experiments.training.memory import keep_freed_memory
from experiments.training.strategy import Strategy

WARM_UP_SECONDS = 1.0


class EnoughMeasured(Exception):
    """Ends a pass whose seconds are used up."""


def turn(strategy: Strategy, seconds: float | None, device: torch.device = CPU) -> dict[str, Any]:
    """One pass, or the seconds that it would take by those of its first batches.

    On a GPU, `seconds` are of the wall, and its work has ended whenever the clock is read. Of a pass
    that is cut short the first batch does not count: what comes before it (shuffling) would be
    scaled up with it.

    Returns
    -------
    dict
        `wall` and `cpu` seconds of a pass, the `share` of its batches that were timed, and the
        `peak` in MB of the process, or of the GPU's memory.
    """
    gpu = device.type == "cuda"

    def moment() -> Seconds:
        if gpu:
            torch.cuda.synchronize(device)
        return now()

    begin = first = last = moment()
    share, batches = 0.0, 0

    def tick(done: int, total: int) -> None:
        nonlocal first, last, share, batches
        batches, last = total, now()
        if done == 1:
            first = last = moment()
            return
        passed = since(first, last)
        if seconds is not None and done < total and (passed.wall if gpu else passed.cpu) >= seconds:
            last = moment()
            share = (done - 1) / total
            raise EnoughMeasured

    with suppress(EnoughMeasured):
        strategy.train_epoch(0, tick)
    taken = since(first, last) if share else since(begin, moment())
    found = {name: value / (share or 1.0) for name, value in asdict(taken).items()}
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if gpu else peak_megabytes()
    return {**found, "share": share or 1.0, "batches": batches, "peak": peak}


def main() -> None:
    side, overrides = sys.argv[1], json.loads(sys.argv[2])
    device = torch.device(*sys.argv[3:] or ["cpu"])
    torch.set_num_threads(1)
    answers = sys.stdout
    with TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        if side == "paddock":
            keep_freed_memory()  # as every run does
            made = untrained(overrides, Path(folder), device=device)
        else:
            made = untrained_peer(overrides, Path(folder), device=device)
        strategy = made.strategy()
        turn(strategy, WARM_UP_SECONDS, device)
        model = f"{type(made.model).__module__}.{type(made.model).__name__}"
        _tell(answers, {"model": model, "hyperparameters": made.values})
        for line in sys.stdin:
            _tell(answers, turn(strategy, json.loads(line), device))


def _tell(stream: Any, content: dict[str, Any]) -> None:
    print(json.dumps(content), file=stream, flush=True)


if __name__ == "__main__":
    main()
