"""What is asked of a recommender and what it answers: plain values, no network, no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from experiments.errors import PaddockError

MOST_ITEMS = 1000
"""Items of a history, of dislikes and of exclusions that a request may name."""

LONGEST_TEXT = 2000
"""Characters of a query and of a condition."""


@dataclass(frozen=True)
class Request:
    """A question to a recommender; items are named by id or by title.

    Attributes
    ----------
    user : str or None
        A user of the data set; what he had is his history and is not recommended.
    history : tuple of str
        Items that somebody else had, in time order; with `user`, what he had since.
    dislikes : tuple of str
        Items whose like is pushed down; they are not recommended.
    profile : mapping of str to str
        User column -> value, for models that read users' columns.
    query : str or None
        Words that the items' texts are searched for.
    where : str or None
        A condition of item columns, as of `experiments.serving.filters`.
    exclude : tuple of str
        Items that are left out.
    k : int
        Items of the answer, at most.
    """

    user: str | None = None
    history: tuple[str, ...] = ()
    dislikes: tuple[str, ...] = ()
    profile: Mapping[str, str] = field(default_factory=dict)
    query: str | None = None
    where: str | None = None
    exclude: tuple[str, ...] = ()
    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise PaddockError(f"k={self.k}: ask for at least one item")
        for name in ("history", "dislikes", "exclude"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise PaddockError(f"{name} is a list of items, not the text {given!r}")
            if len(given) > MOST_ITEMS:
                raise PaddockError(f"{name} has {len(given)} items; at most {MOST_ITEMS} are read")
        for name in ("query", "where"):
            text = getattr(self, name)
            if text is not None and len(text) > LONGEST_TEXT:
                raise PaddockError(
                    f"{name} has {len(text)} characters; at most {LONGEST_TEXT} are read"
                )


@dataclass(frozen=True)
class Reason:
    """Why an item is in an answer, from data.

    Attributes
    ----------
    kind : str
        "history" (an item of the history that is near), "query" (words of the text that match), "profile"
        (columns that were read), or "popular" (interactions).
    text : str
        A sentence.
    evidence : tuple of str
        Item ids, words, "column=value", or a count.
    """

    kind: str
    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Recommended:
    """An item of an answer; its rank counts from 1, its score is the model's own where nothing was added."""

    rank: int
    item: str
    title: str
    score: float
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Origin:
    """Which run, data and code an answer came from.

    Attributes
    ----------
    run_id : str or None
        MLflow's id of the run; None where it was not tracked.
    folder : str
        The run folder.
    model, dataset, protocol : str
        Names in the configuration.
    data : str
        Hash of the prepared data set.
    commit : str
        Of the code that trained it; "" where none is known.
    """

    run_id: str | None
    folder: str
    model: str
    dataset: str
    protocol: str
    data: str
    commit: str


@dataclass(frozen=True)
class Answer:
    """Items, best first.

    Attributes
    ----------
    items : tuple of Recommended
        Fewer than k where no more are left.
    rule : str
        Which way answered: "user", "history", "profile", "query", "query+history" or "popular".
    origin : Origin
    notes : tuple of str
        What a reader must know, such as that the code differs from that which trained the model.
    """

    items: tuple[Recommended, ...]
    rule: str
    origin: Origin
    notes: tuple[str, ...] = ()

    def as_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)
