"""The child run of one seed: the MLflow run that belongs to a run folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.runs.folder import RunFolder
from experiments.tracking.datasets import link_dataset
from experiments.tracking.describe import child_params, child_tags, made_by, send_params
from experiments.tracking.parent import children, find_or_create_parent, runs_of
from experiments.tracking.points import Point, milliseconds
from experiments.tracking.store import Store, find_or_create_experiment


@dataclass
class Child:
    """One seed's MLflow run.

    Attributes
    ----------
    run_id, experiment_id : str
    logged : dict
        (metric, step) -> the values that the store holds, of which there is one unless a killed run
        took another course.
    """

    run_id: str
    experiment_id: str
    logged: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def remember(self, points: Iterable[Point]) -> None:
        """Enter points that were sent."""
        for point in points:
            self.logged.setdefault(point.key, []).append(point.value)

    def identifiers(self, store: Store, parent_id: str) -> dict[str, str]:
        """The content of tracking.json and published.json."""
        return {
            "tracking_uri": store.uri,
            "experiment_id": self.experiment_id,
            "run_id": self.run_id,
            "parent_run_id": parent_id,
        }


def open_child(store: Store, folder: RunFolder, *, fresh: bool = False) -> Child:
    """Find or create the child run that belongs to the folder's current attempt.

    Parameters
    ----------
    store : Store
    folder : RunFolder
        Its tracking.json is written.
    fresh : bool
        Create it even where there is one.
    """
    client, run = store.client, folder.run
    with store.guard():
        experiment_id = find_or_create_experiment(
            store, dataset=run["dataset"], protocol=run["protocol"]
        )
        runs = runs_of(client, experiment_id, run["config_hash"])
        parent_id = find_or_create_parent(store, experiment_id, run, runs)
        own = None if fresh else _own_child(runs, folder, run)
        if own is None:
            own = client.create_run(
                experiment_id,
                start_time=milliseconds(run["started"]),
                tags=child_tags(folder, run, parent_id),
                run_name=f"{run['model_key']} seed {run['seed']}",
            )
        if own.inputs is None or not own.inputs.dataset_inputs:
            link_dataset(
                client,
                own.info.run_id,
                name=run["dataset"],
                digest=run["hashes"]["dataset"],
                context="training",
            )
        child = Child(own.info.run_id, experiment_id)
        # A logged parameter cannot change, and a resumed run may use another device.
        params = {k: v for k, v in child_params(run).items() if k not in own.data.params}
        send_params(client, child.run_id, params)
        folder.write_tracking(child.identifiers(store, parent_id))
    for name in own.data.metrics:
        history = client.get_metric_history(child.run_id, name)
        child.remember(Point(name, m.value, m.timestamp, m.step) for m in history)
    if own.info.status != "RUNNING" and not folder.finished:
        client.update_run(child.run_id, status="RUNNING")
    return child


def _own_child(runs: Sequence[Any], folder: RunFolder, run: Mapping[str, Any]) -> Any | None:
    """The child of this folder and this attempt: a forced repetition starts at another time."""
    begun = milliseconds(run["started"])
    known = folder.tracking.get("run_id"), folder.published.get("run_id")
    mine = [
        child
        for child in children(runs)
        if child.info.start_time == begun
        and (child.info.run_id in known or made_by(child, folder, run))
    ]
    # The recorded one first: an upload that was cut short may have left an older one.
    return min(mine, key=lambda child: child.info.run_id not in known, default=None)
