"""A conversation measured: simulated users who talk of their history, and never of their target.

Each user of the test part opens a conversation in which nothing is known of them and names one item of the history a turn, the
newest first, in a sentence as a person would write. What they have already is not shown to them, as the evaluator
masks it. After so many turns the list is held against the target; all interactions but those of training are hidden
from whoever answers, the user's own among them.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.talk.engine import Engine
from experiments.talk.state import State
from experiments.talk.turn import Turn

TURNS = (1, 3, 5)
CUTOFF = 10
SAYS = (
    "I loved {title}",
    "{title} was great",
    "I really enjoyed {title}. What would you suggest?",
    "{title} is one of my favourites",
    "I liked {title} a lot. Recommend me something",
)
"""What a simulated user says, one after another."""


@dataclass
class Replayed:
    """What was measured.

    Attributes
    ----------
    hits, ndcgs : mapping of str to list of float
        By how it was answered ("popular", "plain", "turn_1", ...), one value a user.
    milliseconds : list of float
        Of each turn.
    said, unfounded : int
        Turns, and those that said something outside the evidence.
    named, understood : int
        Items that were named, and those that were taken for what they are and as liked.
    kept : list of (message, Turn)
        Turns that were kept, to be judged.
    """

    hits: dict[str, list[float]] = field(default_factory=dict)
    ndcgs: dict[str, list[float]] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    said: int = 0
    unfounded: int = 0
    named: int = 0
    understood: int = 0
    kept: list[tuple[str, Turn]] = field(default_factory=list)

    def score(self, name: str, rank: int | None) -> None:
        """Enter the rank of a target, from 1; None where it is not in the list."""
        found = rank is not None and rank <= CUTOFF
        self.hits.setdefault(name, []).append(float(rank == 1))
        gain = 1.0 / np.log2(1 + rank) if found and rank is not None else 0.0
        self.ndcgs.setdefault(name, []).append(float(gain))

    def metrics(self) -> dict[str, float]:
        """Means over users and turns, under names that MLflow accepts."""
        made: dict[str, float] = {}
        for name in self.hits:
            made[f"talk/{name}/hit_at_1"] = float(np.mean(self.hits[name]))
            made[f"talk/{name}/ndcg_at_{CUTOFF}"] = float(np.mean(self.ndcgs[name]))
        if self.milliseconds:
            made["talk/milliseconds_p50"] = float(np.percentile(self.milliseconds, 50))
            made["talk/milliseconds_p95"] = float(np.percentile(self.milliseconds, 95))
        if self.said:
            made["talk/unfounded"] = self.unfounded / self.said
        if self.named:
            made["talk/understood"] = self.understood / self.named
        return made


def replay(
    engine: Engine,
    data: Prepared,
    split: Split,
    *,
    users: Sequence[int],
    turns: Sequence[int] = TURNS,
    keep: int = 0,
) -> Replayed:
    """Let simulated users talk.

    Parameters
    ----------
    engine : Engine
        Knows the training part alone, and shows at least CUTOFF items.
    data : Prepared
    split : Split
    users : sequence of int
        Ids of users with a test target.
    turns : sequence of int
        After how many turns the list is held against the target.
    keep : int
        Of so many users a turn is kept: the first of one, the second of the next.
    """
    history, targets = split.history("test"), split.targets("test")
    counts = np.bincount(split.train_items, minlength=data.n_items + 1)[1:].astype(float)
    made = Replayed()
    for place, user in enumerate(users):
        known = [int(item) - 1 for item in history.of(user)]
        (target, *_) = (int(item) - 1 for item in targets.of(user))
        made.score("popular", _rank(counts, known, target))
        plain = engine.ranker.rank(known, [], {}, None)
        made.score("plain", _rank(plain.scores, known, target))
        if turns:
            kept = 1 + place % max(turns) if place < keep else None
            _talk(engine, known, target, turns, made, kept=kept)
    return made


def drawn_users(split: Split, most: int | None, *, seed: int) -> list[int]:
    """Users of the test part, drawn once by a seed; all where `most` is None."""
    targets = split.targets("test")
    having = np.flatnonzero(targets.lengths > 0)
    if most is None or most >= len(having):
        return having.tolist()
    drawn: list[int] = np.sort(np.random.default_rng(seed).permutation(having)[:most]).tolist()
    return drawn


def _talk(
    engine: Engine,
    known: Sequence[int],
    target: int,
    turns: Sequence[int],
    made: Replayed,
    *,
    kept: int | None,
) -> None:
    tokens = engine.catalogue.tokens
    state = State(seen=tuple(tokens[row] for row in dict.fromkeys(known)))
    shown: Mapping[str, int] = {}
    stated = list(_stated(engine, known, target, max(turns)))
    for number in range(1, max(turns) + 1):
        if number <= len(stated):
            row = stated[number - 1]
            message = SAYS[(number - 1) % len(SAYS)].format(title=engine.catalogue.titles[row])
            began = time.perf_counter()
            turn = engine.turn(state, message)
            made.milliseconds.append(1000 * (time.perf_counter() - began))
            made.said += 1
            made.unfounded += bool(engine.unfounded(turn, message))
            made.named += 1
            made.understood += tokens[row] in turn.state.likes
            if number == kept:
                made.kept.append((message, turn))
            state = turn.state
            shown = {card.item: card.rank for card in turn.items}
        if number in turns:
            made.score(f"turn_{number}", shown.get(tokens[target]))


def _stated(engine: Engine, known: Sequence[int], target: int, most: int) -> Iterator[int]:
    """The rows that a user names, the newest first: with a title, and not that of the target."""
    titles = engine.catalogue.titles
    left = most
    for row in dict.fromkeys(reversed(known)):
        if left and titles[row] and titles[row] != titles[target]:
            left -= 1
            yield row


def _rank(scores: np.ndarray, known: Sequence[int], target: int) -> int:
    """The rank of the target among what is not known, by the engine's order of ties."""
    order = scores.astype(float).copy()
    order[[row for row in known if row != target]] = -np.inf
    better = order > order[target]
    level = order == order[target]
    return int(better.sum()) + int(level[:target].sum()) + 1
