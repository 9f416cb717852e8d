"""Declarations of components: what each is called, which keys it reads, what it needs.

A model and a strategy declare a configuration class beside the class that does the work; a split, a
metric, a list measure, a reader and a report section are one function each, under a decorator. All
declarations can be read without importing torch: of a model's or a strategy's file only the
configuration class is executed, with the names that it uses.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, TypeVar

from paddock.keys import Key, Range, Schema

ITEM_TEXTS = "item_texts"
"""Key of RecBole's config under which a model with a key of the schema "text_encoder" finds the
embeddings of the items' texts: float32, items (padding included) by the encoder's width."""

USER_FEATURES = "user_features"
"""Key of RecBole's config under which a model with a key `user_columns` finds the columns of the users'
own file, by name: a `UserColumn` each. The key holds the names of those that are wanted; null: all."""

Function = TypeVar("Function", bound=Callable[..., Any])


class UserColumn(NamedTuple):
    """A column of the users' own file.

    Attributes
    ----------
    kind : str
        "token", "float", "token_seq" or "float_seq", as RecBole's atomic files name types.
    values : list
        The value of every user by id, of id 0 (the padding) and where it is missing None: a string, a
        number, or a list of them.
    """

    kind: str
    values: list[Any]


class ModelConfig(Schema):
    """The declaration of a model; `FooConfig` stands in the file of the RecBole model `Foo`.

    Attributes
    ----------
    extends : str or None
        A model whose keys and facts this one has too: RecBole's own class of that name, or one
        declared elsewhere. By default RecBole's class of the same name, if there is one.
    offers : tuple of str
        What strategies may ask of the model (`StrategyConfig.needs`), beside what `extends` offers.
    strategies : tuple of str
        The only strategies that can train it; empty: all whose needs it offers.
    closed_form : bool or None
        It counts or solves, in one pass; None: as `extends`.
    needs_user_columns : bool
        It is refused where the data set has no column of the users for its key `user_columns`.
    search : mapping
        Ranges of keys that are its strategy's or its base's, by name.
    stages : tuple of str
        The strategies of its stages in order, which `Key.stage` refers to.
    learns : mapping
        Strategy -> beginnings of the names of the weights that its stage learns. Such a stage is
        shared by all runs that would train the same.
    """

    extends: ClassVar[str | None] = None
    offers: ClassVar[tuple[str, ...]] = ()
    strategies: ClassVar[tuple[str, ...]] = ()
    closed_form: ClassVar[bool | None] = None
    needs_user_columns: ClassVar[bool] = False
    search: ClassVar[Mapping[str, Range]] = {}
    stages: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @classmethod
    def name(cls) -> str:
        """The name of the RecBole model class."""
        return cls.__name__.removesuffix("Config")

    @classmethod
    def notes(cls, values: Mapping[str, Any], *, full: bool) -> Mapping[str, str]:
        """What a reader of a run's numbers must know, as tags of the run by their names.

        A tag that begins with `paddock.note.` is shown beside the run's row in every leaderboard.

        Parameters
        ----------
        values
            The resolved configuration.
        full
            Whether all items are ranked.
        """
        return {}

    @classmethod
    def bytes_needed(cls, values: Mapping[str, Any], *, n_users: int, n_items: int) -> int:
        """Memory that the model cannot do without, beside the data; 0 where it does not matter.

        Training is refused where less is free, since the system would kill it later.

        Parameters
        ----------
        values
            The resolved configuration.
        n_users, n_items
            Of the data set, padding included.
        """
        return 0


class StrategyConfig(Schema):
    """The declaration of a strategy; `FooConfig` stands in the file of the strategy `Foo`.

    The class `Foo` is made with a `Task` and offers `train_epoch(epoch, tick)`, `optimizers` and
    `generators` (`experiments.training.strategy`).

    Attributes
    ----------
    name : str
        As `model.strategy` names it.
    needs : str or None
        What a model must offer; None: nothing.
    needed : str
        The same as a phrase: "needs ...; the model does not".
    mixed_precision : bool
        Its work is products of matrices, which may be of bfloat16.
    reads_ratings : bool
        The data set must have ratings.
    prefixes : bool
        A sequential model is given a row for every prefix of a history, as RecBole's loader has it.
    several_processes : bool
        It trains one run over several processes: each takes its part of every batch
        (`experiments.training.ranks`).
    only : mapping
        Key of a model -> the only values with which the strategy can train it.
    """

    name: ClassVar[str] = ""
    needs: ClassVar[str | None] = None
    needed: ClassVar[str] = ""
    mixed_precision: ClassVar[bool] = False
    reads_ratings: ClassVar[bool] = False
    prefixes: ClassVar[bool] = False
    several_processes: ClassVar[bool] = False
    only: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    @classmethod
    def implementation(cls) -> str:
        """The name of the class that trains, in the same file."""
        return cls.__name__.removesuffix("Config")


@dataclass(frozen=True, kw_only=True)
class Split:
    """A split: which interaction trains, which validates, which tests.

    Attributes
    ----------
    name : str
        As `protocol.split` names it.
    keys : tuple of Key
        The keys of the protocol that it reads: `ratios`, `cut_times`, `seed`, or others, which stand
        under `protocol.settings`.
    one_of : tuple of str
        Of these keys exactly one is given.
    needs_times : bool
        The data set must have the time of every interaction.
    holds_users_out : bool
        The users that are scored are held out of training whole: histories hold what it gives of them
        (part -1) and not the valid part, and no model is trained again on that.
    check : callable or None
        Takes the keys' values by name and raises ValueError for impossible ones.
    """

    name: str
    keys: tuple[Key, ...] = ()
    one_of: tuple[str, ...] = ()
    needs_times: bool = False
    holds_users_out: bool = False
    check: Callable[[Mapping[str, Any]], None] | None = None
    doc: str = ""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A ranking metric.

    Attributes
    ----------
    name : str
        As `protocol.metrics` names it.
    norm : callable
        Takes (targets of each row, cut-off) and gives what a row's sum is divided by.
    better : str
        "higher", "lower" or "neither".
    """

    name: str
    norm: Callable[[Any, int], Any]
    better: str = "higher"
    doc: str = ""


