"""How much is understood of labelled messages: python -m experiments.talk.measure [messages=FILE] [dataset=NAME]."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import PaddockError
from experiments.paths import SHARE
from experiments.talk.catalogue import Catalogue
from experiments.talk.understand import INTENTS, Understanding, Understood

Reads = Callable[[str], Understood]
"""Understands a message: the rules, or a language model."""

MESSAGES = SHARE / "datasets" / "talk" / "messages.yaml"
SLOTS = ("intent", "items", "where", "profile")
HALVES = ("worked with", "held out")
LANGUAGES = ("English", "Korean")


@dataclass(frozen=True)
class Measured:
    """Counts of a slot over messages.

    Attributes
    ----------
    right, understood, labelled : int
        Values that are in both, that were understood, that the labels hold.
    """

    right: int
    understood: int
    labelled: int

    @property
    def precision(self) -> float:
        """The share of what was understood that is right."""
        return self.right / self.understood if self.understood else 1.0

    @property
    def recall(self) -> float:
        """The share of the labels that was understood."""
        return self.right / self.labelled if self.labelled else 1.0


def read_messages(path: Path | str = MESSAGES) -> list[dict[str, Any]]:
    """The labelled messages of a YAML file, each with its `half` and `language`.

    Raises
    ------
    PaddockError
        The file is not there, or an entry has no text or an unknown intent.
    """
    path = Path(path)
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise PaddockError(f"messages={path} cannot be read: {error}") from None
    for number, entry in enumerate(entries, start=1):
        if not entry.get("text") or entry.get("intent") not in INTENTS:
            raise PaddockError(
                f"{path}: message {number} needs a text and an intent, one of {', '.join(INTENTS)}"
            )
        entry["half"] = HALVES[(number - 1) % 2]
        entry["language"] = LANGUAGES[any("가" <= each <= "힣" for each in entry["text"])]
    return entries


def is_of(entries: Sequence[Mapping[str, Any]], catalogue: Catalogue) -> bool:
    """Whether the labelled messages name items of a catalogue: most of their titles are in it."""
    titles = {_bare(title) for entry in entries for title in entry.get("items", {})}
    return len(titles & set(map(_bare, catalogue.titles))) > len(titles) / 2


def _bare(title: str) -> str:
    return re.sub(r" \(\d{4}\)$", "", title)


def understood_slots(
    entry: Mapping[str, Any], catalogue: Catalogue, reads: Reads
) -> dict[str, set[Any]]:
    """What is understood of a message, in the form of its labels."""
    made = reads(entry["text"])
    # A film whose title two have is labelled with its year.
    labels = set(entry.get("items", {}))
    items = set()
    for mention in made.mentions:
        row = catalogue.rows[mention.item]
        title = catalogue.titles[row]
        if catalogue.years:
            dated = f"{title} ({catalogue.items[catalogue.years[0]][row]})"
            title = dated if dated in labels else title
        items.add((title, mention.opinion))
    where = {each.text.replace('"', "").strip("()") for each in made.conditions}
    return {
        "intent": {made.intent},
        "items": items,
        "where": where,
        "profile": set(made.profile.items()),
    }


def labelled_slots(entry: Mapping[str, Any]) -> dict[str, set[Any]]:
    """The labels of a message."""
    return {
        "intent": {entry["intent"]},
        "items": set(entry.get("items", {}).items()),
        "where": set(entry.get("where", [])),
        "profile": set(entry.get("profile", {}).items()),
    }


def measure(
    entries: Sequence[Mapping[str, Any]], catalogue: Catalogue, reads: Reads
) -> dict[str, Measured]:
    """Counts of each slot; `titles` are the items without the opinions on them.

    Parameters
    ----------
    entries : sequence
        Of `read_messages`.
    catalogue : Catalogue
    reads : callable
        Understands a message.
    """
    counts = {slot: [0, 0, 0] for slot in ("titles", *SLOTS)}
    for entry in entries:
        found, labels = understood_slots(entry, catalogue, reads), labelled_slots(entry)
        found["titles"] = {title for title, _ in found["items"]}
        labels["titles"] = {title for title, _ in labels["items"]}
        for slot, count in counts.items():
            for place, values in enumerate((found[slot] & labels[slot], found[slot], labels[slot])):
                count[place] += len(values)
    return {slot: Measured(*count) for slot, count in counts.items()}


def table(entries: Sequence[Mapping[str, Any]], catalogue: Catalogue, reads: Reads) -> str:
    """Precision and recall of every slot, by half and language, as lines of text."""
    lines = [f"{'messages':30}{'slot':10}{'precision':>10}{'recall':>8}"]
    for half in HALVES:
        for language in (None, *LANGUAGES):
            chosen = [
                each
                for each in entries
                if each["half"] == half and language in (None, each["language"])
            ]
            label = f"{half}, {language or 'all'} ({len(chosen)})"
            for slot, found in measure(chosen, catalogue, reads).items():
                lines.append(f"{label:30}{slot:10}{found.precision:10.3f}{found.recall:8.3f}")
                label = ""
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Print the table of the messages and data set that the arguments name."""
    from experiments.config.compose import compose, typed
    from experiments.data.prepare import prepare

    given = dict(each.partition("=")[::2] for each in arguments)
    config = typed(compose([f"dataset={given.get('dataset', 'ml-100k')}"]))
    data = prepare(config.dataset, data_dir=given.get("data_dir", config.data_dir))
    entries = read_messages(given.get("messages", MESSAGES))
    catalogue = Catalogue.of(data)
    reads = Understanding(catalogue).understand
    if "wrong" in given:
        chosen = [each for each in entries if each["half"] == given["wrong"]]
        _print_wrong(chosen, catalogue, reads)
    print(table(entries, catalogue, reads))


def _print_wrong(entries: Sequence[Mapping[str, Any]], catalogue: Catalogue, reads: Reads) -> None:
    for entry in entries:
        found, labels = understood_slots(entry, catalogue, reads), labelled_slots(entry)
        for slot in SLOTS:
            if found[slot] != labels[slot]:
                print(f"{entry['text']}\n    {slot}: {found[slot]} instead of {labels[slot]}")


if __name__ == "__main__":
    from experiments.failures import answering

    with answering():
        main(sys.argv[1:])
