"""Reading: the runs of an experiment as the tracking store holds them, and what belongs to a run.

Nothing but the store is read, no run folders.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.config.metric_names import parse
from experiments.passwords import without_password
from experiments.runs import configuration
from reports.errors import ReportError
from reports.options import Options, nearest
from reports.store import connect, experiment_id, in_parallel, search

Curve = Mapping[str, Sequence[tuple[int, float]]]
"""Stage -> (step, valid metric) of each epoch; the stage is "" where the store does not say."""

_STATES = {"RUNNING": "still running", "FAILED": "failed", "KILLED": "was killed"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Run(configuration.Run):
    """One seed of one configuration, as the store holds it.

    Attributes
    ----------
    tags : dict
        MLflow's tags.
    """

    _SHOWN = (*configuration.Run._SHOWN, "tags")

    tags: Mapping[str, str]

    @property
    def command(self) -> str:
        """The command line that made the run."""
        return self.tags.get("paddock.command", "")

    @property
    def valid_metric(self) -> str:
        """The metric that chose its epoch, as the run names it: "valid/full/ndcg_at_10"."""
        return f"valid/{self.selecting}"

    @property
    def stages(self) -> dict[str, int]:
        """Stage of its training -> the step of its first epoch; {} where the store does not say."""
        begins: dict[str, int] = json.loads(self.tags.get(configuration.STAGES, "{}"))
        return begins


@dataclass(frozen=True, kw_only=True)
class Source:
    """The store that a report is made from: an open client and where it looks."""

    client: Any
    uri: str
    experiment: str
    experiment_id: str
    runs: Sequence[Run] = field(default_factory=tuple)
    slice: str = ""

    @property
    def title(self) -> str:
        """What is reported on."""
        return f"{self.experiment}, slice {self.slice}" if self.slice else self.experiment

    @property
    def dashboard(self) -> str:
        """The address of the experiment in MLflow's dashboard; "" where no server has it."""
        if not self.uri.startswith("http"):
            return ""
        return f"{self.uri.rstrip('/')}/#/experiments/{self.experiment_id}"


def read(options: Options) -> Source:
    """All runs of the experiment, in the order in which they began.

    Raises
    ------
    ReportError
        There is no such store or experiment, or no run of it that tells of the slice.
    """
    client = connect(options.tracking_uri)
    name = options.experiment_name
    found = experiment_id(client, name)
    runs = [_run(each) for each in search(client, found, "tags.`paddock.kind` = 'run'")]
    if options.slice:
        runs = _within(runs, options.slice)
    return Source(
        client=client,
        uri=without_password(options.tracking_uri),
        experiment=name,
        experiment_id=found,
        runs=sorted(runs, key=lambda run: (run.started, run.run_id)),
        slice=options.slice,
    )


def _within(runs: Sequence[Run], name: str) -> list[Run]:
    """The runs with the metrics of a slice as those of the test."""
    known = {
        parts.slice
        for run in runs
        for key in run.metrics
        if (parts := parse(key)).phase == "test" and parts.slice
    }
    if name not in known:
        hint = nearest(name, sorted(known)) if known else "no run tells of any slice"
        raise ReportError(f"slice={name}: {hint}")
    start = f"test/slice/{name}/"
    return [
        replace(
            run,
            metrics={
                key.replace(start, "test/"): value
                for key, value in run.metrics.items()
                if key.startswith(start) or not key.startswith("test/")
            },
        )
        for run in runs
    ]


def read_curves(source: Source, runs: Sequence[Run]) -> dict[str, Curve]:
    """The valid metric of every epoch, by the stages of the training.

    Returns
    -------
    dict
        Run id -> its curve; runs without any epoch that was validated are missing.
    """

    def curve(run: Run) -> Curve:
        history = source.client.get_metric_history(run.run_id, run.valid_metric)
        points = sorted((point.step, point.value) for point in history)
        # The last step repeats the selected epoch, as the value of the run.
        return _by_stage(points[:-1], run.stages)

    made = in_parallel(curve, runs)
    return {run.run_id: stages for run, stages in zip(runs, made, strict=True) if stages}


def _by_stage(points: Sequence[tuple[int, float]], first: Mapping[str, int]) -> Curve:
    """The points of each stage, which ends where the next one begins."""
    begun = sorted((step, stage) for stage, step in first.items())
    curve: dict[str, list[tuple[int, float]]] = {}
    for step, value in points:
        within = [stage for start, stage in begun if start <= step]
        curve.setdefault(within[-1] if within else "", []).append((step, value))
    return curve


def _run(found: Any) -> Run:
    tags, params = found.data.tags, found.data.params
    status = found.info.status
    return Run(
        run_id=found.info.run_id,
        model=_model(found),
        seed=int(tags.get("paddock.seed", 0)),
        config_hash=tags.get("paddock.config_hash", ""),
        unfit="" if status == "FINISHED" else _STATES.get(status, status.lower()),
        started=found.info.start_time,
        question={
            key.removeprefix("paddock.").removesuffix("_hash"): value
            for key, value in sorted(tags.items())
            if key.startswith("paddock.") and key.endswith("_hash") and key != "paddock.config_hash"
        },
        selecting=params.get("protocol.valid_metric", ""),
        metrics=found.data.metrics,
        params=params,
        dirty=tags.get("paddock.dirty") == "true",
        commit=tags.get("mlflow.source.git.commit", ""),
        inputs=params.get("protocol.inputs", configuration.RECBOLE),
        refitted=params.get("protocol.refit") == "valid" or tags.get("paddock.refitted") == "true",
        mechanics_only=tags.get("paddock.mechanics_only") == "true",
        notes=configuration.notes_of(tags),
        tags=tags,
    )


def _model(found: Any) -> str:
    """The configuration name; a run without the tag is named "sasrec seed 3"."""
    tags = found.data.tags
    named = str(found.info.run_name or "").partition(" seed ")[0]
    return tags.get("paddock.model_key") or named or tags.get("paddock.model", "?")
