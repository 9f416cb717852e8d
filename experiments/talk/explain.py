"""Cards: what is shown of an item, with its facts, reasons and quotes, all from columns, counts and texts."""

from collections.abc import Iterator, Sequence

from experiments.talk.catalogue import Catalogue
from experiments.talk.choose import Picked
from experiments.talk.evidence import Card, Reason, facts_of
from experiments.talk.ranking import ByNeighbours
from experiments.talk.say import phrase
from experiments.talk.state import State
from experiments.talk.texts import Texts
from experiments.talk.understand import Understood


class Explainer:
    """Makes cards.

    Parameters
    ----------
    catalogue : Catalogue
    ranker : ByNeighbours
        Counts the users whom items share.
    texts : Texts or None
    past : str
        What users did with an item, such as "watched".
    """

    def __init__(
        self, catalogue: Catalogue, ranker: ByNeighbours, texts: Texts | None, *, past: str
    ) -> None:
        self._catalogue = catalogue
        self._ranker = ranker
        self._texts = texts
        self._past = past

    def cards(
        self, state: State, understood: Understood, picked: Picked, language: str
    ) -> tuple[Card, ...]:
        """A card for each picked row.

        Parameters
        ----------
        state : State
        understood : Understood
        picked : Picked
        language : str
            Of the reasons.
        """
        return tuple(
            self._card(row, rank, float(picked.scores[row]), state, understood, picked, language)
            for rank, row in enumerate(picked.rows, start=1)
        )

    def _card(
        self,
        row: int,
        rank: int,
        score: float,
        state: State,
        understood: Understood,
        picked: Picked,
        language: str,
    ) -> Card:
        quotes = self._texts.quotes(row, understood.query) if self._texts else ()
        return Card(
            rank=rank,
            item=self._catalogue.tokens[row],
            title=self._catalogue.titles[row] or self._catalogue.tokens[row],
            score=round(score, 6),
            facts=facts_of(row, self._catalogue),
            reasons=tuple(self._reasons(row, state, understood, picked, language)),
            quotes=quotes,
        )

    def _reasons(
        self, row: int, state: State, understood: Understood, picked: Picked, language: str
    ) -> Iterator[Reason]:
        if picked.rule == "query":
            words = [
                each for each in understood.query.split() if each in self._text_of(row).casefold()
            ]
            if words:
                yield Reason(
                    "query", phrase(language, "because_query", words=", ".join(words)), tuple(words)
                )
        if picked.rule == "similar":
            yield from self._shared(
                row, [each.item for each in understood.mentions], language, both=True
            )
        else:
            yield from self._shared(row, state.likes, language, both=False)
        if picked.ranked.rule == "profile":
            columns = ", ".join(picked.ranked.columns)
            text = phrase(language, "because_profile", people=picked.ranked.people, columns=columns)
            yield Reason("profile", text, picked.ranked.columns)
        if picked.ranked.rule == "run" and picked.ranked.columns:
            columns = ", ".join(picked.ranked.columns)
            yield Reason(
                "profile",
                phrase(language, "because_columns", columns=columns),
                picked.ranked.columns,
            )
        if picked.ranked.rule == "popular" and picked.rule != "similar":
            count = int(self._catalogue.popularity[row])
            text = phrase(language, "because_popular", count=count, past=self._past)
            yield Reason("popular", text, ())

    def _shared(
        self, row: int, items: Sequence[str], language: str, *, both: bool
    ) -> Iterator[Reason]:
        """The named item that most users of this one have too, as a reason."""
        counted = [(self._ranker.shared(row, self._catalogue.rows[item]), item) for item in items]
        counted = [each for each in counted if each[0]]
        if not counted:
            return
        shared, item = max(counted, key=lambda pair: pair[0])
        title = self._catalogue.title_of(item)
        name = "because_similar" if both else "because_history"
        yield Reason(
            "history", phrase(language, name, shared=shared, past=self._past, liked=title), (item,)
        )

    def _text_of(self, row: int) -> str:
        pieces = self._texts.quotes(row, "", most=20) if self._texts else ()
        return " ".join(
            [
                self._catalogue.titles[row],
                *(value for _, value in facts_of(row, self._catalogue)),
                *(each.text for each in pieces),
            ]
        )
