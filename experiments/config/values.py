"""The types and ranges of single values, and the nearest known word to an unknown one."""

import difflib
import math
import re
from collections.abc import Iterable
from typing import Any

from experiments.errors import PaddockError

LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam")
KEEPS = ("best", "last")
SCHEDULES = ("constant", "cosine")
LOSS_TYPES = ("BCE", "BPR", "CE")
WINDOW_LOSSES = ("softmax", "sampled_softmax", "bce", "gbce")

MOST_NAMED = 10
"""How many words to choose from a message lists."""

_REAL = re.compile(r".*(_prob|_ratio|_weight|_max)")
"""Keys that are real numbers even where RecBole's default is written as an integer."""


_KINDS: dict[type, str] = {
    bool: "a truth value",
    int: "an integer",
    float: "a number",
    str: "a word",
    list: "a list",
    dict: "a mapping",
    type(None): "nothing",
}


def nearest(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """A hint naming the nearest known word, or the words to choose from.

    Parameters
    ----------
    prefix
        What a suggested word is told with, such as the path of a key.
    """
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if not close:
        lowered = {other.lower(): other for other in words}
        close = [lowered[hit] for hit in difflib.get_close_matches(word.lower(), lowered, n=1)]
    if close:
        return f"did you mean {prefix}{close[0]}?"
    return f"choose one of {named(word, words)}"


def named(word: str, known: Iterable[str]) -> str:
    """The known words in a row; of very many, those that are nearest to `word`."""
    words = sorted(known)
    if len(words) <= MOST_NAMED:
        return ", ".join(words)
    some = difflib.get_close_matches(word, words, n=MOST_NAMED, cutoff=0.0)
    return f"{', '.join(some)} and {len(words) - len(some)} others"


def at_least(path: str, value: float, least: float) -> None:
    if not isinstance(value, int | float) or not value >= least:
        raise PaddockError(f"{path}={value} must be at least {least}")


def kind_of(key: str, usual: Any) -> Any:
    """A value of the type that the key takes, or None where any will do."""
    whole = isinstance(usual, int) and not isinstance(usual, bool)
    return float(usual) if whole and _REAL.fullmatch(key) else usual


def of_type(path: str, value: Any, usual: Any) -> Any:
    """The value, of its default's type; an integer is a fine float, and becomes one.

    1 and 1.0 are one number and must not make two runs.
    """
    if usual is None:
        return value
    if isinstance(usual, list) and isinstance(value, list | tuple):
        kind = usual[0] if usual else None
        return [of_type(f"{path}[{place}]", inner, kind) for place, inner in enumerate(value)]
    if isinstance(usual, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(usual):
        wanted, given = _KINDS[type(usual)], _KINDS.get(type(value), type(value).__name__)
        raise PaddockError(
            f"{path}={_told(value)} is {given}: give {wanted}, such as {_told(usual)}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise PaddockError(f"{path}={value} must be a finite number")
    return value


def _told(value: Any) -> str:
    """The value as a command spells it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


PRECISIONS = ("auto", "float32", "bfloat16")


def check_value(path: str, key: str, value: Any) -> None:
    if key in ("epochs", "eval_step", "train_batch_size", "MAX_ITEM_LIST_LENGTH", "negatives"):
        at_least(path, value, 1)
    elif key in ("stopping_step", "weight_decay"):
        at_least(path, value, 0)
    elif key == "learning_rate" and not value > 0:
        raise PaddockError(f"{path}={value} must be above 0")
    elif key == "learner" and value not in LEARNERS:
        raise PaddockError(f"{path}={value} is unknown: {nearest(str(value), LEARNERS)}")
    elif key == "keep" and value not in KEEPS:
        raise PaddockError(f"{path}={value} is unknown: {nearest(str(value), KEEPS)}")
    elif key == "learning_rate_schedule" and value not in SCHEDULES:
        raise PaddockError(f"{path}={value} is unknown: {nearest(str(value), SCHEDULES)}")
    elif key == "loss_type" and isinstance(value, str) and value not in LOSS_TYPES:
        raise PaddockError(f"{path}={value} is unknown: {nearest(value, LOSS_TYPES)}")
    elif key == "loss" and value not in WINDOW_LOSSES:
        raise PaddockError(f"{path}={value} is unknown: {nearest(str(value), WINDOW_LOSSES)}")
    elif key in ("calibration", "mask_ratio", "ft_ratio") and isinstance(value, int | float):
        at_least(path, value, 0)
        if value > 1:
            raise PaddockError(f"{path}={value} must be at most 1")
    elif key.endswith("dropout_prob"):
        at_least(path, value, 0)
        if not value < 1:
            raise PaddockError(f"{path}={value} must be at least 0 and below 1")
    elif key.endswith("_size") or key in ("n_layers", "n_heads"):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, int):
                at_least(path, each, 1)
