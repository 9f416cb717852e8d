"""The golden values of the smoke run, and the command that measures them again.

    python -m tests.commands.golden

rewrites tests/commands/golden.json; do that when a model or its training is meant to give other
numbers, and look at the difference before committing it.

The tolerance is what the platform needs. Other processors, BLAS builds and numbers of threads sum
in another order, which moves the last bits of the weights. Measured on x86-64 with torch 2.13: two
threads in place of one, and AVX2 and SSE in place of AVX-512 (by ATEN_CPU_CAPABILITY,
ONEDNN_MAX_CPU_ISA, OPENBLAS_CORETYPE and MKL_CBWR), move no golden value at all, since values count
ranks; SSE moves the sum of all weights by up to 2e-6 of itself. Initial weights that are off by a random 1e-6,
1e-5 and even 1e-4 of themselves, a thousand times as much, move none either. One of the 200 users
may still stand on the edge of a place somewhere else: TOLERANCE is the most that one user's target
moves a mean by going from the first place to the second.

For scale: another seed moves the values by up to 0.03, and a model that learned nothing has an
NDCG@10 of 0.04 among all items.
"""

import json
import tempfile
from math import log2
from pathlib import Path

from .command_line import CommandLine

FILE = Path(__file__).with_name("golden.json")
COMMON = ("dataset=tiny", "seed=1", "device=cpu", "threads=1", "progress=false")
USERS = 200
TOLERANCE = {
    "test/full/ndcg_at_10": (1 - 1 / log2(3)) / USERS + 1e-9,
    "test/c20/hit_at_1": 1 / USERS + 1e-9,
}
"""Metric -> the absolute tolerance: 0.0018 and 0.005. Pop counts integers and needs none."""

RUNS: dict[str, tuple[str, ...]] = {
    "pop": ("model=pop",),
    "bpr": ("model=bpr", "model.epochs=20", "model.learning_rate=0.02"),
    "lightgcn": ("model=lightgcn", "model.epochs=10"),
    "sasrec": ("model=sasrec", "model.epochs=6"),
    "ract": (
        "model=ract",
        "model.stages.actor.epochs=20",
        "model.stages.critic.epochs=3",
        "model.stages.critic.eval_step=3",
        "model.stages.finetune.epochs=2",
    ),
}
"""Name -> what its command says beside COMMON."""


def measure(name: str, paddock: CommandLine) -> dict[str, float]:
    """Train one of the smoke runs and return its golden metrics."""
    metrics = paddock.trained(*COMMON, *RUNS[name]).result["metrics"]
    return {metric: metrics[metric] for metric in TOLERANCE}


def read() -> dict[str, dict[str, float]]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def main() -> None:
    measured = {}
    for name in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            measured[name] = measure(name, CommandLine(Path(folder)))
    FILE.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {FILE.name}: {json.dumps(measured)}")


if __name__ == "__main__":
    main()
