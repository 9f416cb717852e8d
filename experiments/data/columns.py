"""Columns of numbers on the disk: appended to, read piece by piece, and laid out as an Arrow file."""

import io
import mmap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa

from experiments import files

Columns = dict[str, np.ndarray]


class Appended:
    """Columns of one length, a file each, read in the pieces in which they were appended.

    Parameters
    ----------
    folder : Path
        Is there, for these files alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._streams: dict[str, BinaryIO] = {}
        self._pieces: list[dict[str, tuple[np.dtype, int]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def append(self, columns: Mapping[str, np.ndarray]) -> None:
        """Append a piece: arrays of one length, whose types may differ from those of other pieces."""
        for name, values in columns.items():
            if name not in self._streams:
                stream = (self._folder / name).open("w+b")
                self._streams[name] = self._open.enter_context(stream)
            with files.naming(self._folder / name):
                self._streams[name].write(np.ascontiguousarray(values).data)
        self._pieces.append({name: (each.dtype, len(each)) for name, each in columns.items()})

    def pieces(self, *names: str) -> Iterator[Columns]:
        """The pieces, of each the named columns."""
        for name in names:
            with files.naming(self._folder / name):
                self._streams[name].flush()
        places = dict.fromkeys(names, 0)
        for piece in self._pieces:
            found = {}
            for name in names:
                dtype, rows = piece[name]
                found[name] = _read(self._streams[name], places[name], dtype, rows)
                places[name] += found[name].nbytes
            yield found


class ArrowColumns:
    """An Arrow file of one batch whose columns are written and read at any row.

    The bytes are those that Arrow writes of the same columns in memory.

    Parameters
    ----------
    path : Path
        Is made.
    types : mapping of str to np.dtype
        Columns of numbers.
    rows : int
    """

    def __init__(self, path: Path, types: Mapping[str, np.dtype], rows: int) -> None:
        self.types, self.rows = dict(types), rows
        self._offsets = _lay_out(path, self.types, rows)
        self._path = path
        self._stream = path.open("r+b")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with files.naming(self._path):
            self._stream.close()

    def write(self, start: int, columns: Mapping[str, np.ndarray]) -> None:
        """Write some rows of some columns, the first of them at row `start`."""
        for name, values in columns.items():
            place = self._offsets[name] + start * self.types[name].itemsize
            with files.naming(self._path):
                self._stream.seek(place)
                self._stream.write(np.ascontiguousarray(values, dtype=self.types[name]).data)

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """The rows from `start` to before `stop` of a column."""
        dtype = self.types[name]
        return _read(
            self._stream, self._offsets[name] + start * dtype.itemsize, dtype, stop - start
        )

    def pieces(self, name: str, rows: int) -> Iterator[np.ndarray]:
        """All of a column, so many rows at a time."""
        for start in range(0, self.rows, rows):
            yield self.read(name, start, min(start + rows, self.rows))


def _read(stream: BinaryIO, place: int, dtype: np.dtype, rows: int) -> np.ndarray:
    values = np.empty(rows, dtype=dtype)
    stream.seek(place)
    size = stream.readinto(values.data.cast("B")) if rows else 0  # type: ignore[attr-defined]
    assert size == values.nbytes, (place, size, values.nbytes)
    return values


class _Holes(io.RawIOBase):
    """A file that Arrow writes, with holes where the given buffers would stand."""

    def __init__(self, stream: BinaryIO, buffers: Mapping[int, str]) -> None:
        self._stream = stream
        self._buffers = dict(buffers)
        self.offsets: dict[str, int] = {}

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        buffer = pa.py_buffer(data)
        name = self._buffers.get(buffer.address)
        if name is None or name in self.offsets or buffer.size == 0:
            return self._stream.write(data)
        self.offsets[name] = self._stream.tell()
        self._stream.seek(buffer.size, 1)
        return buffer.size

    def tell(self) -> int:
        return self._stream.tell()


def _lay_out(path: Path, types: Mapping[str, np.dtype], rows: int) -> dict[str, int]:
    """Write all of an Arrow file but the numbers, and tell the byte at which each column begins."""
    sizes = [rows * dtype.itemsize for dtype in types.values()]
    # Memory that is never touched is never given: the columns need addresses, not bytes.
    space = mmap.mmap(
        -1, max(sum(sizes), 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ
    )
    whole = pa.py_buffer(space)
    arrays, buffers, start = [], {}, 0
    for (name, dtype), size in zip(types.items(), sizes, strict=True):
        buffer = whole.slice(start, size)
        buffers[buffer.address] = name
        kind = pa.from_numpy_dtype(dtype)
        arrays.append(pa.Array.from_buffers(kind, rows, [None, buffer], null_count=0))
        start += size
    batch = pa.record_batch(arrays, names=[*types])
    with files.naming(path), path.open("wb") as stream:
        sink = _Holes(stream, buffers)
        with pa.ipc.new_file(pa.PythonFile(sink, mode="w"), batch.schema) as writer:
            writer.write_batch(batch)
    assert sink.offsets.keys() == types.keys(), (sink.offsets, types)
    return sink.offsets
