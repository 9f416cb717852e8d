"""One run on disk, the truth that tracking and the leaderboard project.

<runs_dir>/<dataset>/<protocol>/<model>-<config_hash[:10]>/seed-<seed>/
    run.json          what runs, on what, by which command, and whether it finished
    curve.jsonl       one line per epoch
    result.json       the metrics, and time and peak memory per phase
    per_user.parquet  config.yaml  model/
    tracking.json     which MLflow run follows this one while it trains
    published.json    where the complete run was uploaded to

run.json and result.json are sealed, and run.json states the hashes of the other files of a finished run.
"""

import json
import re
import shutil
import stat
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import Timeout

from experiments.files import naming, write_text
from experiments.integrity import (
    Damaged,
    check,
    read_sealed,
    say_once,
    say_unchecked,
    stated,
    write_sealed,
)
from experiments.locks import lock
from paddock import Callback

LARGEST = 2**26
"""Bytes above which a file of a run that is only asked for again is checked by its size alone."""

_STATED = ("config.yaml", "curve.jsonl", "per_user.parquet")
"""What run.json states the hashes of, beside the files in model/."""

_NEEDED = ("config_hash", "dataset", "model", "model_key", "protocol", "seed", "started", "state")
"""What every run.json says."""

_TYPES: Mapping[str, type] = {
    **dict.fromkeys(_NEEDED, str),
    "seed": int,
    "folder_id": str,
    "supersedes": list,
    **dict.fromkeys(("config", "files", "hashes", "tags"), dict),
}
"""The types of what run.json says."""

_PRODUCTS = (
    "result.json",
    "curve.jsonl",
    "per_user.parquet",
    "published.json",
    "tracking.json",
    "system.jsonl",
)


def run_path(
    runs_dir: str | Path,
    *,
    dataset: str,
    protocol: str,
    model_key: str,
    config_hash: str,
    seed: int,
) -> Path:
    """The folder of a run.

    Parameters
    ----------
    runs_dir : str or Path
        The root of all runs.
    dataset, protocol, model_key : str
        Names of the folders below it.
    config_hash : str
        Of which the first ten digits count.
    seed : int
        The run's seed.
    """
    return Path(runs_dir) / dataset / protocol / f"{model_key}-{config_hash[:10]}" / f"seed-{seed}"


