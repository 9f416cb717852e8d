"""Telling the storage that a trial's worker lives.

Optuna's own heartbeat belongs to Study.optimize, which takes trials without the ledger's lock.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.tuning.storage import Storage

_log = logging.getLogger(__name__)


@contextmanager
def heartbeat(storage: "Storage", trial_id: int) -> Iterator[None]:
    """Report the trial alive every so often while the block runs."""
    seconds = storage.get_heartbeat_interval()
    assert seconds is not None
    done = Event()

    def beat() -> None:
        while not done.wait(seconds):
            try:
                storage.record_heartbeat(trial_id)
            except Exception as error:
                # The next one may come through; after enough silences another worker takes over.
                _log.warning("A heartbeat was not stored: %s", str(error).partition("\n")[0])

    thread = Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