@dataclass(frozen=True, kw_only=True)
class ListMeasure:
    """A measure of the lists of recommended items, whoever the targets are.

    Attributes
    ----------
    name : str
        As `protocol.beyond` names it.
    of : str
        What the function is given and gives: "ranks" (items_BK, catalogue) -> (B, K), the value down
        to every rank; "lists" (items_BK, catalogue) -> (B,), of the lists cut at each cut-off;
        "counts" (in how many lists each item is, (N,)) -> one number for all lists.
    least_cutoff : int
        Shorter lists have no value.
    needs_features : bool
        The items must have features.
    better : str
        "higher", "lower" or "neither".
    """

    name: str
    of: str
    least_cutoff: int = 1
    needs_features: bool = False
    better: str = "higher"
    doc: str = ""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A reader of data files.

    Attributes
    ----------
    name : str
        As `dataset.format` names it.
    columns : bool
        The configuration says what the columns are called (`dataset.columns`); otherwise the
        release has names of its own.
    """

    name: str
    columns: bool = False
    doc: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportSection:
    """A section of the report's page."""

    name: str
    title: str
    doc: str = ""


def _declared(made: Any) -> Callable[[Function], Function]:
    def declare(function: Function) -> Function:
        line = (function.__doc__ or "").strip().partition("\n")[0]
        function.declaration = replace(made, doc=line)  # type: ignore[attr-defined]
        return function

    return declare


def split(
    name: str,
    *,
    keys: tuple[Key, ...] = (),
    one_of: tuple[str, ...] = (),
    needs_times: bool = False,
    holds_users_out: bool = False,
    check: Callable[[Mapping[str, Any]], None] | None = None,
) -> Callable[[Function], Function]:
    """Declare a function as a split: (data, protocol) -> part of every interaction.

    Parameters
    ----------
    name : str
        As `protocol.split` names it.
    keys : tuple of Key
        The keys of the protocol that it reads.
    one_of : tuple of str
        Names of keys of which exactly one is given.
    needs_times : bool
        Whether the data set must have times.
    holds_users_out : bool
        Whether users are held out of training whole, see `Split`.
    check : callable, optional
        Takes the keys' values by name and raises ValueError for impossible ones.
    """
    return _declared(
        Split(
            name=name,
            keys=keys,
            one_of=one_of,
            needs_times=needs_times,
            holds_users_out=holds_users_out,
            check=check,
        )
    )


def _one(n_targets: Any, k: int) -> float:
    return 1.0


def metric(
    name: str, *, norm: Callable[[Any, int], Any] = _one, better: str = "higher"
) -> Callable[[Function], Function]:
    """Declare a function as a metric: (positions) -> sums of each row down to every rank.

    Parameters
    ----------
    name : str
        As `protocol.metrics` names it.
    norm : callable
        Takes (targets of each row, cut-off) and returns the divisor of a row's sum.
    better : str
        "higher", "lower" or "neither".
    """
    return _declared(Metric(name=name, norm=norm, better=better))


def list_measure(
    name: str,
    *,
    of: str,
    least_cutoff: int = 1,
    needs_features: bool = False,
    better: str = "higher",
) -> Callable[[Function], Function]:
    """Declare a function as a measure of recommended lists; its arguments depend on `of`.

    Parameters
    ----------
    name : str
        As `protocol.beyond` names it.
    of : str
        "ranks", "lists" or "counts"; see `ListMeasure`.
    least_cutoff : int
        Length of the shortest list that has a value.
    needs_features : bool
        Whether the items must have features.
    better : str
        "higher", "lower" or "neither".

    Raises
    ------
    ValueError
        For an unknown `of`.
    """
    if of not in ("ranks", "lists", "counts"):
        raise ValueError(f"of={of}: a list measure is of ranks, lists or counts")
    return _declared(
        ListMeasure(
            name=name,
            of=of,
            least_cutoff=least_cutoff,
            needs_features=needs_features,
            better=better,
        )
    )


def reader(name: str, *, columns: bool = False) -> Callable[[Function], Function]:
    """Declare a function as a reader: (sources, columns, required, reader) -> tables.

    Parameters
    ----------
    name : str
        As `dataset.format` names it.
    columns : bool
        Whether the configuration names the columns (`dataset.columns`).
    """
    return _declared(Reader(name=name, columns=columns))


def report_section(name: str, *, title: str) -> Callable[[Function], Function]:
    """Declare a function as a section of the report: (summary) -> HTML.

    Parameters
    ----------
    name : str
        Name of the section.
    title : str
        Its heading.
    """
    return _declared(ReportSection(name=name, title=title))