class RunFolder:
    """Reads and writes the folder of one run; holds nothing that is not on disk.

    Parameters
    ----------
    path : str or Path
        The folder, which need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunFolder) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @classmethod
    def create(cls, path: str | Path, run: Mapping[str, Any]) -> "RunFolder":
        """Begin a run at `path`, from its first epoch.

        What an earlier run left there is removed, so that no number outlives the run it belongs
        to. A killed run that goes on is opened with `RunFolder(path)` instead.

        Parameters
        ----------
        path : str or Path
            The folder.
        run : mapping of str to object
            The content of run.json. `state`, `started`, `finished` and `tags` are filled in, and
            `folder_id`, drawn at random for the folder's first run and kept by those that replace
            it, and `supersedes`: the MLflow runs of what is removed here.
        """
        folder = cls(path)
        earlier, folder_id = folder._superseded()
        superseded = {"supersedes": sorted(earlier)} if earlier else {}
        # run.json goes first: without it the folder is no run, and no reader sees a mixture.
        for name in ("run.json", *_PRODUCTS):
            (folder.path / name).unlink(missing_ok=True)
        begun: dict[str, Any] = {"started": _utc_now(), "tags": {}, "params_trained": None}
        begun["folder_id"] = folder_id
        ends = {"state": "running", "finished": None}
        write_sealed(folder.path / "run.json", begun | dict(run) | ends | superseded)
        return folder

    def lock(self, *, timeout: float = -1) -> AbstractContextManager[None]:
        """The lock that whoever writes to the folder holds.

        Parameters
        ----------
        timeout : float
            Seconds to wait for it; -1 waits without end.
        """
        return lock(self.path.with_name(f".{self.path.name}.lock"), timeout=timeout)

    @property
    def exists(self) -> bool:
        return (self.path / "run.json").is_file()

    @property
    def run(self) -> dict[str, Any]:
        """The content of run.json; `Damaged` where it is not what was written."""
        run = read_sealed(self.path / "run.json", remedy=self._remedy)
        if missing := [key for key in _NEEDED if key not in run]:
            raise Damaged(f"{self.path / 'run.json'} lacks {', '.join(missing)}; {self._remedy}")
        if (key := _wrong(run)) is not None:
            raise Damaged(
                f"{self.path / 'run.json'} is none of Paddock's: {key} is {run[key]!r:.80}; "
                f"{self._remedy}"
            )
        return run

    @property
    def result(self) -> dict[str, Any]:
        """The content of result.json; `Damaged` where it is not what was written for this run."""
        return self.result_of(self.run)

    def result_of(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """The content of result.json, for who has read run.json.

        Parameters
        ----------
        run : mapping of str to object
            The content of run.json.

        Raises
        ------
        Damaged
            It is missing, or not what was written for this run.
        """
        path = self.path / "result.json"
        sealed = "files" in run
        return read_sealed(
            path, remedy=self._remedy, of=_name(run) if sealed else "", needed=sealed
        )

    @property
    def finished(self) -> bool:
        return self.exists and bool(self.run.get("state") == "finished")

    def update(self, **fields: Any) -> None:
        """Set keys of run.json, such as `params_trained` once the model is built.

        Parameters
        ----------
        **fields : object
            Key -> value.
        """
        write_sealed(self.path / "run.json", self.run | fields)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write result.json, then mark the run as finished.

        Parameters
        ----------
        result : mapping of str to object
            The content of result.json.
        """
        self.write_result(result)
        present = [name for name in _STATED if (self.path / name).is_file()]
        present += [str(path.relative_to(self.path)) for path in self.path.glob("model/*")]
        files = {name: stated(self.path / name) for name in sorted(present)}
        self.update(state="finished", finished=_utc_now(), files=files)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write result.json, sealed for this run.

        Parameters
        ----------
        result : mapping of str to object
            The content of result.json.
        """
        write_sealed(self.path / "result.json", result, of=_name(self.run))

    def verify(self, *, largest: int | None = None) -> None:
        """Compare every file of a finished run with what was written.

        Parameters
        ----------
        largest : int, optional
            Bytes above which a file's size alone is compared; 0 compares sizes only. run.json and
            result.json are compared as a whole always.

        Raises
        ------
        Damaged
            A file is missing, or not what was written.
        """
        run = self.run
        self.result_of(run)
        self.verify_files(run, largest=largest)

    def verify_files(self, run: Mapping[str, Any], *, largest: int | None = None) -> None:
        """Compare the files that run.json states, for who has read it.

        Parameters
        ----------
        run : mapping of str to object
            The content of run.json.
        largest : int, optional
            Bytes above which a file's size alone is compared.

        Raises
        ------
        Damaged
            A file is missing, or not what was written.
        """
        if "files" not in run:
            say_unchecked("a run folder")
        for name, written in run.get("files", {}).items():
            inner = Path(name)
            if inner.is_absolute() or ".." in inner.parts:
                raise Damaged(
                    f"{self.path / 'run.json'} names {name!r}, which is outside of its folder; "
                    f"{self._remedy}"
                )
            check(self.path / inner, written, remedy=self._remedy, largest=largest)

    def reaching_out(self) -> Path | None:
        """What in the folder or beside it leads elsewhere: a link, a pipe, a device; None usually.

        Training makes none of them. Who copies a folder from elsewhere may get some.
        """
        beside = self.path.parent.glob(f".{self.path.name}.lock*")
        return next(
            (
                place
                for place in chain(beside, self.path.rglob("*"))
                if not (stat.S_ISREG(mode := place.lstat().st_mode) or stat.S_ISDIR(mode))
            ),
            None,
        )

    def sweep(self) -> None:
        """Remove what training leaves beside its products: checkpoints and files cut short.

        The caller holds the lock, or trains the run.
        """
        for left in self._leftovers():
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()

    def clean(self) -> None:
        """Sweep a finished run that was killed before it did so, unless another process writes to it."""
        if not self._leftovers():
            return
        try:
            with self.lock(timeout=0):
                if self.finished:
                    self.sweep()
        except (Timeout, OSError):
            # Somebody is at it, or the folder may only be read.
            return

    def _leftovers(self) -> list[Path]:
        return [*chain(self.path.glob("*.safetensors"), self.path.glob(".*.tmp"))]

    @property
    def curve(self) -> list[dict[str, Any]]:
        """The epochs in order.

        A last line without its end was cut short by a kill and does not count.
        """
        path = self.path / "curve.jsonl"
        if not path.exists():
            return []
        *lines, _torn = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines]

    def append_epoch(self, record: Mapping[str, Any]) -> None:
        """Append one epoch to curve.jsonl.

        Parameters
        ----------
        record : mapping of str to object
            `stage`, `epoch`, `step`, `seconds` (its duration) and `metrics`.
        """
        path = self.path / "curve.jsonl"
        with naming(path), path.open("ab+") as stream:
            _drop_torn_line(stream)
            stream.write((json.dumps(dict(record), ensure_ascii=False) + "\n").encode())

    def truncate_curve(self, step: int) -> None:
        """Keep the epochs up to and including `step`, after which a resumed run continues.

        Parameters
        ----------
        step : int
            Finished epochs of all stages.
        """
        kept = [record for record in self.curve if record["step"] <= step]
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
        write_text(self.path / "curve.jsonl", text)

    @property
    def tracking(self) -> dict[str, Any]:
        """The MLflow run that follows this one: `tracking_uri` and ids, or nothing."""
        return self._read_if_there("tracking.json")

    @property
    def published(self) -> dict[str, Any]:
        """Where the complete run was uploaded to: `tracking_uri` and ids, or nothing."""
        return self._read_if_there("published.json")

    def write_tracking(self, content: Mapping[str, Any]) -> None:
        """Write tracking.json.

        Parameters
        ----------
        content : mapping of str to object
            `tracking_uri` and ids.
        """
        write_sealed(self.path / "tracking.json", content)

    def write_published(self, content: Mapping[str, Any]) -> None:
        """Write published.json.

        Parameters
        ----------
        content : mapping of str to object
            `tracking_uri` and ids.
        """
        write_sealed(self.path / "published.json", content)

    def _superseded(self) -> tuple[set[str], str]:
        """The MLflow runs that followed this folder and its id, as far as it can be read."""
        try:
            run = self.run if self.exists else {}
        except Damaged:
            run = {}
        known = (self.tracking, self.published)
        earlier = set(run.get("supersedes", [])) | {
            ids["run_id"] for ids in known if "run_id" in ids
        }
        return earlier, run.get("folder_id") or uuid4().hex

    def _read_if_there(self, name: str) -> dict[str, Any]:
        """The content of a file that only says where the store has the run: damaged, it is not there."""
        path = self.path / name
        if not path.exists():
            return {}
        try:
            return read_sealed(path, remedy=f"it is not used; delete {path}")
        except Damaged as error:
            say_once(str(error))
            return {}

    @property
    def _remedy(self) -> str:
        return f"train the run again with force=true, or delete {self.path}"


class CurveWriter(Callback):
    """Writes every epoch to a run folder's curve.jsonl.

    Parameters
    ----------
    folder : RunFolder
        The run folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def on_resume(self, step: int) -> None:
        """Drop the epochs that will come again."""
        self._folder.truncate_curve(step)

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """Append the epoch."""
        self._folder.append_epoch(record)


