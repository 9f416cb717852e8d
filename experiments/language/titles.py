"""The items' titles as prompts name them: their own, or a control that says nothing of the item."""

from collections.abc import Sequence

import numpy as np

SEED = 2024


def controlled(titles: Sequence[str], control: str | None) -> Sequence[str]:
    """The titles, or what stands in for them.

    Parameters
    ----------
    titles : sequence of str
        The padding's first.
    control : str or None
        None, "none": the titles. "shuffled": each item has another's. "random": "Item" and a number.
    """
    if control == "shuffled":
        dealt = np.random.default_rng(SEED).permutation(np.arange(1, len(titles)))
        return [titles[0], *(titles[item] for item in dealt)]
    return neutral(titles) if control == "random" else titles


def neutral(titles: Sequence[str]) -> list[str]:
    """Titles that say nothing, in no order.

    Parameters
    ----------
    titles : sequence of str
        The padding's first.
    """
    numbers = np.random.default_rng(SEED).permutation(len(titles))
    return ["", *(f"Item {number}" for number in numbers[1:])]
