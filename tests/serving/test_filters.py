"""Conditions of item columns, against masks written by hand; nothing of them is code."""

import polars as pl
import pytest

from experiments.errors import PaddockError
from experiments.serving.filters import parse_where

ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "year": ["1984", "1999", None, "2001"],
        "price": [3.5, None, 10.0, -2.0],
        "class": [["Comedy", "War"], ["Drama"], [], None],
        "title": ['Alien\'s "cat"', "The Dog", "dog house", None],
    }
)
T, F = True, False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year >= 1990", [F, T, F, T]),
        ("year>=1990", [F, T, F, T]),
        ("year != 1999", [T, F, F, T]),
        ("price < 5", [T, F, F, T]),
        ("price = -2", [F, F, F, T]),
        ('class contains "comedy"', [T, F, F, F]),
        ("class = Drama", [F, T, F, F]),
        ("class != Drama", [T, F, T, T]),
        ("class contains Com", [F, F, F, F]),
        ("title contains dog", [F, T, T, F]),
        ("title = 'the dog'", [F, T, F, F]),
        ('title contains "\\"cat\\""', [T, F, F, F]),
        ("not title contains dog", [T, F, F, T]),
        ("year < 1990 or year > 2000", [T, F, F, T]),
        ("year > 1900 and price < 5 or class = Drama", [T, T, F, T]),
        ("year > 1900 and (price < 5 or class = Drama)", [T, T, F, T]),
        ("not (year > 1900 and price < 5)", [F, T, T, F]),
        ("NOT year > 1990 AND title contains alien", [T, F, F, F]),
    ],
)
def test_masks(text: str, expected: list[bool]) -> None:
    assert parse_where(text).mask(ITEMS).tolist() == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yaer > 3", "did you mean year?"),
        ("year >", "a value is wanted"),
        ("year 1990", "a sign such as"),
        ("(year > 3", "')' is wanted"),
        ("year > 3 year < 4", "'and' or 'or' is wanted"),
        ("class > 3", "class contains"),
        ("title > dog", "compares numbers"),
        ("year > 3; drop table items", "';' is not understood"),
        ("__import__('os').system('true')", "is not understood"),
        ("__import__('os')", "a sign such as"),
        ("", "a column is wanted"),
        ("(" * 200 + "year > 3" + ")" * 200, "brackets within brackets"),
        ("not " * 5000 + "year > 3", "brackets within brackets"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(PaddockError) as caught:
        parse_where(text).mask(ITEMS)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_condition_names_its_columns() -> None:
    assert parse_where("year > 3 and (price < 2 or year < 9)").columns == {"year", "price"}
