"""A language model words an answer; its words are used only where all of them are in the evidence."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.errors import PaddockError
from experiments.talk.evidence import Card, unfounded
from experiments.talk.prompts import DATA_ONLY, as_data, turns
from experiments.talk.say import card_line
from experiments.talk.titles import Titles

if TYPE_CHECKING:
    from experiments.language.client import Client
    from experiments.talk.catalogue import Catalogue

TASK = (
    "You word the answers of a recommender. Rewrite the draft as a short, friendly answer in the language of the "
    "message. Name only titles, numbers and facts of the evidence, in quotation marks only what is quoted there. "
    f"{DATA_ONLY}"
)


def phrased(
    client: "Client",
    draft: str,
    cards: Sequence[Card],
    message: str,
    *,
    titles: Titles,
    catalogue: "Catalogue",
) -> tuple[str, str]:
    """The words of a language model for a draft.

    Parameters
    ----------
    client : Client
    draft : str
        The words by template.
    cards : sequence of Card
        The evidence.
    message : str
        What the person said.
    titles : Titles
    catalogue : Catalogue

    Returns
    -------
    words, why : str
        The draft and why the model's words are not used, or its words and "".
    """
    evidence = [card_line(card, "en") for card in cards]
    asked = "\n".join(
        [as_data("message", message), as_data("evidence", evidence), as_data("draft", draft)]
    )
    try:
        said = client.complete(turns(TASK, asked), max_tokens=400).strip()
    except PaddockError as error:
        return draft, str(error)
    if not said:
        return draft, "it said nothing"
    wrong = unfounded(said, cards, titles, catalogue, also=draft)
    return (draft, f"{wrong[0]!r} is not in the evidence") if wrong else (said, "")
