"""The hash of a prepared data set's content."""

import hashlib
from collections.abc import Mapping

import numpy as np
import polars as pl


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
        self._add(f"{name}:{plain.dtype.str}", plain.data.cast("B") if plain.size else b"")

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
            self._add(name, "\n".join(values.fill_null("").to_list()).encode())
        else:
            self.add_array(name, values.fill_null(0.0).cast(pl.Float64).to_numpy())

    def _add(self, label: str, content: bytes | memoryview) -> None:
        # Lengths in front keep the end of one value apart from the start of the next.
        head = label.encode()
        self._digest.update(f"{len(head)} {len(content)} ".encode() + head)
        self._digest.update(content)
