"""Questions answered by sample questions: the one that is worded most alike, with its gaps filled in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from experiments.errors import PaddockError
from experiments.language.hashed import hashed_embeddings
from experiments.talk.ask.statement import checked_statement
from experiments.talk.ask.tables import FEEDBACK, Table, Tables
from experiments.talk.ask.written import written_answer
from experiments.talk.catalogue import Catalogue
from experiments.talk.conditions import value_words
from experiments.talk.understand import Understanding, checked
from experiments.talk.words import lexicon

if TYPE_CHECKING:
    from experiments.language.client import Client

FILE = Path(__file__).with_name("questions.yaml")
WIDTH = 1024
LEAST = 0.4
"""The cosine of two questions' words from which one is taken for the other."""

ONE_WORD: Mapping[str, str] = {
    **dict.fromkeys(
        ("movie", "movies", "film", "films", "item", "product", "products", "books"), "items"
    ),
    **dict.fromkeys(("people", "user", "viewers", "persons", "customers", "watchers"), "users"),
    **dict.fromkeys(("mean", "typical"), "average"),
    **dict.fromkeys(("watched", "seen", "saw", "see", "watch", "bought"), "rated"),
    **dict.fromkeys(("highest", "top"), "best"),
    **dict.fromkeys(("lowest",), "worst"),
}
"""Words that mean the same in a question: they are compared as one."""

GAPS = frozenset(
    {
        "item",
        "value",
        "words",
        "year",
        "year_column",
        "fact",
        "fact_column",
        "number_column",
        "k",
        "least",
    }
)
OPTIONAL: Mapping[str, str] = {"k": "10", "least": "50"}
_GAP = re.compile(r"\{(\w+)\}")
_BOUND = frozenset({"item", "value", "year", "fact", "number_column"})
"""What a question must name for a sample that has it, and must not for one that has not."""


@dataclass(frozen=True)
class Sample:
    """Ways to ask one question, and the SQL of its answer with gaps in braces."""

    ask: tuple[str, ...]
    sql: str

    @property
    def gaps(self) -> frozenset[str]:
        """What is filled in."""
        return frozenset(_GAP.findall(self.sql))


@dataclass(frozen=True)
class Answered:
    """A question's answer.

    Attributes
    ----------
    table : Table
    by : str
        "library" or "llm": who wrote the SQL.
    asked : str
        The sample question that was taken for this one, "" for a language model.
    note : str
        Why the SQL of a language model that was asked is not used.
    """

    table: Table
    by: str
    asked: str
    note: str = ""


def read_samples(path: Path | str = FILE) -> list[Sample]:
    """The sample questions of a YAML file.

    Raises
    ------
    PaddockError
        The file cannot be read, or an entry is no question with SQL.
    """
    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PaddockError(f"questions={path} cannot be read: {error}") from None
    if not isinstance(entries, list):
        raise PaddockError(
            f"questions={path} is no list of questions: begin each with - ask: [...]"
        )
    return [_sample(entry, number, path) for number, entry in enumerate(entries, start=1)]


def _sample(entry: Any, number: int, path: Path | str) -> Sample:
    right = (
        isinstance(entry, Mapping)
        and set(entry) == {"ask", "sql"}
        and isinstance(entry["sql"], str)
        and isinstance(entry["ask"], list)
        and bool(entry["ask"])
        and all(isinstance(each, str) for each in entry["ask"])
    )
    if not right:
        raise PaddockError(f"{path}: question {number} needs ask: [TEXT, ...] and sql: TEXT")
    sample = Sample(tuple(entry["ask"]), entry["sql"])
    if unknown := sorted(sample.gaps - GAPS):
        raise PaddockError(
            f"{path}: question {number} has the gap {{{unknown[0]}}}; known are {', '.join(sorted(GAPS))}"
        )
    return sample


