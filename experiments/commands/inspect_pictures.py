"""Pictures of a data set: how long histories are, and how popularity falls."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import files
from experiments.commands.inspect import history_lengths, popularities
from experiments.data.prepared import Prepared

_BINS = 40


def plots(data: Prepared, folder: Path | str) -> list[Path]:
    """Draw history_length.svg and popularity.svg into a folder.

    The same data gives the same bytes.

    Parameters
    ----------
    data : Prepared
        The prepared data set.
    folder : Path or str
        Where to write; made if needed.

    Returns
    -------
    list of Path
        The two files.
    """
    return [
        _write(Path(folder) / "history_length.svg", data, _draw_lengths),
        _write(Path(folder) / "popularity.svg", data, _draw_popularity),
    ]


def _write(path: Path, data: Prepared, draw: Callable[[Axes, Prepared], None]) -> Path:
    # Without a fixed salt and date each drawing would have other bytes.
    with matplotlib.rc_context({"svg.hashsalt": data.hash, "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        draw(axes, data)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        with files.atomic_path(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
    return path


def _draw_lengths(axes: Axes, data: Prepared) -> None:
    lengths = history_lengths(data)
    low, high = int(lengths.min()), int(lengths.max())
    # Whole numbers at the edges, which get wider with the length.
    edges = (
        np.unique(np.geomspace(low, high + 1, _BINS).astype(int)) if high > low else [low, low + 1]
    )
    axes.hist(lengths, bins=list(edges), color="#4c72b0")
    axes.set_xscale("log")
    axes.set_xlabel("Interactions of a user")
    axes.set_ylabel("Users")
    axes.set_title(f"{data.name}: history length of {data.n_users:,} users")


def _draw_popularity(axes: Axes, data: Prepared) -> None:
    counts = popularities(data)
    ranks = np.arange(1, len(counts) + 1)
    # A point for each pixel is enough of a long curve.
    shown = np.unique(np.geomspace(1, len(counts), 1000).astype(int)) - 1
    axes.loglog(ranks[shown], counts[shown], color="#4c72b0")
    axes.set_xlabel("Rank of the item")
    axes.set_ylabel("Interactions")
    axes.set_title(f"{data.name}: popularity of {data.n_items:,} items")
