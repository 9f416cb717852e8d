"""A-LLMRec's stage 2 and its ranking of 20 candidates, against a plain way of doing both.

The plain way (`benchmarks/llm_plain.py`) was written for this benchmark alone. Both sides have the same
weights, users and candidates; their scores and losses are compared too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.data.interaction import Interaction
from torch import Tensor

from benchmarks.llm_plain import Plain
from benchmarks.measure import Measured, Seconds, timed
from experiments.bridge.candidates import CandidateScorer
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.compose import compose, typed
from experiments.config.resolve import resolve_model
from experiments.protocol.shared_data import SharedData, shared_data
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.strategies.targets import Targets
from experiments.training.strategy import Task
from models.allmrec import ALLMRec

OVERRIDES = ["model=a_llmrec", "dataset=ml-100k", "model.stages.llm.train_batch_size=2"]
TURNS = 3
RANKED, TRAINED = 16, 32
"""Users that are ranked, and samples that are trained on, in a turn."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A model of the second stage, and what it is trained and ranked on.

    Attributes
    ----------
    tolerance
        How far scores and losses of the two sides may be apart.
    peaks
        Bytes that a side held on a GPU at the most, with the language model.
    """

    model: ALLMRec
    task: Task
    shared: SharedData
    plain: Plain
    name: str
    ranked: int = RANKED
    trained: int = TRAINED
    turns: int = TURNS
    tolerance: float = 1e-3
    peaks: dict[str, int] = field(default_factory=dict)

    def users(self, turn: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The users of a turn, (U,), with their candidates, (U, C)."""
        given = self.shared.candidates["test"]["c20"]
        rows = np.linspace(turn, len(given.users) - 1, self.ranked).astype(np.int64)
        return given.users[rows].astype(np.int64), given.items_TC[rows].astype(np.int64)

    def read(self, users: NDArray[np.int64]) -> Interaction:
        """The users' histories, as the model reads them before the test."""
        history = self.shared.split.history("test")
        return RecBoleScorer(self.model, dataset=self.task.dataset, history=history)._batch(users)

    def samples(self, turn: int) -> Interaction:
        """A turn's training samples as they are drawn, with 19 negatives each."""
        targets = Targets(replace(self.task, seed=self.task.seed + turn), positions="last")
        users, places = (drawn[: self.trained] for drawn in targets.drawn())
        batch = targets.batch(users, places)
        wanted = batch[self.model.POS_ITEM_ID]
        named_BC = torch.cat([wanted[:, None], targets.negatives(users, 19)], dim=1)
        batch.interaction["candidates"] = named_BC
        return batch


def measure() -> Iterator[Measured]:
    """Seconds for the same users and samples, by turns; ours are trained and ranked by the engine."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        name = "the tiny language model, ml-100k"
        bench = bench_of(OVERRIDES, name=name, folder=Path(folder), device=torch.device("cpu"))
        yield ranking(bench)
        yield training(bench)


def bench_of(
    overrides: list[str], *, name: str, folder: Path, device: torch.device, **sizes: Any
) -> Bench:
    """The second stage of a configuration, untrained, beside the plain way."""
    config = typed(compose(overrides))
    shared = shared_data(config)
    values = resolve_model(config.model).stages["llm"]
    model, dataset, recbole = build(
        values,
        TrainingContext(data=shared.data, split=shared.split, seed=1, device=device, folder=folder),
    )
    return Bench(
        model=model,
        task=Task(model=model, config=recbole, dataset=dataset, split=shared.split, seed=1),
        shared=shared,
        plain=Plain(model, shared.data.item_titles, values["words"]),
        name=name,
        **sizes,
    )


def ranking(bench: Bench) -> Measured:
    """Users who have their 20 candidates ranked."""
    measured = Measured(name=f"A-LLMRec ranking of 20 candidates by {bench.name}")
    model, history = bench.model, bench.shared.split.history("test")
    scorer = CandidateScorer(model, dataset=bench.task.dataset, history=history)
    model.eval()
    for turn in range(bench.turns):
        users, items = bench.users(turn)
        bench.plain.states = model._states(bench.read(users))
        with _timed(bench, "plain") as theirs:
            expected = torch.stack(
                [
                    bench.plain.rank(row, history.of(int(user))[-10:].tolist(), items[row].tolist())
                    for row, user in enumerate(users)
                ]
            )
        with _timed(bench, "ours") as ours:
            found = scorer.score_candidates(users, items)
        torch.testing.assert_close(
            found.cpu().float(), expected.cpu(), atol=bench.tolerance, rtol=0
        )
        measured.add(theirs, ours)
    _facts(measured, bench, "users", bench.turns * bench.ranked)
    return measured


def training(bench: Bench) -> Measured:
    """The plain way takes the samples as they are drawn; ours puts similar lengths together."""
    size = int(bench.task.config["train_batch_size"])
    measured = Measured(name=f"A-LLMRec stage 2 with {bench.name}, batches of {size}")
    model = bench.model
    model.train()
    for turn in range(bench.turns):
        batch = bench.samples(turn)
        drawn = [batch[piece] for piece in torch.arange(bench.trained).split(size)]
        if turn == 0:
            expected = [_backward(_plain_loss(bench.plain, model, piece), model) for piece in drawn]
            found = [_backward(model.calculate_loss(piece), model) for piece in drawn]
            np.testing.assert_allclose(found, expected, atol=bench.tolerance)
        with _timed(bench, "plain") as theirs:
            for piece in drawn:
                _backward(_plain_loss(bench.plain, model, piece), model)
        with _timed(bench, "ours") as ours:
            order = torch.argsort(model.prompt_lengths(batch), stable=True)
            for rows in order.split(size):
                _backward(model.calculate_loss(batch[rows]), model)
        measured.add(theirs, ours)
    _facts(measured, bench, "samples", bench.turns * bench.trained)
    return measured


@contextmanager
def _timed(bench: Bench, side: str) -> Iterator[Seconds]:
    device = bench.model.llm.device
    settle(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with timed() as seconds:
        yield seconds
        settle(device)
    if device.type == "cuda":
        held = torch.cuda.max_memory_allocated(device)
        bench.peaks[side] = max(held, bench.peaks.get(side, 0))


def settle(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _facts(measured: Measured, bench: Bench, what: str, n: int) -> None:
    for clock, theirs, ours in (
        ("cpu_second", measured.theirs_cpu, measured.ours_cpu),
        ("second", measured.theirs, measured.ours),
    ):
        measured.facts[f"{what}_per_{clock}"] = {"plain": n / sum(theirs), "ours": n / sum(ours)}
    if bench.peaks:
        measured.facts["peak_megabytes"] = {
            side: held / 2**20 for side, held in bench.peaks.items()
        }
        bench.peaks.clear()


def _plain_loss(plain: Plain, model: ALLMRec, piece: Any) -> Tensor:
    plain.states = model._states(piece, train=True)
    rows = [
        (
            row,
            piece[model.ITEM_SEQ][row, : piece[model.ITEM_SEQ_LEN][row]].tolist()[-10:],
            piece["candidates"][row].tolist(),
            int(piece[model.POS_ITEM_ID][row]),
        )
        for row in range(len(piece))
    ]
    return plain.loss(rows)


def _backward(loss: Tensor, model: ALLMRec) -> float:
    model.zero_grad()
    loss.backward()
    return loss.item()


if __name__ == "__main__":
    from benchmarks.__main__ import report

    report(measure())
