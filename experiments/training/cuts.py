"""Histories cut into windows, and windows put together into batches.

U users, W windows, B windows of a batch.
"""

import numpy as np
import torch
from numpy.typing import NDArray

Batch = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where windows start, and their lengths, both of shape (B,)."""


def window_batches(
    starts_U: NDArray[np.int64],
    lengths_U: NDArray[np.int64],
    *,
    longest: int,
    batch_size: int,
    generator: torch.Generator,
) -> list[Batch]:
    """Cut stretches of positions into windows, in random batches of similar lengths.

    A stretch of at most `longest` positions is one window. The first window of a longer stretch has
    a random length and the others follow it, so that the cuts differ from epoch to epoch.

    Parameters
    ----------
    starts_U : NDArray[np.int64]
        First position of each user's stretch, shape (U,).
    lengths_U : NDArray[np.int64]
        Number of positions of each stretch, shape (U,).
    longest : int
        The most positions of a window.
    batch_size : int
        Windows of a batch.
    generator : torch.Generator
        Draws the cuts and the order.

    Returns
    -------
    list of (starts_B, lengths_B)
        First position and length of each window of a batch, both of shape (B,).
    """
    long_U = lengths_U > longest
    first_U = np.where(long_U, _draw(len(lengths_U), longest, generator) + 1, lengths_U)
    rest_U = lengths_U - first_U
    windows_U = np.where(lengths_U > 0, 1 + -(-rest_U // longest), 0)
    user_W = np.repeat(np.arange(len(lengths_U)), windows_U)
    number_W = np.arange(len(user_W)) - np.repeat(np.cumsum(windows_U) - windows_U, windows_U)
    offset_W = np.where(number_W == 0, 0, first_U[user_W] + (number_W - 1) * longest)
    length_W = np.where(
        number_W == 0, first_U[user_W], np.minimum(longest, lengths_U[user_W] - offset_W)
    )
    start_W = starts_U[user_W] + offset_W
    order_W = torch.randperm(len(user_W), generator=generator).numpy()
    order_W = order_W[np.argsort(length_W[order_W], kind="stable")]
    cuts = np.split(order_W, np.arange(batch_size, len(order_W), batch_size))
    turns = torch.randperm(len(cuts), generator=generator).tolist()
    return [(start_W[cuts[turn]], length_W[cuts[turn]]) for turn in turns]


def _draw(size: int, high: int, generator: torch.Generator) -> NDArray[np.int64]:
    return torch.randint(high, (size,), generator=generator).numpy()
