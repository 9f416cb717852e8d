"""Other libraries against ours: the same interactions, one evaluator, one thread, in turns.

    python -m benchmarks peers
    python -m benchmarks.peers --data ml-1m --kinds als,bpr --rounds 3 --seconds 60

Every library trains in a child process of an environment of its own (`environments`), which gets the
training interactions and gives scores of all items for the users (`child`, `libraries/`); Paddock's
evaluator ranks the targets among all items but the user's history (`exchange`). Ours trains in a child
of the same protocol. One rule stops all sides, and the pass with the best valid NDCG@10 is tested
(`turn`). Results are kept in `results/DATA-KIND.json`.

Seconds are of training alone: making a library's own tables of the interactions counts on neither
side, and neither does the scoring. At test, models that can read a history they were not trained
on read the valid item too, which is how this framework tests; the results tell which did.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.data import overrides as dataset_overrides
from benchmarks.measure import machine
from benchmarks.peers.cases import DEFAULT_KINDS, KINDS, Kind
from benchmarks.peers.compare import compare
from benchmarks.peers.environments import Unavailable, interpreter
from benchmarks.peers.exchange import write_interactions
from benchmarks.peers.table import RESULTS, show, write
from benchmarks.peers.turn import Rules, Side, Turn, take_turn
from experiments.config.compose import compose, typed
from experiments.protocol.shared_data import SharedData, shared_data

ROUNDS = 3
SECONDS = 30.0
"""CPU seconds of training after which a turn ends, once its pass is done."""

QUICK = ["dataset=tiny"]


def measure(
    data: str = "ml-100k",
    kinds: Sequence[str] = DEFAULT_KINDS,
    *,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    libraries: Sequence[str] | None = None,
    out: Path = RESULTS,
) -> None:
    """Measure kinds of models on a data set, keep what was found and print a table of it."""
    chosen = QUICK if data == "tiny" else dataset_overrides(data)
    config = typed(compose(chosen))
    folder = str(Path(config.data_dir).resolve())
    chosen = [*chosen, f"data_dir={folder}"]
    shared = shared_data(typed(compose(chosen)))
    results = []
    for name in kinds:
        found = _measure(
            KINDS[name],
            shared,
            overrides=chosen,
            rounds=rounds,
            seconds=seconds,
            libraries=libraries,
        )
        results.append(write(out / f"{data}-{name}.json", {"data": data, "kind": name, **found}))
    show(results)


def _measure(
    kind: Kind,
    shared: SharedData,
    *,
    overrides: list[str],
    rounds: int,
    seconds: float,
    libraries: Sequence[str] | None,
) -> dict[str, Any]:
    unavailable: dict[str, str] = {}
    sides = [kind.ours]
    for side in kind.peers:
        if libraries is not None and side.library not in libraries:
            continue
        try:
            interpreter(side.library)
            sides.append(side)
        except Unavailable as error:
            unavailable[side.library] = str(error)
            print(f"peers: {side.library} is left out: {error}", file=sys.stderr, flush=True)
    turns: list[list[Turn]] = [[] for _ in sides]
    rules = Rules(seconds=seconds, patience=kind.patience)
    with TemporaryDirectory() as folder:
        data = Path(folder) / "interactions.npz"
        write_interactions(shared.split, data)
        for seed in range(1, rounds + 1):
            for number, side in enumerate(sides):
                context = {"overrides": [*overrides, f"model={side.model}"]}
                load = os.getloadavg()[0]
                turn = take_turn(
                    side, split=shared.split, data=data, seed=seed, rules=rules, context=context
                )
                turn.facts["load_before"] = load
                turns[number].append(turn)
                _say(turn)
    ours, *theirs = turns
    return {
        "rounds": rounds,
        "seconds_at_most": seconds,
        "patience": kind.patience,
        "threads": rules.threads,
        "host": machine(),
        "dataset_hash": shared.hashes["dataset"],
        "split_hash": shared.hashes["split"],
        "ours": [turn.summary() for turn in ours],
        "rows": [_row(side, their, ours) for side, their in zip(sides[1:], theirs, strict=True)],
        "unavailable": unavailable,
    }


def _row(side: Side, theirs: list[Turn], ours: list[Turn]) -> dict[str, Any]:
    pairs = [
        (their, our) for their, our in zip(theirs, ours, strict=True) if their.tested and our.tested
    ]
    row: dict[str, Any] = {
        "library": side.library,
        "model": side.model,
        "note": side.note,
        "turns": [turn.summary() for turn in theirs],
    }
    if pairs:
        row["comparison"] = compare(*(list(each) for each in zip(*pairs, strict=True)))
    return row


def _say(turn: Turn) -> None:
    best = turn.best if turn.curve else {}
    print(
        f"peers: {turn.side.library} {turn.side.model}, seed {turn.seed}: {len(turn.curve)} passes"
        f" ({turn.stopped}), best {best}, test {turn.tested}, {turn.peak_megabytes:.0f} MB",
        file=sys.stderr,
        flush=True,
    )
