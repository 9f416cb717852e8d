"""The MLflow runs of one config_hash: a parent, and a child per seed."""

from collections.abc import Iterable
from typing import Any


def runs_of(client: Any, experiment_id: str, config_hash: str) -> list[Any]:
    """Parents and children of a config_hash, oldest first."""
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            f"tags.`paddock.config_hash` = '{config_hash}'",
            max_results=1000,
            page_token=token,
        )
        runs += page
        token = page.token
        if not token:
            return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def parents(runs: Iterable[Any]) -> list[Any]:
    return [run for run in runs if run.data.tags.get("paddock.kind") == "parent"]


def children(runs: Iterable[Any]) -> list[Any]:
    return [run for run in runs if run.data.tags.get("paddock.kind") == "run"]


def one_per_seed(runs: Iterable[Any]) -> list[Any]:
    """The finished children by seed: the oldest, where two machines ran the same seed."""
    by_seed: dict[int, Any] = {}
    for child in children(runs):
        if child.info.status == "FINISHED":
            by_seed.setdefault(int(child.data.tags["paddock.seed"]), child)
    return [by_seed[seed] for seed in sorted(by_seed)]
