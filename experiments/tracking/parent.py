"""The MLflow runs of one config_hash: a child per seed, and a parent with their mean and deviation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.runs.compare import collapse_notes
from experiments.runs.configuration import NOTE, Configuration, Run
from experiments.runs.folder import RunFolder
from experiments.tracking.datasets import link_dataset
from experiments.tracking.describe import (
    COLLAPSED,
    delete_models,
    made_by,
    parent_params,
    parent_tags,
    replaces,
    send_params,
)
from experiments.tracking.notes import displayed, note_tags, parent_note, unscored
from experiments.tracking.points import now, same
from experiments.tracking.store import Store
from experiments.tracking.system import PREFIX

_ROUNDS = 5


def runs_of(client: Any, experiment_id: str, config_hash: str) -> list[Any]:
    """The MLflow runs of a config_hash, parents and children, the oldest first."""
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
    """Those that stand for a configuration."""
    return [run for run in runs if run.data.tags.get("paddock.kind") == "parent"]


def children(runs: Iterable[Any]) -> list[Any]:
    """Those that stand for one seed."""
    return [run for run in runs if run.data.tags.get("paddock.kind") == "run"]


def one_per_seed(runs: Iterable[Any]) -> list[Any]:
    """The finished children in order of their seeds; of two with one seed, the older."""
    by_seed: dict[int, Any] = {}
    for child in children(runs):
        if child.info.status == "FINISHED":
            by_seed.setdefault(int(child.data.tags["paddock.seed"]), child)
    return [by_seed[seed] for seed in sorted(by_seed)]


def find_or_create_parent(
    store: Store, experiment_id: str, run: Mapping[str, Any], runs: Sequence[Any]
) -> str:
    """The parent run's id; of several, which processes without a lock made, the oldest one's.

    Parameters
    ----------
    store : Store
    experiment_id : str
    run : mapping
        The content of run.json of any of its seeds.
    runs : sequence of mlflow.entities.Run
        What `runs_of` gives.
    """
    if present := parents(runs):
        return present[0].info.run_id
    client = store.client
    made = client.create_run(experiment_id, tags=parent_tags(run), run_name=run["model_key"])
    if not store.exclusive:
        oldest = parents(runs_of(client, experiment_id, run["config_hash"]))[0]
        if oldest.info.run_id != made.info.run_id:
            client.delete_run(made.info.run_id)
            return oldest.info.run_id
    send_params(client, made.info.run_id, parent_params(run))
    link_dataset(
        client,
        made.info.run_id,
        name=run["dataset"],
        digest=run["hashes"]["dataset"],
        context="training",
    )
    return made.info.run_id


def refresh_parent(store: Store, folder: RunFolder, *, experiment_id: str, child_id: str) -> str:
    """Write mean and deviation of the finished seeds to their parent run.

    What the child replaces is deleted: its folder's earlier runs.

    Without a lock, two seeds may finish at once and the earlier view be written last. The runs are
    therefore looked at again, until what was written is what is there.

    Parameters
    ----------
    store : Store
    folder : RunFolder
        Of the seed that has just finished.
    experiment_id, child_id : str
        Of its MLflow run.

    Returns
    -------
    str
        The parent run's id.
    """
    client, run = store.client, folder.run
    written: list[str] | None = None
    parent_id = ""
    for _ in range(_ROUNDS):
        runs = runs_of(client, experiment_id, run["config_hash"])
        for other in children(runs):
            if other.info.run_id != child_id and (
                replaces(run, other) or made_by(other, folder, run)
            ):
                delete_models(client, other)
                client.delete_run(other.info.run_id)
                runs.remove(other)
        counted = one_per_seed(runs)
        present = [seed_run.info.run_id for seed_run in counted]
        if present == written:
            break
        parent_id = find_or_create_parent(store, experiment_id, run, runs)
        _adopt(client, runs, parent_id)
        _write_summary(client, parent_id, counted, run=run)
        written = present
        if store.exclusive:
            break
    return parent_id


def _adopt(client: Any, runs: Sequence[Any], parent_id: str) -> None:
    """Leave one parent, with every child under it."""
    for seed_run in children(runs):
        if seed_run.data.tags.get("mlflow.parentRunId") != parent_id:
            client.set_tag(seed_run.info.run_id, "mlflow.parentRunId", parent_id)
    for extra in parents(runs):
        if extra.info.run_id != parent_id:
            client.delete_run(extra.info.run_id)


def _write_summary(
    client: Any, parent_id: str, counted: Sequence[Any], *, run: Mapping[str, Any]
) -> None:
    model = run["model_key"]
    from mlflow.entities import Metric, RunTag

    parent = client.get_run(parent_id)
    shown, tags = parent.data.metrics, parent.data.tags
    seeds = ",".join(seed_run.data.tags["paddock.seed"] for seed_run in counted)
    summary = _summary([seed_run.data.metrics for seed_run in counted])
    changed = {k: v for k, v in summary.items() if k not in shown or not same(v, shown[k])}
    own = {"paddock.seeds": seeds, **_cautions(counted), **unscored(run)}
    own |= displayed(summary)
    failed = "; ".join(_collapsed(counted, model=model))
    if failed or COLLAPSED in tags:
        own[COLLAPSED] = failed
    # Tags are compared by themselves: two processes may each have written one of the two last.
    if changed or any(tags.get(name) != value for name, value in own.items()):
        # The highest step is the value that MLflow shows. Counting the refreshes, rather than
        # trusting timestamps, keeps that right between machines whose clocks differ.
        refresh = int(tags.get("paddock.refreshes", 0)) + 1
        client.log_batch(
            parent_id,
            metrics=[Metric(name, value, now(), refresh) for name, value in changed.items()],
            tags=[RunTag(*each) for each in {**own, "paddock.refreshes": str(refresh)}.items()],
        )
    for key, value in note_tags(parent_note(model, counted, summary), tags).items():
        client.set_tag(parent_id, key, value)
    # Folders may be uploaded long after their runs: the parent still ends after it began.
    ended = max([parent.info.start_time, *(seed_run.info.end_time for seed_run in counted)])
    client.set_terminated(parent_id, "FINISHED", ended)


def _cautions(counted: Sequence[Any]) -> dict[str, str]:
    """What a reader of the parent should know of its seeds, as tags of the same names."""
    tags = [seed_run.data.tags for seed_run in counted]
    made = {"paddock.dirty": str(any(each.get("paddock.dirty") == "true" for each in tags)).lower()}
    if any(each.get("paddock.mechanics_only") == "true" for each in tags):
        made["paddock.mechanics_only"] = "true"
    for each in tags:
        made |= {name: text for name, text in each.items() if name.startswith(NOTE)}
    return made


def _collapsed(counted: Sequence[Any], *, model: str) -> list[str]:
    """Notes on the seeds whose training failed."""
    seeds = [
        Run(
            run_id=each.info.run_id,
            model=model,
            seed=int(each.data.tags["paddock.seed"]),
            config_hash=each.data.tags["paddock.config_hash"],
            question={},
            selecting=each.data.params.get("protocol.valid_metric", ""),
            metrics=each.data.metrics,
        )
        for each in counted
    ]
    return collapse_notes(Configuration(label=model, runs=seeds)) if seeds else []


def _summary(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean and sample standard deviation of the metrics that every seed has, but for losses and the
    machine's."""
    summary: dict[str, float] = {"seeds": float(len(metrics))}
    common = set.intersection(*(set(each) for each in metrics)) if metrics else set()
    for name in sorted(common):
        if name.startswith(("train/", PREFIX)):
            continue
        values = np.array([each[name] for each in metrics])
        summary[name] = float(values.mean())
        if len(values) > 1:
            summary[f"{name}_std"] = float(values.std(ddof=1))
    return summary
