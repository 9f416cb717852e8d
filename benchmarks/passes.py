"""One pass over the training data: RecBole's class with its own loader and epoch, and ours.

    python -m benchmarks passes
    python -m benchmarks.passes --models SASRec,BPR --datasets ml-100k,ml-1m --seconds 20
    python -m benchmarks.passes --device cuda --precision bfloat16

Both sides have the same hyper-parameters, the same loss, the same targets and as many targets a step.
The sequential models differ in what a target sees: RecBole reads a padded row for every prefix, a
target seeing up to L items before it; ours reads windows, moved every epoch, and a target sees its
window's part. LightGCN has RecBole's batch size here and not its YAML's, which is larger. RaCT is
in its first stage.

Two processes of one thread take turns. Of RecBole's passes that would take longer than `--seconds`
the batches of so many CPU seconds are timed and scaled up to the pass. RecBole's rows come from
Paddock's bridge, and it is spared autograd's anomaly detection, which importing its sequential models
turns on.

With `--device cuda` both sides train on that GPU, and seconds are of the wall; RecBole has products of float32,
ours of `--precision`.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.data import available
from benchmarks.data import overrides as dataset_overrides
from benchmarks.measure import Measured, Seconds
from benchmarks.pair import Side
from experiments.config.compose import compose, typed
from experiments.config.values import PRECISIONS
from experiments.protocol.shared_data import shared_data

REPEATS = 3
SECONDS = 20.0
RECBOLE_BATCH = 2048
"""RecBole's default batch size, in rows."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model's YAML, and how its batches come to equal sizes on both sides."""

    yaml: str
    windows: bool = False
    overrides: tuple[str, ...] = ()


CASES = {
    "SASRec": Case(yaml="sasrec", windows=True),
    "GRU4Rec": Case(yaml="gru4rec", windows=True),
    "LightGCN": Case(yaml="lightgcn", overrides=(f"model.train_batch_size={RECBOLE_BATCH}",)),
    "BPR": Case(yaml="bpr", overrides=(f"model.train_batch_size={RECBOLE_BATCH}",)),
    "MultiVAE": Case(yaml="multivae"),
    "RaCT": Case(yaml="ract"),
}


def measure(
    models: list[str] | None = None,
    datasets: list[str] | None = None,
    *,
    seconds: float = SECONDS,
    repeats: int = REPEATS,
    device: str = "cpu",
    precision: str = "float32",
) -> Iterator[Measured]:
    """Every model on every data set that is at hand."""
    on = {"device": device, "precision": precision}
    for dataset in datasets or available():
        for model in models or CASES:
            print(f"passes: {model} on {dataset}", file=sys.stderr)
            yield _measure(model, dataset, seconds=seconds, repeats=repeats, **on)


def _measure(
    model: str, dataset: str, *, seconds: float, repeats: int, device: str, precision: str
) -> Measured:
    case, gpu = CASES[model], device != "cpu"
    common = [*dataset_overrides(dataset), f"model={case.yaml}", *case.overrides]
    ours, theirs = list(common), list(common)
    if case.windows:
        ours.append(f"model.train_batch_size={windows_for(RECBOLE_BATCH, common)}")
        theirs.append(f"model.train_batch_size={RECBOLE_BATCH}")
    ours.append(f"precision={precision}")
    where = f" {device} {precision}" if (device, precision) != ("cpu", "float32") else ""
    measured = Measured(name=f"{model} pass {dataset}{where}, seconds a pass, one thread")
    with (
        Side("recbole", theirs, device=device) as recbole,
        Side("paddock", ours, device=device) as paddock,
    ):
        answers: dict[str, list[dict[str, float]]] = {"recbole": [], "paddock": []}
        for repeat in range(repeats):
            sides = [("recbole", recbole, seconds), ("paddock", paddock, None)]
            for name, side, most in sides if repeat % 2 == 0 else reversed(sides):
                answers[name].append(side.turn(most))
            measured.add(*(_seconds(answers[name][-1]) for name in ("recbole", "paddock")))
        if gpu:  # whose time the process's clock does not tell
            measured.theirs_cpu, measured.ours_cpu = [], []
        measured.facts = {
            "recbole": recbole.facts,
            "paddock": paddock.facts,
            "recbole_share_timed": [answer["share"] for answer in answers["recbole"]],
            "batches": {name: given[-1]["batches"] for name, given in answers.items()},
            "peak_megabytes": {name: given[-1]["peak"] for name, given in answers.items()},
            "device": torch.cuda.get_device_name(device) if gpu else "cpu",
        }
    return measured


def _seconds(answer: dict[str, float]) -> Seconds:
    return Seconds(wall=answer["wall"], cpu=answer["cpu"])


def windows_for(targets: int, overrides: list[str]) -> int:
    """How many windows hold so many targets on average, on this data set."""
    config = typed(compose(overrides))
    history = shared_data(config).split.history("valid")
    return mean_windows(targets, history.lengths, config.model["MAX_ITEM_LIST_LENGTH"])


def mean_windows(targets: int, lengths_U: np.ndarray, longest: int) -> int:
    """The same from the lengths of the histories.

    Of t targets, more than a window holds, the first 1 to L are a window of their own, drawn
    uniformly: on average that makes 1 + (t - 1) / L windows.
    """
    targets_U = np.maximum(lengths_U - 1, 0)
    windows_U = np.where(targets_U > longest, 1 + (targets_U - 1) / longest, targets_U > 0)
    return max(1, round(targets * windows_U.sum() / targets_U.sum()))


def main() -> None:
    from benchmarks.__main__ import report

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.passes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--models", help=f"some of {','.join(CASES)}")
    parser.add_argument("--datasets", help="some of those at hand")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="CPU seconds of RecBole's")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N, of both sides")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS, help="of ours")
    given = parser.parse_args()
    report(
        measure(
            given.models and given.models.split(","),
            given.datasets and given.datasets.split(","),
            seconds=given.seconds,
            repeats=given.repeats,
            device=given.device,
            precision=given.precision,
        )
    )


if __name__ == "__main__":
    main()
