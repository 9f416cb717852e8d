"""Names that nobody has, and the names nearest to them."""

from rapidfuzz import fuzz, process


def nearest_ids(token: str, known: list[str], *, n: int = 3) -> list[str]:
    """The known ids nearest to an unknown one: by value if all are numbers, else by spelling.

    Parameters
    ----------
    token : str
        The unknown id.
    known : list of str
        All ids.
    n : int
        How many to return, at most.
    """
    try:
        return sorted(known, key=lambda other: (abs(int(other) - int(token)), int(other)))[:n]
    except ValueError:
        return [name for name, *_ in process.extract(token, known, scorer=fuzz.ratio, limit=n)]
