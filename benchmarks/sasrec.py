"""SASRec: one pass over the training data, RecBole's loop and ours.

Both train the same next-item targets with the same parameters. RecBole takes a padded row for every
prefix; the windows strategy takes every position of a window in one pass, and moves the windows each
epoch. The mathematics differ in what a target sees (a prefix of up to L items, or its window's part
of it), so that this is the time of a pass, not of equal arithmetic.
"""

import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.measure import Measured
from benchmarks.setup_model import untrained
from experiments.memory import keep_freed_memory
from experiments.training.strategy import Strategy, Task, strategy

REPEATS = 3
SHARE = 0.1
"""RecBole's pass takes minutes: so much of its batches is run, and the time scaled up."""


def measure() -> Measured:
    """Interleave RecBole's batches with our passes and return seconds a pass of both."""
    torch.set_num_threads(1)
    keep_freed_memory()
    with TemporaryDirectory() as folder:
        ours = _strategy("windows", Path(folder))
        theirs = _strategy("recbole", Path(folder))
        ours.train_epoch(0, _ignore)
        measured = Measured(name="SASRec, seconds a pass over ml-100k (L=50, D=64, one thread)")
        for repeat in range(REPEATS):
            measured.theirs.append(_partial_pass(theirs))
            started = time.perf_counter()
            ours.train_epoch(repeat + 1, _ignore)
            measured.ours.append(time.perf_counter() - started)
    return measured


class EnoughMeasured(Exception):
    """Ends RecBole's epoch after its share of batches."""


def _partial_pass(theirs: Strategy) -> float:
    started = time.perf_counter()
    share = 0.0

    def tick(done: int, total: int) -> None:
        nonlocal share
        share = done / total
        if share >= SHARE:
            raise EnoughMeasured

    with suppress(EnoughMeasured):
        theirs.train_epoch(0, tick)
    return (time.perf_counter() - started) / share


def _strategy(name: str, folder: Path) -> Strategy:
    overrides = ["model=sasrec", f"model.strategy={name}"]
    if name == "recbole":
        overrides.append("model.train_batch_size=2048")
    made = untrained(overrides, folder)
    task = Task(
        model=made.model,
        config=made.recbole,
        dataset=made.dataset,
        split=made.shared.split,
        seed=1,
    )
    return strategy(name, task)


def _ignore(*_: Any) -> None:
    """A tick that nobody watches."""
