"""What a turn of a conversation gives, and the trace of how it came about."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from experiments.talk.ask.tables import Table
from experiments.talk.evidence import Card
from experiments.talk.state import State
from experiments.talk.suggest import Outside


@dataclass(frozen=True)
class Turn:
    """What a message led to.

    Attributes
    ----------
    state : State
    items : tuple of Card
    words : str
    trace : dict
        `id`, `intent`, `read_by` (who understood the message), `rule`, `origin`, `model` (the language model), `counted` (numbers of the words that are no card's) and `spans`: name, time, milliseconds, what went in and came out.
    table : Table or None
        The answer to a question to the data.
    outside : Outside or None
        What a language model suggests from outside of the catalogue; it is never among the items.
    """

    state: State
    items: tuple[Card, ...]
    words: str
    trace: dict[str, Any]
    table: Table | None = None
    outside: Outside | None = None

    def as_plain(self) -> dict[str, Any]:
        """Plain content, for JSON."""
        return {
            "state": asdict(self.state),
            "items": [card.as_plain() for card in self.items],
            "words": self.words,
            "table": self.table.as_plain() if self.table else None,
            "outside_catalogue": asdict(self.outside) if self.outside else None,
            "trace": self.trace,
        }


@dataclass
class Spans:
    """The steps of a turn with their times."""

    made: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, given: Any) -> Iterator[dict[str, Any]]:
        """Time a step; what it puts under "output" is kept."""
        began = time.perf_counter()
        span: dict[str, Any] = {"name": name, "at": time.time(), "input": given, "output": None}
        self.made.append(span)
        yield span
        span["milliseconds"] = round(1000 * (time.perf_counter() - began), 3)
