"""A SLURM of one node, of the test's own: Debian's slurmctld and slurmd in a folder, on free ports."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from .postgres import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo", "scancel")


class Slurm:
    """Daemons without accounting, as `sacct` needs a database; jobs come out of the shared folder."""

    def __init__(self) -> None:
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing:
            pytest.skip(f"no {missing[0]}: apt-get install slurmctld slurmd munge")
        # A socket's path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        host, user = socket.gethostname().partition(".")[0], getpass.getuser()
        (self.folder / "slurm.conf").write_text(
            f"""
ClusterName=paddock
SlurmctldHost={host}(127.0.0.1)
AuthInfo=socket={self.folder}/munge.sock
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
""",
            encoding="utf-8",
        )
        files = {
            "key-file": key,
            **{name: self.folder / f"munge.{name}" for name in ("pid-file", "log-file")},
            "seed-file": self.folder / "munge.seed",
            "socket": self.folder / "munge.sock",
        }
        self._daemon("munged", "--foreground", "--force", *(f"--{k}={v}" for k, v in files.items()))
        self._wait("munged", (self.folder / "munge.sock").exists)
        self._daemon("slurmctld", "-D", "-i")
        self._daemon("slurmd", "-D")
        self._wait("slurmd", lambda: "idle" in self.output_of("sinfo", "--noheader", "--format=%t"))

    def stop(self) -> None:
        self.output_of("scancel", "--user", getpass.getuser())
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _daemon(self, *arguments: str) -> None:
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            self._daemons.append(
                subprocess.Popen(arguments, env=self.environment, stdout=log, stderr=log)
            )

    def output_of(self, *arguments: str) -> str:
        done = subprocess.run(
            arguments, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    def _wait(self, name: str, ready) -> None:  # type: ignore[no-untyped-def]
        for _ in range(150):
            if ready():
                return
            time.sleep(0.2)
        raise AssertionError((self.folder / f"{name}.log").read_text())
