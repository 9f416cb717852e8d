"""Titles of films as catalogues spell them, normalised so that they compare."""

import re
import unicodedata

ARTICLES = re.compile(
    r"the|an?|il?|l[aeo]?|gli|les|une?|un[oa]|der|die|das|den|eine?|el|l[ao]s|os?|as|de|het|een|det",
    re.IGNORECASE,
)
"""Words that catalogues move behind the title: "Postino, Il"."""

_INVERTED = re.compile(r"^(?P<rest>.+),\s*(?P<article>[^\s,']+)'?$")
_ALSO = re.compile(r"\ba\.?\s?k\.?\s?a\b\.?:?", re.IGNORECASE)


def titles(title: str) -> list[str]:
    """The names of a film by its title, normalised: the title, what stands in brackets, what it is also known as.

    Accents, case, apostrophes and punctuation do not count, "&" is "and", and an article behind a comma
    stands in front.

    Parameters
    ----------
    title : str
        As in "Postman, The (Postino, Il)".

    Returns
    -------
    list of str
        As in ["the postman", "il postino"], each once.
    """
    outside = re.sub(r"\([^()]*\)", " ", title)
    pieces = [outside, *re.findall(r"\(([^()]*)\)", title)]
    names = [_plain(name) for piece in pieces for name in _ALSO.split(piece)]
    return [name for name in dict.fromkeys(names) if name]


def _plain(name: str) -> str:
    name = name.strip()
    inverted = _INVERTED.match(name)
    if inverted and ARTICLES.fullmatch(inverted["article"]):
        name = f"{inverted['article']} {inverted['rest']}"
    letters = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    letters = re.sub(r"['’`]", "", letters.replace("&", " and "))
    return " ".join(re.findall(r"\w+", letters))
