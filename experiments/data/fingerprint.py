"""The hash of a prepared data set's content."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

_STRINGS = 1 << 18
"""Strings that are joined at a time."""


class Fingerprint:
    """A SHA-256 of values, not of files: library versions that write other bytes give the same."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add_array(self, name: str, values: np.ndarray) -> None:
        """Add an array with its name and type, of whatever byte order.

        Parameters
        ----------
        name : str
        values : np.ndarray of numbers or bool
        """
        plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        self.add_column(name, plain.dtype, plain.size, [plain])

    def add_column(
        self, name: str, dtype: np.dtype, rows: int, pieces: Iterable[np.ndarray]
    ) -> None:
        """Add an array that is read piece by piece, as `add_array` adds one that is held.

        Parameters
        ----------
        name : str
        dtype : np.dtype
        rows : int
            Of all pieces together.
        pieces : iterable of np.ndarray
        """
        self._begin(f"{name}:{dtype.str}", rows * dtype.itemsize)
        for piece in pieces:
            if piece.size:
                self._digest.update(piece.data.cast("B"))

    def add_frame(self, name: str, frame: pl.DataFrame, types: Mapping[str, str]) -> None:
        """Add a frame with its name, and of each column name, type and values.

        Parameters
        ----------
        name : str
        frame : polars.DataFrame
            Of strings, numbers and lists of these; missing values count as such.
        types : mapping of str to str
            Column to type, which may differ where the values do not.
        """
        for column in frame.columns:
            self._add_series(f"{name}/{column}:{types[column]}", frame[column])

    def copy(self) -> "Fingerprint":
        """One that goes on from here, apart from this one."""
        made = Fingerprint()
        made._digest = self._digest.copy()
        return made

    def hexdigest(self) -> str:
        """The hash of all that was added, in its order: 64 hexadecimal digits."""
        return self._digest.hexdigest()

    def _add_series(self, name: str, values: pl.Series) -> None:
        self.add_array(f"{name}/null", values.is_null().to_numpy())
        if isinstance(values.dtype, pl.List):
            lengths = values.list.len().fill_null(0)
            self.add_array(f"{name}/len", lengths.cast(pl.Int64).to_numpy())
            values = values.filter(lengths > 0).explode()
        if values.dtype == pl.String:
            # No cell of an atomic file holds a line end.
            values = values.fill_null("")
            self._begin(name, int(values.str.len_bytes().sum()) + max(len(values) - 1, 0))
            for start in range(0, len(values), _STRINGS):
                text = "\n".join(values.slice(start, _STRINGS).to_list())
                self._digest.update(("\n" if start else "").encode() + text.encode())
        else:
            self.add_array(name, values.fill_null(0.0).cast(pl.Float64).to_numpy())

    def _begin(self, label: str, size: int) -> None:
        # Lengths in front keep the end of one value apart from the start of the next.
        head = label.encode()
        self._digest.update(f"{len(head)} {size} ".encode() + head)
