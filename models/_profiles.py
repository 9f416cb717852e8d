"""What is known of a person as a vector of features, of a user of the data and of anybody else.

U users (padding included), F features, C columns.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from paddock import UserColumn


class ProfileEncoder:
    """Features of values of the users' columns.

    A column of tokens has a feature for each of its values, a column of numbers one, standardised over the
    users; each has one more for an unknown value: one that is missing, or that no user has.

    Parameters
    ----------
    columns : mapping of str to UserColumn
        By name: tokens, numbers, and lists of tokens.

    Attributes
    ----------
    column_F : ndarray
        The number of the column of each feature, int64.
    """

    def __init__(self, columns: Mapping[str, UserColumn]) -> None:
        self._columns = dict(columns)
        self._slots: dict[str, dict[str, int]] = {}
        self._scales: dict[str, tuple[float, float]] = {}
        self._unknown: dict[str, int] = {}
        sizes, first = [], 0
        for name, column in self._columns.items():
            known = [value for value in column.values if not _missing(value)]
            if column.kind == "float":
                numbers = np.asarray(known or [0.0], np.float64)
                self._scales[name] = float(numbers.mean()), float(numbers.std()) or 1.0
                size = 1
            else:
                tokens = sorted({token for value in known for token in _tokens(value)})
                self._slots[name] = {token: first + place for place, token in enumerate(tokens)}
                size = len(tokens)
            self._unknown[name] = first + size
            sizes.append(size + 1)
            first += size + 1
        self.column_F = np.repeat(np.arange(len(sizes)), sizes)

    def vector(self, values: Mapping[str, Any]) -> NDArray[np.float32]:
        """The features of one person.

        Parameters
        ----------
        values : mapping of str to object
            Column -> value: a string, a number, or a list of strings; what is left out, None or
            "" is unknown.

        Returns
        -------
        ndarray
            float32, shape (F,).

        Raises
        ------
        ValueError
            For a column that there is not, and for a value of a column of numbers that is none.
        """
        for name in values:
            if name not in self._columns:
                raise ValueError(f"{name} is no column: choose of {', '.join(self._columns)}")
        features_F = np.zeros(len(self.column_F), np.float32)
        for name in self._columns:
            for place, feature in self._entries(name, values.get(name)):
                features_F[place] = feature
        return features_F

    def rows(self) -> sp.csr_matrix:
        """The features of every user of the data, float32, shape (U, F)."""
        users = max((len(column.values) for column in self._columns.values()), default=0)
        found = [
            (user, place, feature)
            for name, column in self._columns.items()
            for user, value in enumerate(column.values)
            for place, feature in self._entries(name, value)
        ]
        row, place, feature = zip(*found, strict=True) if found else ((), (), ())
        return sp.csr_matrix(
            (np.array(feature, np.float32), (row, place)), shape=(users, len(self.column_F))
        )

    def _entries(self, name: str, value: Any) -> Iterator[tuple[int, float]]:
        """The features of a value that are not 0, by their places."""
        if _missing(value):
            yield self._unknown[name], 1.0
        elif name in self._scales:
            mean, deviation = self._scales[name]
            try:
                number = float(value)
            except (TypeError, ValueError):
                raise ValueError(f"{name}={value!r} is no number") from None
            yield self._unknown[name] - 1, (number - mean) / deviation
        else:
            slots = self._slots[name]
            known = {slots[token] for token in _tokens(value) if token in slots}
            for place in sorted(known or {self._unknown[name]}):
                yield place, 1.0


def _missing(value: Any) -> bool:
    return value is None or value == "" or value == [] or value != value


def _tokens(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)]
