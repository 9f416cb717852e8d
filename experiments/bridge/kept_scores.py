"""Scores that a model gave to candidates, kept in a file: reading prompts again would cost minutes.

B users, C candidates.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments import checkpoint
from experiments.integrity import Damaged, say_once
from experiments.protocol.sequences import Sequences

DIGEST = 16
"""Bytes that name a row: a user's history and his candidates in their order."""


class KeptScores:
    """Scores of candidates by what a model read: the history and the candidates in their order.

    Parameters
    ----------
    path : Path
        The file; it need not exist. One that is damaged counts for nothing, and a warning says so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[bytes, Tensor] | None = None

    def add(
        self, history: Sequences, users_B: NDArray[Any], items_BC: NDArray[Any], scores_BC: Tensor
    ) -> None:
        """Note scores, and write the file.

        Parameters
        ----------
        history : Sequences
            What the model read of every user.
        users_B : ndarray
            User ids, shape (B,).
        items_BC : ndarray
            Candidates, shape (B, C).
        scores_BC : Tensor
            Shape (B, C).
        """
        rows = self._read()
        rows |= zip(_names(history, users_B, items_BC), scores_BC.float().cpu(), strict=True)
        by_width: dict[int, list[bytes]] = {}
        for name, row in rows.items():
            by_width.setdefault(len(row), []).append(name)
        sections: dict[str, tuple[dict[str, Tensor], Any]] = {
            str(width): (
                {"names": _tensor(names), "scores": torch.stack([rows[n] for n in names])},
                {},
            )
            for width, names in by_width.items()
        }
        checkpoint.save(self._path, sections, notes={})

    def all(
        self,
        history: Sequences,
        users_B: NDArray[Any],
        items_BC: NDArray[Any],
        score: Callable[[NDArray[Any], NDArray[Any]], Tensor],
    ) -> Tensor:
        """The scores of candidates, of which those that are not kept are computed and kept.

        Parameters
        ----------
        history : Sequences
            What the model reads of every user.
        users_B : ndarray
            User ids, shape (B,).
        items_BC : ndarray
            Candidates, shape (B, C).
        score : callable
            Takes users and their candidates, and gives scores, shape (B, C).

        Returns
        -------
        Tensor
            float32, shape (B, C), on the CPU.
        """
        names = _names(history, users_B, items_BC)
        known = self._read()
        lacking = np.flatnonzero([name not in known for name in names])
        if len(lacking):
            users, items = users_B[lacking], items_BC[lacking]
            self.add(history, users, items, score(users, items))
        known = self._read()
        return torch.stack([known[name] for name in names])

    def _read(self) -> dict[bytes, Tensor]:
        if self._rows is None:
            self._rows = {}
            if self._path.exists():
                try:
                    sections, _ = checkpoint.load(self._path)
                except Damaged as error:
                    say_once(f"{error}. It is not used")
                    sections = {}
                for tensors, _ in sections.values():
                    names = (row.tobytes() for row in tensors["names"].numpy())
                    self._rows |= zip(names, tensors["scores"], strict=True)
        return self._rows


@cache
def kept_scores(path: Path) -> KeptScores:
    """The scores of a file, which a process reads once.

    Parameters
    ----------
    path : Path
        The file.
    """
    return KeptScores(path)


def _tensor(names: Sequence[bytes]) -> Tensor:
    flat = np.frombuffer(b"".join(names), dtype=np.uint8)
    return torch.from_numpy(flat.reshape(-1, DIGEST).copy())


def _names(history: Sequences, users_B: NDArray[Any], items_BC: NDArray[Any]) -> list[bytes]:
    """What names each row; the user's own number does not, but a model may read it."""

    def name(user: int, items_C: NDArray[Any]) -> bytes:
        content = hashlib.blake2b(digest_size=DIGEST)
        for part in (np.array([user]), history.of(user), items_C):
            content.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
            content.update(b"|")
        return content.digest()

    return [name(int(user), items_C) for user, items_C in zip(users_B, items_BC, strict=True)]
