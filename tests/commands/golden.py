"""The golden values of the smoke run, and the command that measures them again.

    python -m tests.commands.golden

rewrites tests/commands/golden.json; do that when a model or its training is meant to give other numbers,
and look at the difference before committing it.
"""

import json
import tempfile
from pathlib import Path

from .command_line import CommandLine

FILE = Path(__file__).with_name("golden.json")
COMMON = ("dataset=tiny", "seed=1", "device=cpu", "threads=1", "progress=false")
METRICS = ("test/full/ndcg_at_10", "test/c20/hit_at_1")

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
    return {metric: metrics[metric] for metric in METRICS}


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