class Library:
    """Answers questions to the data of a catalogue.

    Parameters
    ----------
    tables : Tables
    understanding : Understanding
    own : sequence of Sample
        Further samples, which are tried beside those that are always there.
    """

    def __init__(
        self, tables: Tables, understanding: Understanding, own: Sequence[Sample] = ()
    ) -> None:
        self.tables = tables
        self.understanding = understanding
        known = _known_gaps(understanding.catalogue)
        reads_ratings = "rating" in tables.columns["interactions"]
        self.samples = [
            each
            for each in (*own, *read_samples())
            if each.gaps <= known
            and (reads_ratings or not re.search(r"\brating\b", each.sql))
            and (FEEDBACK in tables.columns or not re.search(rf"\b{FEEDBACK}\b", each.sql))
        ]
        for each in own:
            # A mistake in one's own questions shows at once, not when they are asked.
            checked_statement(_filled(each.sql, dict.fromkeys(GAPS, "1")), tables.columns)

    def answer(self, question: str, *, client: "Client | None" = None) -> Answered:
        """The table that answers a question.

        Parameters
        ----------
        question : str
        client : Client, optional
            A language model that writes the SQL, checked as any other; where it fails, the samples answer.

        Raises
        ------
        PaddockError
            No sample is worded like the question, or the SQL cannot be answered.
        """
        question = checked(question)
        note = ""
        if client is not None:
            samples = [(each.ask[0], each.sql) for each in self.samples[:6]]
            try:
                return Answered(written_answer(client, question, self.tables, samples), "llm", "")
            except PaddockError as error:
                note = str(error)
        asked, sql = self.statement(question)
        return Answered(self.tables.answer(sql), "library", asked, note)

    def statement(self, question: str) -> tuple[str, str]:
        """The sample question that a question is taken for, and its SQL filled in.

        Raises
        ------
        PaddockError
            None is near; the nearest ones are named.
        """
        masked, values = self._read(question)
        stated = frozenset(values) & _BOUND
        ways = [(way, each) for each in self.samples for way in each.ask]
        texts = [_one_word(text) for text in (*(way for way, _ in ways), masked)]
        vectors = hashed_embeddings(texts, width=WIDTH)
        likeness = vectors[:-1] @ vectors[-1]
        order = sorted(range(len(ways)), key=lambda place: -likeness[place])
        for place in order:
            way, sample = ways[place]
            if sample.gaps & _BOUND == stated and likeness[place] >= LEAST:
                return way, _filled(sample.sql, {**OPTIONAL, **values})
        near = list(dict.fromkeys(ways[place][0] for place in order))[:3]
        raise PaddockError(f"I have no answer to that question; I know such as: {'; '.join(near)}")

    def _read(self, question: str) -> tuple[str, dict[str, str]]:
        """The question with gaps where it names values, and the values as SQL writes them."""
        catalogue, values = self.understanding.catalogue, {}
        masked, found = question, self.understanding.titles.find(question)
        for each in reversed(found):
            masked = masked[: each.start] + "{item}" + masked[each.end :]
            values["item"] = _text(catalogue.tokens[each.row])
        masked = self._read_numbers(masked, values)
        for column in _lists(catalogue):
            names = catalogue.words[column]
            masked = _replace_value(masked, names, "value", "words", column, values)
        for column, names in catalogue.profile.items():
            masked = _replace_value(masked, names, "fact", "fact_column", column, values)
            named = re.search(rf"\b{re.escape(column.replace('_', ' '))}\b", masked, re.IGNORECASE)
            if not names and named:
                values["number_column"] = _identifier(column)
                masked = masked[: named.start()] + "{number_column}" + masked[named.end() :]
        return masked, values

    def _read_numbers(self, masked: str, values: dict[str, str]) -> str:
        least = re.search(r"\b(?:at least|more than|over) (\d{1,9})\b", masked)
        if least:
            values["least"] = least[1]
            masked = masked[: least.start(1)] + "{least}" + masked[least.end(1) :]
        year = re.search(r"\b((?:18|19|20)\d\d)(?!\d)", masked)
        if year and self.understanding.catalogue.years:
            values["year"] = year[1]
            masked = masked[: year.start()] + "{year}" + masked[year.end() :]
        if years := self.understanding.catalogue.years:
            values["year_column"] = _identifier(years[0])
        words = "|".join(lexicon().numbers)
        many = re.search(
            rf"\b(?:top |the |list )?(\d{{1,4}}|{words}) (?=best|most|worst|films|movies|items)",
            masked,
            re.I,
        )
        if many:
            values["k"] = lexicon().numbers.get(many[1].casefold(), many[1])
            masked = masked[: many.start(1)] + masked[many.end(1) :]
        return masked


def _one_word(text: str) -> str:
    return re.sub(r"\w+", lambda found: ONE_WORD.get(found[0], found[0]), text.casefold())


def _replace_value(
    masked: str,
    names: Sequence[str],
    gap: str,
    column_gap: str,
    column: str,
    values: dict[str, str],
) -> str:
    if gap in values:
        return masked
    calls = [
        (word, name)
        for name in names
        for word in value_words(name)
        if len(word) > 2 or not word.isascii()
    ]
    for word, name in sorted(calls, key=lambda pair: -len(pair[0])):
        if name.casefold() in lexicon().never:
            continue
        ending = "" if "가" <= word[-1] <= "힣" else r"(?!\w)"
        found = re.search(rf"(?<![\w{{]){re.escape(word)}{ending}", masked, re.IGNORECASE)
        if found:
            values[gap], values[column_gap] = _text(name), _identifier(column)
            return masked[: found.start()] + f"{{{gap}}}" + masked[found.end() :]
    return masked


def _known_gaps(catalogue: Catalogue) -> frozenset[str]:
    """The gaps that the data has something for."""
    missing = set() if _lists(catalogue) else {"value", "words"}
    missing |= set() if catalogue.years else {"year", "year_column"}
    missing |= set() if any(catalogue.profile.values()) else {"fact", "fact_column"}
    missing |= set() if not all(catalogue.profile.values()) else {"number_column"}
    return GAPS - missing


def _lists(catalogue: Catalogue) -> list[str]:
    """The columns of words that hold lists, of which samples ask for a member."""
    return [name for name in catalogue.words if catalogue.items[name].dtype.is_nested()]


def _filled(sql: str, values: Mapping[str, str]) -> str:
    return _GAP.sub(lambda found: values[found[1]], sql)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
