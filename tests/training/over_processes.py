"""What one process and several compute of the same: gradients, metrics, a run.

`python -m tests.training.over_processes FOLDER` under torchrun leaves there what its first process
computed; a test computes the same by itself, and compares.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from experiments.commands import train
from experiments.commands.identified import IdentifiedRun, prepared_run
from experiments.commands.phases import Phases
from experiments.commands.run import main
from experiments.config.compose import compose, typed
from experiments.config.experiment import Experiment
from experiments.evaluation import evaluate, generation, scoring
from experiments.files import write_json
from experiments.processes import rank
from experiments.runs.folder import RunFolder
from experiments.training import ranks
from experiments.training.build import Built, build
from experiments.training.stages import make_strategy
from tests.small_allmrec import SMALL

SEQUENTIAL = [
    "model.hidden_size=16",
    "model.inner_size=16",
    "model.hidden_dropout_prob=0",
    "model.attn_dropout_prob=0",
    "model.MAX_ITEM_LIST_LENGTH=12",
]
SASREC = ["model=sasrec", *SEQUENTIAL, "model.train_batch_size=33"]
ROWS = [
    "model=recbole",
    "model.name=MultiDAE",
    "model.strategy=rows",
    "model.mlp_hidden_size=[16]",
    "model.latent_dimension=8",
    "model.dropout_prob=0",
    "model.train_batch_size=31",
]
PROMPTS = ["model=a_llmrec", *SMALL, "model.generation_users=10", "protocol.scored_users=30"]

STEPS: dict[str, tuple[list[str], str]] = {
    "windows": (SASREC, "train"),
    "windows, fewer than processes": ([*SASREC, "model.train_batch_size=1"], "train"),
    "windows, gbce": ([*SASREC, "model.loss=gbce", "model.negatives=4"], "train"),
    "windows, sampled": ([*SASREC, "model.loss=sampled_softmax", "model.negatives=9"], "train"),
    "windows, clipped": ([*SASREC, "model.clip_grad_norm={max_norm:0.1}"], "train"),
    "masked": (["model=bert4rec", *SEQUENTIAL, "model.train_batch_size=33"], "train"),
    "rows": (ROWS, "train"),
    "align": (PROMPTS, "align"),
    "llm": (PROMPTS, "llm"),
}
"""Case -> the command and the stage whose first gradients are compared."""

MEASURED = {"sasrec": SASREC, "rows": ROWS, "a_llmrec": PROMPTS}
"""Case -> the command whose untrained model is measured."""

RUN = [*SASREC, "model.epochs=4", "checkpoint_seconds=0"]


class Enough(Exception):
    """The steps that are compared were taken."""


def arguments(folder: Path) -> list[str]:
    return [
        "dataset=tiny",
        "tracking=off",
        "device=cpu",
        "seed=1",
        "progress=false",
        f"runs_dir={folder}/runs",
        f"data_dir={folder}/data",
    ]


def identified(overrides: list[str], folder: Path) -> IdentifiedRun:
    config = typed(compose([*overrides, *arguments(folder)]))
    model = next(each for each in overrides if each.startswith("model=")).partition("=")[2]
    choices = {"dataset": "tiny", "protocol": "loo", "model": model}
    return prepared_run(Experiment.of(config, choices), phases=Phases())


def gradients(case: str, folder: Path, *, most: int = 6) -> dict[str, torch.Tensor]:
    """The gradients of the first steps, and the buffers after them; the weights stand still."""
    overrides, stage = STEPS[case]
    this, scratch = identified(overrides, folder), RunFolder(folder / "scratch")
    context = train._context(this, scratch)
    values = dict(this.experiment.model.stages)[stage]
    built = build(values, context)
    strategy = make_strategy(values["strategy"], built, context)
    found: dict[str, torch.Tensor] = {}
    taken = 0

    def step() -> None:
        nonlocal taken
        for name, weight in built.model.named_parameters():
            if weight.grad is not None:
                found[f"{taken} {name}"] = weight.grad.clone()
        taken += 1
        if taken == most:
            raise Enough

    (optimizer,) = strategy.optimizers.values()
    with patch.object(optimizer, "step", step), suppress(Enough):
        strategy.train_epoch(0, lambda done, total: None)
    return found | {f"buffer {name}": value for name, value in built.model.named_buffers()}


@contextmanager
def small_blocks() -> Iterator[None]:
    """Blocks of a few users, as large data has many of them."""
    with (
        patch.object(evaluate, "_BLOCK_BYTES", 40_000),
        patch.object(evaluate, "_MOST_USERS_OF_CANDIDATES", 7),
        patch.object(generation, "USERS_AT_ONCE", 3),
        patch("experiments.bridge.scorer.POSITIONS_AT_ONCE", 100),
    ):
        yield


def measured(case: str, folder: Path) -> tuple[dict[str, float], dict[str, list[Any]], int]:
    """The test metrics of an untrained model, the values of all users, and users scored here."""
    this = identified(MEASURED[case], folder)
    context = train._context(this, RunFolder(folder / "scratch"))
    built: Built = build(this.experiment.model.last, context)
    scored = 0
    score = scoring.RecBoleScorer.score

    def counted(self: Any, users_B: Any) -> torch.Tensor:
        nonlocal scored
        scored += len(users_B)
        return score(self, users_B)

    with small_blocks(), patch.object(scoring.RecBoleScorer, "score", counted):
        made = scoring.evaluation(
            built.model, built.dataset, "test", this.shared, this.experiment.config.protocol
        )
    return made.aggregates, made.per_user.to_dict(as_series=False), scored


def command(overrides: list[str], folder: Path) -> tuple[int, str]:
    """What run.py exits with and prints."""
    said = StringIO()
    with (
        patch.object(sys, "argv", ["run.py", *overrides, *arguments(folder)]),
        redirect_stdout(said),
        redirect_stderr(said),
    ):
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0), said.getvalue()
    return 0, said.getvalue()


def everything(folder: Path) -> None:
    """All of it, under torchrun."""
    torch.set_num_threads(1)
    made: dict[str, Any] = {"runs": [command(RUN, folder) for _ in range(2)]}
    # The second process looked before the run was finished, the first one behind it.
    with patch.object(IdentifiedRun, "finished", lambda run: None) if rank() else nullcontext():
        made["runs"].append(command(RUN, folder))
    with ranks.together(torch.device("cpu")):
        found = {case: gradients(case, folder) for case in STEPS}
        made["measured"] = {case: measured(case, folder) for case in MEASURED}
    refused = [
        ["model=bpr"],
        ["model=sasrec", "-m"],
        ["model=sasrec", "model.hidden_size=0"],
        ["mode=leaderboard"],
        ["model=ract"],
    ]
    # Only the first process to meet an error says it, once in a start of torchrun.
    made["refused"] = []
    for number, each in enumerate(refused):
        with patch("experiments.processes._attempt", lambda n=number: folder / f"attempt-{n}"):
            made["refused"].append(command(each, folder))
    write_json(folder / f"made-{rank()}.json", made)
    if rank() == 0:
        torch.save(found, folder / "gradients.pt")


if __name__ == "__main__":
    everything(Path(sys.argv[1]))
