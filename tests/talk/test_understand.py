"""Understanding messages: by hand on a small shop, by figures on the labelled messages of MovieLens."""

from pathlib import Path

import pytest

from experiments.config.compose import compose, typed
from experiments.data.prepare import prepare
from experiments.errors import PaddockError
from experiments.talk import measure as measuring
from experiments.talk.catalogue import Catalogue
from experiments.talk.conditions import Condition, merged
from experiments.talk.opinions import opinion_of
from experiments.talk.state import State
from experiments.talk.understand import INTENTS, LONGEST, Understanding


def mentions(understanding: Understanding, message: str) -> dict[str, str]:
    return {each.item: each.opinion for each in understanding.understand(message).mentions}


@pytest.mark.parametrize(
    ("message", "items"),
    [
        ("I loved The Matrix", {"f1": "like"}),
        ("i loved the matrix", {"f1": "like"}),
        ("Matrix, The was great", {"f1": "like"}),
        ("I hated the Matirx", {"f1": "dislike"}),
        ("I enjoyed Sabrina (1954)", {"f3": "like"}),
        ("I enjoyed the 1954 version of Sabrina", {"f3": "like"}),
        ("I enjoyed Sabrina", {"f4": "like"}),
        ("amelie is wonderful", {"f10": "like"}),
        ("I fell asleep in The Wrath of Khan", {"f9": "dislike"}),
        ("Kill Bill was great", {"f8": "like"}),
        # A title's own words are no opinion on another, nor on itself.
        ("I saw Kill Bill", {"f8": "neutral"}),
        ("I saw Love Affair", {"f11": "neutral"}),
        ("La Haine bored me", {"f12": "dislike"}),
        ("I loved Titanic but hated Speed", {"f2": "like", "f7": "dislike"}),
        ("I loved Titanic, Speed and Kill Bill", {"f2": "like", "f7": "like", "f8": "like"}),
        ("Titanic and Speed are awful", {"f2": "dislike", "f7": "dislike"}),
        ("I don't like Titanic", {"f2": "dislike"}),
        ("I can't say that Titanic is not good; no, I liked Titanic", {"f2": "like"}),
        ("Titanic was long. But I loved it.", {"f2": "like"}),
        ("기생충은 정말 재밌었어요", {"f6": "like"}),
        ("기생충은 재미있지 않았어요", {"f6": "dislike"}),
        ("Titanic은 좋았지만 기생충은 별로였어요", {"f2": "like", "f6": "dislike"}),
        ("I like speed dating and to titanic effect", {}),
        ("i hate speed limits", {}),
        ("The films: 1. Titanic", {"f2": "neutral"}),
    ],
)
def test_items_and_opinions(
    understanding: Understanding, message: str, items: dict[str, str]
) -> None:
    assert mentions(understanding, message) == items


@pytest.mark.parametrize(
    ("message", "conditions"),
    [
        ("a comedy from before 1980", ['genres contains "Comedy"', "year < 1980"]),
        ("films from the nineties", ["year >= 1990", "year <= 1999"]),
        ("films from the 2000s", ["year >= 2000", "year <= 2009"]),
        ("a drama, but no romance", ['genres contains "Drama"', 'not genres contains "Romance"']),
        ("no drama or romance", ['not (genres contains "Drama" or genres contains "Romance")']),
        ("action or drama", ['(genres contains "Action" or genres contains "Drama")']),
        ("something with price below 5", ["price < 5"]),
        ("price of at most 5.5 please", ["price <= 5.5"]),
        ("90년대 코미디 추천해줘", ["year >= 1990", "year <= 1999", 'genres contains "Comedy"']),
        ("로맨스 말고 드라마", ['not genres contains "Romance"', 'genres contains "Drama"']),
        # The number of a title is no year.
        ("something like 2001: A Space Odyssey", []),
    ],
)
def test_conditions(understanding: Understanding, message: str, conditions: list[str]) -> None:
    assert [each.text for each in understanding.understand(message).conditions] == conditions


@pytest.mark.parametrize(
    ("message", "profile"),
    [
        ("I'm 25 and my skin type is oily", {"age": "25", "skin_type": "oily"}),
        ("I have a friend of 30 who is a nurse", {}),
        ("I'm a 31 year old nurse", {"age": "31", "job": "nurse"}),
        ("27살이에요", {"age": "27"}),
        ("a film about a cook", {}),
    ],
)
def test_profile(understanding: Understanding, message: str, profile: dict[str, str]) -> None:
    assert understanding.understand(message).profile == profile


def test_places_of_the_list_before(understanding: Understanding) -> None:
    state = State(shown=("f1", "f2", "f3"))
    made = understanding.understand("I hate the second one", state)
    assert [(each.item, each.opinion) for each in made.mentions] == [("f2", "dislike")]
    assert made.applied(state).dislikes == ("f2",)
    made = understanding.understand("세 번째 영화에 대해 설명해 줘", state)
    assert (made.intent, made.mentions[0].item) == ("explain", "f3")
    assert understanding.understand("the fifth one", state).mentions == ()


