"""Showing a run in MLflow while it trains."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from experiments.config.schema import TrackingConfig
from experiments.runs.folder import RunFolder
from experiments.tracking.child import Child, open_child
from experiments.tracking.points import Point, now, points_at, send_points
from experiments.tracking.publishing import publish
from experiments.tracking.store import Store, connect, reason
from experiments.tracking.system import SystemMetrics
from paddock import Callback, RunInfo

_log = logging.getLogger(__name__)


class Tracker(Callback):
    """Shows one run in MLflow while it trains. No method raises because of the store.

    Parameters
    ----------
    tracking : TrackingConfig
        Where `uri` is None every method does nothing.
    folder : RunFolder
    flush_seconds : float
        Epochs are sent together, at most this often.

    Attributes
    ----------
    seconds : float
        Time spent in its methods so far, the import of MLflow included.
    """

    def __init__(
        self, tracking: TrackingConfig, folder: RunFolder, *, flush_seconds: float = 5.0
    ) -> None:
        self.tracking = tracking
        self.folder = folder
        self.flush_seconds = flush_seconds
        self.seconds = 0.0
        self._store: Store | None = None
        self._child: Child | None = None
        self._system: SystemMetrics | None = None
        self._waiting: list[Point] = []
        self._flushed_at = time.monotonic()

    @property
    def online(self) -> bool:
        """Whether epochs are being sent: `start` found the store, and nothing failed since."""
        return self._child is not None

    def start(self) -> None:
        """Open the experiment, the parent and the child run, or the child that a kill left open."""
        if self.tracking.uri is None:
            return
        with self._tolerant():
            store = connect(self.tracking)
            self._child = store.retried(partial(open_child, store, self.folder))
            self._store = store
            self._system = SystemMetrics(self.folder)
        self._flushed_at = time.monotonic()

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Send the metrics of one epoch; those that were sent before a kill are not sent again.

        Parameters
        ----------
        record : mapping
            The epoch's line of curve.jsonl.
        """
        if self._child is None:
            return
        with self._tolerant():
            logged = self._child.logged
            points = points_at(record, now())
            if self._system is not None:
                points += self._system.sample(int(record["step"]))
            self._waiting += [p for p in points if p.key not in logged]
            if time.monotonic() - self._flushed_at >= self.flush_seconds:
                self._flush()

    def on_start(self, run: RunInfo) -> None:
        """`start`."""
        self.start()

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """`epoch`."""
        self.epoch(record)

    def on_end(self, result: Mapping[str, Any] | None, error: BaseException | None) -> None:
        """Publish a finished run; close another as KILLED where it was stopped, else as FAILED."""
        if result is not None:
            self.finish()
        else:
            self.fail("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")

    def fail(self, status: str = "FAILED") -> None:
        """Close the run in MLflow; `start` opens it again.

        Parameters
        ----------
        status : str
            FAILED or KILLED.
        """
        if self._store is None or self._child is None:
            return
        with self._tolerant():
            self._flush()
            self._store.client.set_terminated(self._child.run_id, status)

    def finish(self) -> str | None:
        """Publish the finished folder.

        Returns
        -------
        str or None
            The MLflow run id; None where that failed, which is warned of.
        """
        begun = time.perf_counter()
        try:
            return publish(self.folder, self.tracking, self._store, self._child)
        finally:
            self.seconds += time.perf_counter() - begun

    def _flush(self) -> None:
        assert self._store is not None
        assert self._child is not None
        if self._waiting:
            send_points(self._store.client, self._child.run_id, self._waiting)
            self._child.remember(self._waiting)
            self._waiting = []
        self._flushed_at = time.monotonic()

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        except Exception as error:
            # A request that failed may have arrived all the same: nothing remembered about the
            # child run holds any longer, and `finish` reads it back.
            self._store, self._child, self._waiting = None, None, []
            _log.warning(
                "Tracking is paused: %s. Training goes on, every number stays in %s, and the upload "
                "is tried again at the end.",
                reason(error, self.tracking),
                self.folder.path,
            )
        finally:
            self.seconds += time.perf_counter() - begun
