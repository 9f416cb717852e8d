"""What is called while a run trains: the public protocol of callbacks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """The run that a callback is called for.

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

    An exception that a method raises ends the run. Callbacks are called in the order
    in which they were added, and must not change the model.
    """

    def on_start(self, run: RunInfo) -> None:
        """The run begins, or goes on after a kill; nothing is trained yet.

        Parameters
        ----------
        run : RunInfo
            The run's folder, label, metric and run.json.
        """

    def on_stage(self, stage: str, epochs: int) -> None:
        """A stage begins.

        Parameters
        ----------
        stage : str
            Name of the stage.
        epochs : int
            The most epochs that it trains.
        """

    def on_resume(self, step: int) -> None:
        """Training goes on after an epoch; the epochs after it are trained again.

        Parameters
        ----------
        step : int
            Number of that epoch, counted over all stages; 0 at the beginning.
        """

    def on_batch(self, done: int, total: int) -> None:
        """A batch is done.

        Parameters
        ----------
        done : int
            Finished batches of the epoch.
        total : int
            All batches of the epoch.
        """

    def on_validate(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """The model was validated.

        Parameters
        ----------
        stage : str
            Name of the stage.
        epoch : int
            Finished epochs of the stage; 0: before the first.
        metrics : mapping of str to float
            Valid metrics by name.
        """

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """An epoch has ended.

        Parameters
        ----------
        record : mapping of str to object
            A line of curve.jsonl: `stage`, `epoch`, `step` (epochs of the run so far), `seconds`,
            `best` (of the stage so far, None without one) and `metrics` ("train/loss",
            "valid/...").
        """

    def on_end(self, result: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """The run is over.

        Parameters
        ----------
        result : mapping of str to object or None
            The content of result.json; None where the run failed or was stopped.
        error : BaseException or None
            What ended a run without a result: KeyboardInterrupt where it was stopped.
        """
