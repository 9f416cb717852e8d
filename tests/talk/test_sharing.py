"""What items share: genres of lists, ingredients of texts, and sentences that are no lists."""

import numpy as np
import polars as pl

from experiments.talk.catalogue import Catalogue
from experiments.talk.sharing import Sharing
from tests.talk.conftest import FILMS, films


def creams() -> Catalogue:
    return Catalogue(
        items=pl.DataFrame(
            {
                "item": ["a", "b", "c", "d"],
                "title": ["Aurora", "Basalt", "Cypress", "Dahlia"],
                "ingredients": [
                    "Water, Glycerin, Rose oil",
                    "Water; Clay",
                    "Glycerin, Water",
                    None,
                ],
                "claim": ["Soft, and light.", "Cleans, and dries.", "Calms, and cools.", ""],
                "price": [4.0, 5.5, 4.0, None],
            }
        ),
        titles=["Aurora", "Basalt", "Cypress", "Dahlia"],
        users=pl.DataFrame({"user": ["u"]}),
        popularity=np.array([1, 5, 3, 0]),
    )


def test_ingredients_of_a_text_are_looked_up_one_by_one() -> None:
    sharing = Sharing(creams())
    assert sharing.facts(0) == [
        ("ingredients", "Water"),
        ("ingredients", "Glycerin"),
        ("ingredients", "Rose oil"),
        ("claim", "Soft, and light."),
        ("price", "4"),
    ]
    assert sharing.facts(3) == []
    assert sharing.rows("ingredients", "Water") == [1, 2, 0]
    assert sharing.rows("ingredients", "Glycerin") == [2, 0]
    assert sharing.rows("price", "4") == [2, 0]
    assert sharing.rows("ingredients", "Gold") == []


def test_genres_of_a_list() -> None:
    catalogue = films()
    sharing = Sharing(catalogue)
    romances = [row for row, (*_, genres) in enumerate(FILMS) if "Romance" in genres]
    expected = sorted(romances, key=lambda row: -catalogue.popularity[row])
    assert sharing.rows("genres", "Romance") == expected
    assert ("year", "1999") in sharing.facts(0)
    assert not [fact for row in range(len(FILMS)) for fact in sharing.facts(row) if "title" in fact]
