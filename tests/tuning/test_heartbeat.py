"""Whether a worker lives: its heartbeats outlast errors of the storage, its process is known."""

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, cast

import psutil

from experiments.tuning.heartbeat import heartbeat, is_gone, this_worker

if TYPE_CHECKING:
    from experiments.tuning.storage import Storage


class FailingStorage:
    """Stores heartbeats, but not the first two."""

    def __init__(self) -> None:
        self.tried: list[int] = []
        self.stored = threading.Event()

    def get_heartbeat_interval(self) -> float:
        return 0.01

    def record_heartbeat(self, trial_id: int) -> None:
        self.tried.append(trial_id)
        if len(self.tried) <= 2:
            raise RuntimeError("database is locked")
        self.stored.set()


def test_heartbeats_outlast_errors_and_end_with_the_block() -> None:
    storage = FailingStorage()
    with heartbeat(cast("Storage", storage), 7):
        assert storage.stored.wait(timeout=60)
        assert set(storage.tried) == {7}
    tried = len(storage.tried)
    storage.stored.clear()
    assert not storage.stored.wait(timeout=0.1)
    assert len(storage.tried) == tried


def worker_of(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    started = round(psutil.Process(process.pid).create_time(), 2)
    return {**this_worker(), "pid": process.pid, "started": started}


def test_process_that_has_ended_is_gone() -> None:
    assert not is_gone(this_worker())
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    worker = worker_of(process)
    assert not is_gone(worker)
    process.kill()
    # Until its parent has asked for its end, it is listed as a zombie.
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert is_gone(worker)
    process.communicate()
    assert is_gone(worker)


def test_process_number_that_another_process_has() -> None:
    assert is_gone({**this_worker(), "started": this_worker()["started"] - 60.0})


def test_process_on_another_machine_is_never_known_to_be_gone() -> None:
    assert not is_gone({"host": "elsewhere", "pid": 2**22 + 1, "started": 0.0})