def test_the_query_is_what_is_left(understanding: Understanding) -> None:
    made = understanding.understand("find a comedy about a chauffeur's daughter in Paris")
    assert made.query == "chauffeurs paris"


def test_later_conditions_replace_earlier_ones_of_their_column() -> None:
    def stated(*texts: str) -> list[Condition]:
        return [Condition("", text, 0, 0) for text in texts]

    before = ('genres contains "Comedy"', "year < 1980", 'not genres contains "Horror"')
    assert merged(before, stated("year >= 1990")) == (
        'genres contains "Comedy"',
        'not genres contains "Horror"',
        "year >= 1990",
    )
    assert merged(before, stated('genres contains "Horror"')) == (
        "year < 1980",
        'genres contains "Horror"',
    )


@pytest.mark.parametrize("message", ["", " \n\t", "\x1b\x00"])
def test_an_empty_message(understanding: Understanding, message: str) -> None:
    with pytest.raises(PaddockError, match="message is empty"):
        understanding.understand(message)


def test_a_message_that_is_too_long(understanding: Understanding) -> None:
    with pytest.raises(PaddockError, match=f"100,000 characters; {LONGEST:,} are the most"):
        understanding.understand("a" * 100_000)


def test_any_message_is_understood_somehow(understanding: Understanding) -> None:
    """Marks, markup, other scripts, and the longest message: an intent, and no error."""
    odd = [
        "?!",
        "<script>alert(1)</script>",
        "日本語の映画",
        "(" * 500,
        "🙂" * 50,
        "a " * 2000,
        "\\d+([",
    ]
    for message in odd:
        assert understanding.understand(message).intent in INTENTS


def test_state_travels_as_json() -> None:
    state = State(user="1", likes=("a", "b"), profile={"age": "3"}, filters=("year < 3",))
    assert State.from_json(state.to_json()) == state
    assert State.from_json("{}") == State()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "no JSON object"),
        ("{", "no JSON"),
        ('{"like": ["a"]}', "no key 'like'"),
        ('{"likes": "a"}', "likes is no list"),
        ('{"likes": [1]}', "likes is no list"),
        ('{"profile": {"age": 3}}', "profile is no object of texts"),
        ('{"user": 3}', "user is 3"),
        ('{"likes": ["a"], "dislikes": ["a"]}', "both hold 'a'"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_state_that_is_none(text: str, said: str) -> None:
    with pytest.raises(PaddockError, match=said):
        State.from_json(text)


def test_the_last_opinion_counts() -> None:
    state = State().judged("a", "like").judged("b", "like").judged("a", "dislike")
    assert (state.likes, state.dislikes) == (("b",), ("a",))
    assert state.judged("b", "neutral") == state


@pytest.mark.parametrize(
    ("text", "opinion"),
    [
        ("it is not bad", "like"),
        ("안 좋아요", "dislike"),
        ("나쁘지 않아요", "like"),
        ("it ends", "neutral"),
    ],
)
def test_negation(text: str, opinion: str) -> None:
    assert opinion_of(text) == opinion


@pytest.fixture(scope="module")
def movielens(tmp_path_factory: pytest.TempPathFactory) -> Understanding:
    config = typed(compose(["dataset=ml-100k"])).dataset
    return Understanding(
        Catalogue.of(prepare(config, data_dir=tmp_path_factory.mktemp("prepared")))
    )


def test_the_messages_name_what_is_there(movielens: Understanding) -> None:
    entries = measuring.read_messages()
    assert len(entries) == 200
    assert len({each["text"] for each in entries}) == 200
    catalogue = movielens.catalogue
    years = catalogue.items["release_year"].to_list()
    known = set(catalogue.titles) | {
        f"{title} ({year})" for title, year in zip(catalogue.titles, years, strict=True)
    }
    for entry in entries:
        assert set(entry.get("items", {})) <= known
        assert set(entry.get("items", {}).values()) <= {"like", "dislike", "neutral"}
        for column, value in entry.get("profile", {}).items():
            assert value in catalogue.profile[column] or column == "age"


@pytest.mark.parametrize("half", measuring.HALVES)
def test_how_much_is_understood(movielens: Understanding, half: str) -> None:
    """The figures of docs/howto/talk.md, with room for a changed rule; titles stand first."""
    entries = [each for each in measuring.read_messages() if each["half"] == half]
    found = measuring.measure(entries, movielens.catalogue, movielens.understand)
    least = {"titles": 0.95, "intent": 0.95, "items": 0.85, "where": 0.95, "profile": 0.95}
    for slot, bound in least.items():
        assert found[slot].precision >= bound, slot
        assert found[slot].recall >= bound, slot


def test_a_file_of_messages_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(PaddockError, match="cannot be read"):
        measuring.read_messages(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("- {text: hi, intent: greet}\n")
    with pytest.raises(PaddockError, match="message 1 needs a text and an intent"):
        measuring.read_messages(tmp_path / "bad.yaml")
