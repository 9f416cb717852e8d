"""A suggestion of a language model where the catalogue has nothing: outside of the catalogue, and unchecked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.errors import PaddockError
from experiments.talk.prompts import DATA_ONLY, as_data, turns
from experiments.talk.titles import Titles
from experiments.visible import visible

if TYPE_CHECKING:
    from experiments.language.client import Client

LONGEST = 120
"""Characters of a suggested title."""

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string", "minLength": 1, "maxLength": LONGEST}},
    "required": ["title"],
    "additionalProperties": False,
}

TASK = (
    "A recommender found nothing in its catalogue for the message. Name one real title from outside of it that fits, "
    f"and nothing else. {DATA_ONLY}"
)


@dataclass(frozen=True)
class Outside:
    """What a language model suggests from outside of the catalogue.

    Attributes
    ----------
    title : str
        As the model wrote it; nobody has checked that there is such a thing.
    by : str
        The model.
    """

    title: str
    by: str


def suggested(
    client: "Client", message: str, *, filters: Sequence[str], past: str, titles: Titles
) -> tuple[Outside | None, str]:
    """A title from outside of the catalogue.

    Parameters
    ----------
    client : Client
    message : str
    filters : sequence of str
        Conditions of the conversation.
    past : str
        What people do with such items, such as "watched".
    titles : Titles
        Of the catalogue: what is in it is no suggestion.

    Returns
    -------
    Outside or None
    why : str
        Why there is none.
    """
    asked = [
        as_data("message", message),
        as_data("filters", [*filters]),
        as_data("what_people_do_with_it", past),
    ]
    try:
        title = client.structured(turns(TASK, "\n".join(asked)), SCHEMA, max_tokens=80)["title"]
    except PaddockError as error:
        return None, str(error)
    shown = visible(" ".join(title.split()))
    if not shown or titles.named(shown) is not None:
        return None, "what the language model suggests is in the catalogue"
    return Outside(shown, client.identity), ""
