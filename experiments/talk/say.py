"""Words by templates: every name and number in them comes from the evidence."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from experiments.talk.catalogue import Catalogue
from experiments.talk.choose import Picked
from experiments.talk.evidence import Card
from experiments.talk.suggest import Outside
from experiments.talk.survey import Question
from experiments.talk.understand import Understood
from experiments.visible import visible

FILE = Path(__file__).with_name("phrases.yaml")


def language_of(message: str) -> str:
    """The language to answer in: "ko" where the message has Hangul, else "en"."""
    return "ko" if any("가" <= letter <= "힣" for letter in message) else "en"


def phrase(language: str, name: str, /, **values: object) -> str:
    """A phrase filled in; what is filled in cannot act on a terminal or a page.

    Parameters
    ----------
    language : str
    name : str
        A key of phrases.yaml.
    values
        What stands for the names in braces.
    """
    shown = {key: visible(str(value), keep="\n") for key, value in values.items()}
    return _phrases()[language][name].format(**shown)


def card_line(card: Card, language: str) -> str:
    """A card in one line: title, facts, the first reason, the first quote."""
    reason = f" — {card.reasons[0].text}" if card.reasons else ""
    quote = f" “{card.quotes[0].text}” [{card.quotes[0].id}]" if card.quotes else ""
    return phrase(
        language,
        "line",
        rank=card.rank,
        title=card.title,
        facts=facts(card),
        reason=reason,
        quote=quote,
    )


def facts(card: Card) -> str:
    """A card's facts in brackets, "" where it has none."""
    values = "; ".join(value for _, value in card.facts[:3])
    return f" ({values})" if values else ""


def suggestion_line(outside: Outside, language: str) -> str:
    """A suggestion from outside of the catalogue, marked as such."""
    return phrase(language, "suggested", title=outside.title, by=outside.by)


class Speaker:
    """Says what was found, by templates.

    Parameters
    ----------
    catalogue : Catalogue
    model : str
        What ranks, by its name.
    past : str
        What users did with an item, such as "watched".
    """

    def __init__(self, catalogue: Catalogue, *, model: str, past: str) -> None:
        self._catalogue = catalogue
        self._model = model
        self._past = past

    def recommended(
        self,
        understood: Understood,
        picked: Picked,
        cards: Sequence[Card],
        language: str,
        filters: Sequence[str],
        question: Question | None,
    ) -> str:
        """A list of cards, and the next question of the survey.

        Parameters
        ----------
        understood : Understood
        picked : Picked
        cards : sequence of Card
            Those of `picked`; where there are none, that is said with the filters.
        language : str
        filters : sequence of str
        question : Question or None
        """
        lines = []
        if understood.intent == "feedback" and understood.mentions:
            lines.append(self._noted(understood, language))
        if not cards:
            named = f" ({' and '.join(filters)})" if filters else ""
            lines.append(phrase(language, "nothing", filters=named))
        else:
            lines.append(self._heading(understood, picked, language))
            lines += [card_line(card, language) for card in cards]
        if question is not None:
            name = "asks_choice" if question.options else "asks_number"
            options = ", ".join(question.options[:8])
            lines.append(phrase(language, name, name=question.name, options=options))
        return "\n".join(lines)

    def explained(self, cards: Sequence[Card], language: str) -> str:
        """Facts, reasons and quotes of each card."""
        lines = []
        for card in cards:
            reasons = "; ".join(reason.text for reason in card.reasons)
            reasons = reasons or phrase(language, "no_reasons")
            lines.append(
                phrase(language, "explained", title=card.title, facts=facts(card), reasons=reasons)
            )
            lines += [f"“{quote.text}” [{quote.id}]" for quote in card.quotes]
        return "\n".join(lines)

    def compared(self, cards: Sequence[Card], shared: int, language: str) -> str:
        """Cards side by side; their scores are counts of users, `shared` is that of the first two together."""
        lines = [phrase(language, "compared", titles=", ".join(card.title for card in cards))]
        for card in cards:
            count = int(card.score)
            named = {"title": card.title, "facts": facts(card), "count": count, "past": self._past}
            lines.append(phrase(language, "compared_line", **named))
        return "\n".join(
            [*lines, phrase(language, "compared_both", shared=shared, past=self._past)]
        )

    def _heading(self, understood: Understood, picked: Picked, language: str) -> str:
        titles = " / ".join(self._catalogue.title_of(each.item) for each in understood.mentions)
        ranked = picked.ranked
        name = {"query": "search", "similar": "similar", "search": "search"}.get(
            picked.rule, ranked.rule if ranked.rule in ("profile", "popular", "history") else "run"
        )
        return phrase(
            language,
            name,
            titles=titles,
            query=understood.query or titles,
            people=ranked.people,
            columns=", ".join(ranked.columns),
            model=self._model,
        )

    def _noted(self, understood: Understood, language: str) -> str:
        kinds = {"like": "like", "dislike": "dislike", "neutral": "known"}
        opinions = [
            phrase(language, kinds[each.opinion], title=self._catalogue.title_of(each.item))
            for each in understood.mentions
        ]
        return phrase(language, "noted", opinions=", ".join(opinions))


@cache
def _phrases() -> dict[str, dict[str, str]]:
    read: Any = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return read
