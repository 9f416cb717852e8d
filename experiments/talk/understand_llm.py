"""A language model reads a message; what it reads is held against the message, the catalogue and its columns.

It is shown the message, the columns and their values, and nothing that others wrote: no title, no review. It can name only
items of the catalogue for a passage of the message, conditions that can be checked, and facts that the survey would take.
Where its answer is none of these, does not come, or comes too late, the rules read the message and say why.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rapidfuzz import fuzz

from experiments.errors import PaddockError
from experiments.language.writer import quoted
from experiments.talk.catalogue import Catalogue
from experiments.talk.conditions import Condition, any_of, fulfilled, value_words
from experiments.talk.prompts import DATA_ONLY, as_data, turns
from experiments.talk.state import State
from experiments.talk.survey import answered
from experiments.talk.titles import Titles
from experiments.talk.understand import (
    INTENTS,
    UNJUDGED,
    Mention,
    Understanding,
    Understood,
    checked,
    once_an_item,
    sought,
)

if TYPE_CHECKING:
    from experiments.language.client import Client

MOST = 20
"""Entries of a list of the answer."""

NAMED = 60
"""Values of a column that the model is shown."""

TASK = f"""\
You read one message to a recommender and write down what it says, as JSON.
intent: recommend (wants something), similar (wants something like a named item), search (looks for a certain item, or items
about something), explain (why an item, or what it is), compare (two items), ask (a question that counts or averages over the
data), feedback (says what they like, dislike, know or are), other.
items: every item that the message names. words: the passage that names it, copied from the message. title: the item's usual
title in its own language. place: the number in the list before where the message points there, as "the second one" does, else 0.
opinion: like, dislike, or neutral (named, not judged; with compare, ask, search and explain always neutral).
filters: conditions that items must meet. values: any of them will do; of a column of numbers there is one.
profile: facts that the writer states of themselves.
query: the words of the message that say what items are to be about, where no filter says it; else "".
forget: all (start over), filters, or nothing.
{DATA_ONLY}"""


def understand_by_model(
    client: "Client", message: str, state: State, rules: Understanding
) -> Understood:
    """What a message means, by a language model; by the rules where its answer cannot be used.

    Parameters
    ----------
    client : Client
    message : str
    state : State
        Its list of shown items is what "the second one" points into.
    rules : Understanding

    Returns
    -------
    Understood
        `by` says who read it, `note` why the rules did.

    Raises
    ------
    PaddockError
        The message is empty or too long.
    """
    message = checked(message)
    catalogue = rules.catalogue
    shown = len(state.shown)
    asked = "\n".join(
        [
            as_data("columns", _columns(catalogue)),
            as_data("items_in_the_list_before", shown),
            as_data("message", message),
        ]
    )
    try:
        read = client.structured(turns(TASK, asked), schema_of(catalogue, shown=shown))
        return _understood(read, message, state, rules.titles, catalogue)
    except PaddockError as error:
        return replace(rules.understand(message, state), note=str(error))


def schema_of(catalogue: Catalogue, *, shown: int) -> dict[str, Any]:
    """The JSON schema of an answer about a catalogue; all keys are required, as servers want it.

    Parameters
    ----------
    catalogue : Catalogue
    shown : int
        Items of the list before.
    """
    text = {"type": "string", "maxLength": 200}
    return _object(
        intent={"enum": [*INTENTS]},
        items=_list(
            _object(
                words=text,
                title=text,
                place={"type": "integer", "minimum": 0, "maximum": shown},
                opinion={"enum": ["like", "dislike", "neutral"]},
            )
        ),
        filters=_list(
            _object(
                column={"enum": [*catalogue.words, *catalogue.years, *catalogue.numbers]},
                operator={"enum": [*_WORDS, *_NUMBERS]},
                values={"type": "array", "items": text, "minItems": 1, "maxItems": MOST},
            ),
            most=MOST if catalogue.words or catalogue.years or catalogue.numbers else 0,
        ),
        profile=_list(
            _object(column={"enum": [*catalogue.profile]}, value=text),
            most=MOST if catalogue.profile else 0,
        ),
        query=text,
        forget={"enum": ["nothing", "filters", "all"]},
    )


_WORDS = ("contains", "not contains")
_NUMBERS = ("=", "<", "<=", ">", ">=")


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def _list(items: Any, *, most: int = MOST) -> dict[str, Any]:
    # An empty choice is no schema; a list that must be empty needs none.
    return (
        {"type": "array", "items": items, "maxItems": most}
        if most
        else {"type": "array", "maxItems": 0}
    )


def _columns(catalogue: Catalogue) -> dict[str, Any]:
    """The columns as the model is shown them."""
    return {
        "items": {
            **{name: [*values[:NAMED]] for name, values in catalogue.words.items()},
            **dict.fromkeys([*catalogue.years, *catalogue.numbers], "a number"),
        },
        "profile": {
            name: [*values[:NAMED]] if values else "a number"
            for name, values in catalogue.profile.items()
        },
    }


def _understood(
    read: Mapping[str, Any], message: str, state: State, titles: Titles, catalogue: Catalogue
) -> Understood:
    intent, outside = read["intent"], []
    mentions = []
    for entry in read["items"]:
        item = _item(entry, message, state, titles, catalogue)
        if item is not None:
            opinion = "neutral" if intent in UNJUDGED else entry["opinion"]
            likeness = fuzz.ratio(entry["words"].casefold(), catalogue.title_of(item).casefold())
            mentions.append(Mention(item, opinion, likeness))
        elif _is_in(entry["words"], message):
            outside.append(entry["words"].strip())
    conditions = [_condition(entry, catalogue) for entry in read["filters"]]
    if intent == "feedback" and mentions:
        # "Scream is no comedy" describes a title, and asks for nothing.
        conditions = []
    clears = "" if read["forget"] == "nothing" else read["forget"]
    return Understood(
        intent=intent,
        mentions=once_an_item(mentions),
        conditions=tuple({each.text: each for each in conditions}.values()),
        profile=dict(_facts(read["profile"], catalogue)),
        # Words that the message has not are nobody's.
        query="" if clears else sought(read["query"], within=message),
        clears=clears,
        by="llm",
        outside=tuple(dict.fromkeys(outside)),
    )


def _item(
    entry: Mapping[str, Any], message: str, state: State, titles: Titles, catalogue: Catalogue
) -> str | None:
    """The id of an item that the model names; None where the message or the catalogue does not have it."""
    if not _is_in(entry["words"], message):
        return None
    if entry["place"]:
        return state.shown[entry["place"] - 1]
    for name in (entry["title"], entry["words"]):
        row = titles.named(name)
        if row is not None:
            return catalogue.tokens[row]
    found = titles.find(entry["words"])
    return catalogue.tokens[found[0].row] if len(found) == 1 else None


def _is_in(words: str, message: str) -> bool:
    plain = " ".join(words.casefold().split())
    return bool(plain) and plain in " ".join(message.casefold().split())


def _condition(entry: Mapping[str, Any], catalogue: Catalogue) -> Condition:
    """A condition as the rules write it."""
    column, operator, values = entry["column"], entry["operator"], entry["values"]
    if column in catalogue.words:
        if operator not in _WORDS:
            raise PaddockError(f"the language model compares {column} by {operator}")
        names = [_value(column, value, catalogue.words[column]) for value in values]
        text = any_of(column, names, denied=operator == "not contains")
    else:
        number = _number(column, values)
        if operator not in _NUMBERS:
            raise PaddockError(f"the language model compares {column} by {operator}")
        text = f"{column} {operator} {number}"
    fulfilled([text], catalogue)
    return Condition(column, text, 0, 0)


def _value(column: str, given: str, values: tuple[str, ...]) -> str:
    """A value of a column as the catalogue writes it."""
    wanted = given.strip().casefold()
    for value in values:
        if wanted in value_words(value):
            return value
    raise PaddockError(f"the language model names {quoted(given)!r}, which {column} never is")


def _number(column: str, values: list[str]) -> str:
    try:
        (value,) = map(float, values)
        return f"{value:g}" if value != int(value) else str(int(value))
    except (ValueError, OverflowError):
        shown = quoted(", ".join(values))
        raise PaddockError(f"the language model compares {column} with {shown!r}") from None


def _facts(entries: list[Mapping[str, str]], catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    for entry in entries:
        column, value = entry["column"], entry["value"].strip()
        if catalogue.profile[column]:
            value = _value(column, value, catalogue.profile[column])
        # As of the survey.
        yield from answered(State(), {column: value}, catalogue).profile.items()
