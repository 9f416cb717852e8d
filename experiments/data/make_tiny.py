"""Make datasets/tiny: python -m experiments.data.make_tiny

A small data set with planted structure, so that a model that learns beats popularity by a wide margin:

- taste: a user likes two of six genres and mostly picks from them;
- sequence: a genre's items have a cyclic order, and the next pick is often the next item of the last
  pick's genre;
- words: titles draw on their genre's words;
- popularity: a genre's early items are picked more often at random.

The same bytes come out everywhere: RandomState's stream is frozen by NumPy's policy.
"""

from pathlib import Path

import numpy as np

from experiments.paths import ROOT

GENRES = {
    "Maritime": (
        ["Silent", "Drowned", "Salted", "Northern", "Stormy"],
        ["Harbour", "Lighthouse", "Tide", "Anchor"],
    ),
    "Mystery": (
        ["Hidden", "Vanished", "Crooked", "Nameless", "Locked"],
        ["Detective", "Alibi", "Witness", "Cipher"],
    ),
    "Space": (
        ["Lunar", "Orbital", "Stellar", "Weightless", "Distant"],
        ["Station", "Comet", "Colony", "Signal"],
    ),
    "Romance": (
        ["Tender", "Faithful", "Secret", "Longing", "Summer"],
        ["Kiss", "Letter", "Wedding", "Heart"],
    ),
    "Fantasy": (
        ["Enchanted", "Elven", "Cursed", "Golden", "Ancient"],
        ["Dragon", "Crown", "Wizard", "Sword"],
    ),
    "Cooking": (
        ["Smoky", "Rustic", "Buttered", "Spiced", "Hearty"],
        ["Kitchen", "Bread", "Supper", "Orchard"],
    ),
}
USERS = 200
FOLLOWS = 0.55
LIKES = 0.35
COUNTRIES = ("no", "kr", "br", "ke")


def make_tiny(folder: Path) -> None:
    """Write tiny.inter, tiny.item and tiny.user into `folder`, which is made where it is not there."""
    random = np.random.RandomState(20240229)
    names = list(GENRES)
    titles = [
        [f"The {first} {second}" for second in seconds for first in firsts]
        for firsts, seconds in GENRES.values()
    ]
    n_genres, size = len(names), len(titles[0])
    # Item tokens are shuffled, so that no model reads the planted order off the ids.
    number = random.permutation(n_genres * size).reshape(n_genres, size) + 1
    popularity = 1.0 / (np.arange(size) + 3.0)

    items = {}
    for genre, name in enumerate(names):
        for place in range(size):
            # Every fifth item is of a second genre in name, as real catalogues have it.
            other = f" {names[(genre + 1) % n_genres]}" if place % 5 == 4 else ""
            year = 1990 + random.randint(0, 35)
            token = number[genre, place]
            items[token] = f"i{token}\t{titles[genre][place]}\t{name}{other}\t{year}"

    rows: list[tuple[int, int, str]] = []
    people = []
    for user in range(1, USERS + 1):
        liked = random.permutation(n_genres)[:2]
        people.append(f"u{user}\t{18 + random.randint(0, 50)}\t{COUNTRIES[liked[0] % 4]}")
        seen = np.zeros((n_genres, size), dtype=bool)
        time = 1_600_000_000 + random.randint(0, 10_000_000)
        genre, place = liked[0], random.randint(0, size)
        for _ in range(random.randint(15, 41)):
            seen[genre, place] = True
            score = random.randint(3, 6) if genre in liked else random.randint(1, 5)
            line = f"u{user}\ti{number[genre, place]}\t{score}\t{time}"
            rows.append((time, len(rows), line))
            # One step in eight takes no time at all: ties, which file order decides.
            time += 0 if random.randint(0, 8) == 0 else random.randint(60, 90_000)
            genre, place = _next(random, liked, seen, popularity, genre, place)

    folder.mkdir(parents=True, exist_ok=True)
    _write(
        folder / "tiny.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float",
        [line for _, _, line in sorted(rows)],
    )
    _write(
        folder / "tiny.item",
        "item_id:token\ttitle:token_seq\tgenres:token_seq\tyear:float",
        [items[token] for token in sorted(items)],
    )
    _write(folder / "tiny.user", "user_id:token\tage:float\tcountry:token", people)


def _next(
    random: np.random.RandomState,
    liked: np.ndarray,
    seen: np.ndarray,
    popularity: np.ndarray,
    genre: int,
    place: int,
) -> tuple[int, int]:
    """The next pick: the follower in the genre's cycle, a liked genre's item, or any."""
    chance = random.random_sample()
    if chance < FOLLOWS and genre in liked:
        follower = (place + 1) % len(popularity)
        if not seen[genre, follower]:
            return genre, follower
    weights = np.where(seen, 0.0, popularity)
    if chance < FOLLOWS + LIKES:
        others = np.ones(len(weights), dtype=bool)
        others[liked] = False
        if weights[liked].any():
            weights[others] = 0.0
    flat = np.cumsum(weights.ravel())
    pick = int(np.searchsorted(flat, random.random_sample() * flat[-1], side="right"))
    return divmod(pick, len(popularity))


def _write(path: Path, header: str, lines: list[str]) -> None:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    make_tiny(ROOT / "datasets" / "tiny")
