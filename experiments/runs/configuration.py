"""One run as every leaderboard reads it, and a configuration: the runs that differ by their seed alone.

Run folders, MLflow runs and the rows of a report come here as plain values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import numpy as np

from experiments.visible import all_visible

DECIMALS = 4
"""How many decimals a metric is shown with."""

RECBOLE = "recbole"
"""What runs read at test whose configuration does not say."""


NOTE = "paddock.note."
"""Begins the tags of a run that are shown beside it everywhere."""

NOT_APPLICABLE = "not applicable"
"""Begins the note of a model that cannot score what the protocol asks for: no number stands in its row."""

TEXT_CONTROLS = (".text_encoder.control", ".title_control")
"""What ends the names of the parameters that say what stands in for the items' texts, or titles."""

STAGES = "paddock.stages"
"""The tag that says where the stages of a training begin: JSON, from a stage to the step of its first epoch."""

USERS_HASH = "paddock.per_user_sha256"
"""The tag with the SHA-256 of the per_user.parquet that the run wrote."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One seed of one configuration.

    Attributes
    ----------
    run_id : str
        By which the reader finds it: MLflow's id, or the path of a folder.
    model : str
        The model's configuration name, such as "sasrec".
    config_hash : str
        What runs share that differ by their seed alone.
    unfit : str
        Why the run does not count, whatever the others are, such as "not finished"; "" if it does.
    started : str or int
        When it began: ISO 8601, or milliseconds since 1970.
    experiment : str
        The data set and the protocol, "ml-100k/loo"; "" where all runs share them.
    question : dict
        The hashes of data, split, candidates and slices.
    inputs : str
        What models that score rows of items read at test, as `protocol.inputs` names it.
    refitted : bool
        Whether the model that was tested was trained on the valid part too.
    selecting : str
        The metric that chose its epoch, without a phase: "full/ndcg_at_10".
    metrics : dict
        By full name, such as "test/full/ndcg_at_10".
    params : dict
        Its hyper-parameters as text, such as {"model.lr": "0.1"}.
    dirty : bool
        Whether uncommitted code made it.
    mechanics_only : bool
        Whether its language model is a tiny one, which only shows that everything works.
    notes : tuple of str
        What else a reader must know, as its model declares it (`paddock.ModelConfig.notes`).
    """

    _SHOWN: ClassVar[tuple[str, ...]] = ("model", "unfit", "selecting", "params", "commit", "notes")
    """The attributes that hold text of others."""

    run_id: str
    model: str
    seed: int
    config_hash: str
    unfit: str = ""
    started: str | int = 0
    experiment: str = ""
    question: Mapping[str, str]
    inputs: str = RECBOLE
    refitted: bool = False
    selecting: str = ""
    metrics: Mapping[str, float]
    params: Mapping[str, str] = field(default_factory=dict)
    dirty: bool = False
    commit: str = ""
    mechanics_only: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Folders and stores come from elsewhere, too: every leaderboard shows what is said here.
        for name in self._SHOWN:
            object.__setattr__(self, name, all_visible(getattr(self, name)))

    @property
    def short_id(self) -> str:
        """Enough of the id to find the run by."""
        return self.run_id[:8]


AnyRun = TypeVar("AnyRun", bound=Run)


@dataclass(frozen=True, kw_only=True, eq=False)
class Configuration(Generic[AnyRun]):
    """The runs that differ by their seed alone, in the order of the seeds.

    Attributes
    ----------
    label : str
        The model, and what distinguishes this configuration where the model has several.
    runs : sequence of AnyRun
        One run a seed.
    """

    label: str
    runs: Sequence[AnyRun]

    @property
    def model(self) -> str:
        """The model's configuration name."""
        return self.runs[0].model

    @property
    def config_hash(self) -> str:
        """What the runs share."""
        return self.runs[0].config_hash

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, rising."""
        return tuple(run.seed for run in self.runs)

    @property
    def dirty(self) -> bool:
        """Whether uncommitted code made a run."""
        return any(run.dirty for run in self.runs)

    @property
    def refitted(self) -> bool:
        """Whether the models that were tested were trained on the valid part too."""
        return self.runs[0].refitted

    @property
    def n_commits(self) -> int:
        """How many commits the runs were made by."""
        return len({run.commit for run in self.runs})

    @property
    def mechanics_only(self) -> bool:
        """Whether its language model is a tiny one, which only shows that everything works."""
        return self.runs[0].mechanics_only

    @property
    def not_applicable(self) -> bool:
        """Whether the model cannot score what the protocol asks for."""
        return any(note.startswith(NOT_APPLICABLE) for note in self.runs[0].notes)

    @property
    def control(self) -> str:
        """What stands in for the items' texts, "shuffled" or "random", where a control does; else ""."""
        found = {
            value for name, value in self.runs[0].params.items() if name.endswith(TEXT_CONTROLS)
        }
        return ", ".join(sorted(found - {"none"}))

    def values(self, metric: str) -> list[float]:
        """One value a seed; empty where not every seed reports the metric.

        Parameters
        ----------
        metric : str
            A full name, such as "test/full/ndcg_at_10".
        """
        found = [run.metrics.get(metric, np.nan) for run in self.runs]
        return [] if np.isnan(found).any() else found

    def mean(self, metric: str) -> float:
        """The mean over seeds; NaN where not every seed reports the metric.

        Parameters
        ----------
        metric : str
            A full name, such as "test/full/ndcg_at_10".
        """
        values = self.values(metric)
        return float(np.mean(values)) if values else float("nan")

    def std(self, metric: str) -> float | None:
        """The sample standard deviation over seeds; None of a single seed or without a mean.

        Parameters
        ----------
        metric : str
            A full name, such as "test/full/ndcg_at_10".
        """
        values = self.values(metric)
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


def notes_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The notes among a run's tags, by the names of the tags."""
    return tuple(tags[name] for name in sorted(tags) if name.startswith(NOTE))
