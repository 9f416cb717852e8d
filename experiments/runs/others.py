"""Finished runs of a model other than the requested one, and why they are not reused."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder
from experiments.runs.identity import FORMAT, WITHOUT_EFFECT


def unused_runs(
    path: Path, *, config: Mapping[str, Any], sources: Mapping[str, str]
) -> Iterator[str]:
    """Messages about earlier runs of the same model, seed and protocol.

    Parameters
    ----------
    path : Path
        The requested run folder, which does not exist.
    config : mapping
        Its configuration, as run.json keeps it.
    sources : mapping
        Component -> the hash of its source.

    Yields
    ------
    str
        One line for runs of an earlier kind of identity, one for each that differs by code alone.
    """
    key = path.parent.name.rpartition("-")[0]
    old = []
    for other in sorted(path.parent.parent.glob(f"{key}-*/{path.name}/run.json")):
        if other.parent.parent.name.rpartition("-")[0] != key:
            continue
        try:
            run = RunFolder(other.parent).run
        except PaddockError:
            continue
        if run.get("state") != "finished":
            continue
        if run.get("format") != FORMAT:
            old.append(other.parent)
        elif _counted(run["config"]) == _counted(config) and run["sources"] != dict(sources):
            changed = sorted(
                name
                for name in {*sources, *run["sources"]}
                if sources.get(name) != run["sources"].get(name)
            )
            yield (
                f"trained again: the source of {', '.join(changed)} changed since the run in "
                f"{other.parent}"
            )
    if old:
        runs = "1 finished run" if len(old) == 1 else f"{len(old)} finished runs"
        yield (
            f"{runs} of an earlier version ({old[-1]}) not reused: the identity of a run holds the "
            "sources of its model since; they stay on the leaderboard"
        )


def _counted(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration counts."""
    return {key: value for key, value in config.items() if key not in WITHOUT_EFFECT}
