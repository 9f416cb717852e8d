"""A small shop of films, in English and Korean, whose answers are known by reading it."""

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from experiments.config.schema import LLMClientConfig
from experiments.language.client import Client
from experiments.language.remote import Remote
from experiments.talk.catalogue import Catalogue
from experiments.talk.texts import Texts, cut
from experiments.talk.understand import Understanding
from tests.llm_server import Server, serving

FILMS = [
    ("f1", "Matrix, The", 1999, ["Action", "Sci-Fi"]),
    ("f2", "Titanic", 1997, ["Drama", "Romance"]),
    ("f3", "Sabrina", 1954, ["Comedy", "Romance"]),
    ("f4", "Sabrina", 1995, ["Comedy", "Romance"]),
    ("f5", "2001: A Space Odyssey", 1968, ["Sci-Fi"]),
    ("f6", "기생충", 2019, ["Drama", "Thriller"]),
    ("f7", "Speed", 1994, ["Action"]),
    ("f8", "Kill Bill", 2003, ["Action"]),
    ("f9", "Star Trek: The Wrath of Khan", 1982, ["Sci-Fi"]),
    ("f10", "Amélie", 2001, ["Comedy", "Romance"]),
    ("f11", "Love Affair", 1939, ["Romance"]),
    ("f12", "Hate (Haine, La)", 1995, ["Drama"]),
]


def films() -> Catalogue:
    return Catalogue(
        items=pl.DataFrame(
            {
                "item_id": [token for token, *_ in FILMS],
                "title": [title for _, title, *_ in FILMS],
                "year": [float(year) for _, _, year, _ in FILMS],
                "genres": [genres for *_, genres in FILMS],
                "price": [float(place) + 0.5 for place in range(len(FILMS))],
            }
        ),
        titles=[title for _, title, *_ in FILMS],
        users=pl.DataFrame(
            {
                "user_id": [f"u{number}" for number in range(8)],
                "age": [float(20 + number) for number in range(8)],
                "skin_type": ["oily", "dry", "oily", "dry", "combination", "oily", "dry", "oily"],
                "job": ["nurse", "cook"] * 4,
            }
        ),
        popularity=np.array([50, 60, 3, 9, 20, 30, 25, 5, 8, 7, 2, 1]),
    )


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def model(server: Server) -> Client:
    """A language model behind HTTP that keeps no answers and does not wait between tries."""
    keys = LLMClientConfig(base_url=server.url, name="a-model", timeout=5.0, retries=1)
    return Client(Remote(keys, sleep=[].append))


def reviews(*rows: tuple[str, str]) -> Texts:
    """Texts on films, numbered in their order, by their words."""
    places = {token: place for place, (token, *_) in enumerate(FILMS, start=1)}
    table = pl.DataFrame(
        {
            "number": range(1, len(rows) + 1),
            "item": [places[item] for item, _ in rows],
            "text": [text for _, text in rows],
            "kind": ["review"] * len(rows),
        }
    )
    return Texts(cut(table))


@pytest.fixture(scope="session")
def understanding() -> Understanding:
    return Understanding(films())