def find_runs(
    runs_dir: str | Path,
    *,
    dataset: str | None = None,
    protocol: str | None = None,
    model: str | None = None,
    finished: bool | None = None,
) -> list[RunFolder]:
    """The run folders under `runs_dir`, newest first.

    A folder whose run.json is damaged is left out, which a warning says.

    Parameters
    ----------
    runs_dir : str or Path
        The root of all runs.
    dataset, protocol : str, optional
        Only runs of this data set, of this protocol.
    model : str, optional
        The model's configuration name ("sasrec") or its class ("SASRec").
    finished : bool, optional
        True: only finished runs. False: only the others.
    """
    return list(read_runs(runs_dir, dataset, protocol, model, finished))


def read_runs(
    runs_dir: str | Path,
    dataset: str | None = None,
    protocol: str | None = None,
    model: str | None = None,
    finished: bool | None = None,
) -> dict[RunFolder, dict[str, Any]]:
    """The run folders of `find_runs`, each with the content of its run.json, which takes long to read.

    Parameters
    ----------
    runs_dir, dataset, protocol, model, finished
        As for `find_runs`.
    """
    found: list[tuple[str, str, RunFolder, dict[str, Any]]] = []
    for path in Path(runs_dir).glob("*/*/*/seed-*/run.json"):
        folder = RunFolder(path.parent)
        try:
            run = folder.run
        except Damaged as error:
            *_, of_dataset, of_protocol, _, _, _ = path.parts
            if dataset in (None, of_dataset) and protocol in (None, of_protocol):
                say_once(f"left out: {error}")
            continue
        if (
            dataset in (None, run["dataset"])
            and protocol in (None, run["protocol"])
            and model in (None, run["model_key"], run["model"])
            and finished in (None, run["state"] == "finished")
        ):
            found.append((run["started"], str(path), folder, run))
    newest = sorted(found, key=lambda entry: entry[:2], reverse=True)
    return {folder: run for *_, folder, run in newest}


def _wrong(run: Mapping[str, Any]) -> str | None:
    """The first key of run.json whose value cannot be one: of another type, or no name of a folder."""
    for key, kind in _TYPES.items():
        if key in run and type(run[key]) is not kind:
            return key
    for key in ("dataset", "protocol", "model_key"):
        if run[key] in ("", ".", "..") or re.search(r"[/\\\0]", run[key]):
            return key
    return None if re.fullmatch(r"\w+", run["config_hash"]) else "config_hash"


def _drop_torn_line(stream: Any) -> None:
    """Cut what follows the last line end, so that the next line does not continue one that a kill cut short."""
    end = stream.seek(0, 2)
    if end == 0:
        return
    stream.seek(end - 1)
    if stream.read(1) == b"\n":
        return
    stream.seek(0)
    stream.truncate(stream.read().rfind(b"\n") + 1)


def _name(run: Mapping[str, Any]) -> str:
    """What a result belongs to."""
    return f"{run['config_hash']} seed {run['seed']}"


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
