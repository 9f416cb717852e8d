"""What a data set is like: its size, its time, how long histories are, how uneven popularity is."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from experiments.data.prepared import Prepared

QUANTILES = (0, 10, 25, 50, 75, 90, 100)
HEAD_SHARE = 0.2
# Times between 1973 and 2100 in the unit's ticks since 1970.
_UNITS = {"seconds": 1, "milliseconds": 1000}
_EARLIEST, _LATEST = 1e8, 4.1e9


def inspect(data: Prepared) -> dict[str, Any]:
    """The facts of a prepared data set, as plain content.

    Parameters
    ----------
    data : Prepared
        The prepared data set.

    Returns
    -------
    dict
        name, hash, rows, users, items; density (the share of all pairs of user and item that
        occur); time (None, or first, last and their unit: ISO dates where the times look like
        seconds or milliseconds since 1970, else the numbers and unit None); history_length and
        popularity (percent to quantile, rows counted); head_share (the share of rows that the most
        popular fifth of the items has); gini of the popularity (0 is even, 1 is one item alone);
        items_without_title, items_without_text; joined (None, or the shares of the items and of their
        rows that `dataset.join` found); repeated_interactions (rows whose pair of user and
        item occurred before).
    """
    lengths = history_lengths(data)
    popularity = popularities(data)
    pairs = _distinct_pairs(data)
    return {
        "name": data.name,
        "hash": data.hash,
        "rows": data.n_interactions,
        "users": data.n_users,
        "items": data.n_items,
        "density": pairs / (data.n_users * data.n_items),
        "time": _span(data.timestamps),
        "history_length": _quantiles(lengths),
        "popularity": _quantiles(popularity),
        "head_share": float(popularity[: int(np.ceil(HEAD_SHARE * len(popularity)))].sum())
        / data.n_interactions,
        "gini": gini(popularity),
        "items_without_title": data.item_titles[1:].count(""),
        "items_without_text": data.item_texts[1:].count(""),
        "joined": _joined(data),
        "repeated_interactions": data.n_interactions - pairs,
    }


def history_lengths(data: Prepared) -> np.ndarray:
    """The number of interactions of each user.

    Parameters
    ----------
    data : Prepared
        The prepared data set.

    Returns
    -------
    ndarray
        int64, shape (n_users,).
    """
    return np.diff(data.indptr)[1:]


def popularities(data: Prepared) -> np.ndarray:
    """The number of interactions of each item, the most popular first.

    Parameters
    ----------
    data : Prepared
        The prepared data set.

    Returns
    -------
    ndarray
        int64, shape (n_items,).
    """
    return np.sort(np.bincount(data.items, minlength=data.n_items + 1)[1:])[::-1]


def gini(counts: np.ndarray) -> float:
    """The Gini coefficient of counts: their mean absolute difference, divided by twice their mean.

    Parameters
    ----------
    counts : ndarray
        Counts per item, shape (n_items,), not all 0.

    Returns
    -------
    float
        0 where all counts are equal, near 1 where one item has them all.
    """
    ascending = np.sort(counts).astype(np.float64)
    n = len(ascending)
    ranks = np.arange(1, n + 1)
    return float(2 * (ranks @ ascending) / (n * ascending.sum()) - (n + 1) / n)


def _title(facts: dict[str, Any]) -> Text:
    return Text.assemble(f"{facts['name']}  ", (facts["hash"][:12], "dim"))


def table(facts: dict[str, Any]) -> Table:
    """The facts as a table for the terminal.

    Parameters
    ----------
    facts : dict of str to object
        What `inspect` returns.
    """
    shown = Table(title=_title(facts), show_header=False)
    shown.add_column(style="bold")
    shown.add_column(justify="right")
    for key in ("rows", "users", "items"):
        shown.add_row(key.capitalize(), f"{facts[key]:,}")
    shown.add_row("Density", f"{facts['density']:.4%}")
    time = facts["time"]
    if time is None:
        shown.add_row("Time", "none: file order")
    else:
        shown.add_row("First", str(time["first"]))
        shown.add_row("Last", str(time["last"]))
        shown.add_row("Times are", time["unit"] or "numbers of no known unit")
    shown.add_section()
    heads = "  ".join(f"{percent:>7}%" for percent in QUANTILES)
    shown.add_row("Quantiles", heads)
    for key, label in (("history_length", "History length"), ("popularity", "Item popularity")):
        shown.add_row(label, "  ".join(f"{value:>8,.0f}" for value in facts[key].values()))
    shown.add_section()
    shown.add_row(f"Rows of the top {HEAD_SHARE:.0%} items", f"{facts['head_share']:.1%}")
    shown.add_row("Gini of popularity", f"{facts['gini']:.3f}")
    if facts["joined"] is not None:
        for key, share in facts["joined"].items():
            shown.add_row(f"{key.capitalize()} joined", f"{share:.1%}")
    for key in ("items_without_title", "items_without_text", "repeated_interactions"):
        shown.add_row(key.replace("_", " ").capitalize(), f"{facts[key]:,}")
    return shown


def _quantiles(values: np.ndarray) -> dict[str, float]:
    found = np.percentile(values, QUANTILES)
    return {str(percent): float(value) for percent, value in zip(QUANTILES, found, strict=True)}


def _span(times: np.ndarray | None) -> dict[str, Any] | None:
    if times is None:
        return None
    first, last = times.min().item(), times.max().item()
    for unit, ticks in _UNITS.items():
        if _EARLIEST * ticks <= first and last <= _LATEST * ticks:
            return {"first": _iso(first / ticks), "last": _iso(last / ticks), "unit": unit}
    return {"first": first, "last": last, "unit": None}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _joined(data: Prepared) -> dict[str, float] | None:
    counts = data.manifest["counts"]
    if "items_joined" not in counts:
        return None
    return {
        "items": counts["items_joined"] / data.n_items,
        "rows": counts["interactions_joined"] / data.n_interactions,
    }


def _distinct_pairs(data: Prepared) -> int:
    pairs = data.users.astype(np.int64) * (data.n_items + 1) + data.items
    pairs.sort()
    return int(np.count_nonzero(pairs[1:] != pairs[:-1])) + 1
