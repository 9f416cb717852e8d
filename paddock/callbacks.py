"""What is called while a run trains: the public protocol of callbacks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """The run that a callback is told of.

    Attributes
    ----------
    folder : Path
        The run folder; its run.json is written already.
    label : str
        The model's configuration and the seed, as in "sasrec seed 1".
    metric : str
        The valid metric that selects epochs, as in "valid/full/ndcg_at_10".
    run : mapping
        The content of run.json: data set, protocol, model, seed, configuration, hashes.
    """

    folder: Path
    label: str
    metric: str
    run: Mapping[str, Any]


class Callback:
    """Methods that a run calls; a subclass overrides those that it needs.

    What a method raises ends the run, as an error of its own would. Callbacks are called in the order
    in which they were added, and must not change the model.
    """

    def on_start(self, run: RunInfo) -> None:
        """The run begins, or goes on after a kill; nothing is trained yet."""

    def on_stage(self, stage: str, epochs: int) -> None:
        """A stage begins that trains at most `epochs` epochs."""

    def on_resume(self, step: int) -> None:
        """Training goes on behind epoch number `step` of the run; later ones will come again."""

    def on_batch(self, done: int, total: int) -> None:
        """So many of an epoch's batches are done."""

    def on_validate(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """The valid metrics of the model as it is after an epoch (0: before the first)."""

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """An epoch has ended.

        Parameters
        ----------
        record
            A line of curve.jsonl: `stage`, `epoch`, `step` (epochs of the run so far), `seconds`,
            `best` (of the stage so far, None without one) and `metrics` ("train/loss", "valid/...").
        """

    def on_end(self, result: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """The run is over.

        Parameters
        ----------
        result
            The content of result.json; None where the run failed or was stopped.
        error
            What ended it then: KeyboardInterrupt where it was stopped.
        """
