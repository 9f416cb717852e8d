"""How cells stand in the lines of a text file."""

import io
from dataclasses import dataclass
from typing import BinaryIO

SEPARATORS = ("\t", ",", ";", "|", "::")
UNIT = "\x1f"
"""What stands for a separator of two characters, which parsers do not know."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How cells stand in a line.

    Attributes
    ----------
    separator : str, optional
        One character or "::"; found in the first line where it is not given.
    encoding : str
    header : list of str, optional
        The columns of a file whose first line is data. Quotes are plain characters there.
    """

    separator: str | None = None
    encoding: str = "utf-8"
    header: list[str] | None = None


class Parted(io.RawIOBase):
    """A stream in which one character stands for the separator of two."""

    def __init__(self, stream: BinaryIO, separator: bytes) -> None:
        self._stream = stream
        self._separator = separator
        self._held = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while True:
            chunk = self._stream.read(max(size - len(self._held), 2) if size >= 0 else -1)
            out = (self._held + chunk).replace(self._separator, UNIT.encode())
            self._held = b""
            # Half a separator at the end of a chunk waits for the other half.
            if chunk and out.endswith(self._separator[:1]):
                out, self._held = out[:-1], out[-1:]
            if out or not chunk:
                return out


def find_separator(line: str, wanted: list[str]) -> str:
    """The separator that parts the first line into the wanted columns, or into the most cells."""

    def merit(separator: str) -> tuple[int, int]:
        cells = [cell.strip('"') for cell in line.split(separator)]
        return sum(name in cells for name in wanted), len(cells)

    return max(SEPARATORS, key=merit)
