"""One run on disk, the truth that tracking and the leaderboard project.

<runs_dir>/<dataset>/<protocol>/<model>-<config_hash[:10]>/seed-<seed>/
    run.json          what runs, on what, by which command, and whether it finished
    curve.jsonl       one line per epoch
    result.json       the metrics, and time and peak memory per phase
    per_user.parquet  config.yaml  model/
    tracking.json     which MLflow run follows this one while it trains
    published.json    where the complete run was uploaded to
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiments.errors import FailedError, PaddockError
from experiments.files import naming, read_json, write_json, write_text
from paddock import Callback

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
            `supersedes`: the MLflow runs of what is removed here.
        """
        folder = cls(path)
        earlier = set(folder.run.get("supersedes", [])) if folder.exists else set()
        earlier |= {ids["run_id"] for ids in (folder.tracking, folder.published) if "run_id" in ids}
        superseded = {"supersedes": sorted(earlier)} if earlier else {}
        # run.json goes first: without it the folder is no run, and no reader sees a mixture.
        for name in ("run.json", *_PRODUCTS):
            (folder.path / name).unlink(missing_ok=True)
        begun: dict[str, Any] = {"started": _utc_now(), "tags": {}, "params_trained": None}
        ends = {"state": "running", "finished": None}
        write_json(folder.path / "run.json", begun | dict(run) | ends | superseded)
        return folder

    @property
    def exists(self) -> bool:
        return (self.path / "run.json").is_file()

    @property
    def run(self) -> dict[str, Any]:
        return self._read("run.json")

    @property
    def result(self) -> dict[str, Any]:
        return self._read("result.json")

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
        write_json(self.path / "run.json", self.run | fields)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write result.json, then mark the run as finished.

        Parameters
        ----------
        result : mapping of str to object
            The content of result.json.
        """
        write_json(self.path / "result.json", dict(result))
        self.update(state="finished", finished=_utc_now())

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
        write_json(self.path / "tracking.json", dict(content))

    def write_published(self, content: Mapping[str, Any]) -> None:
        """Write published.json.

        Parameters
        ----------
        content : mapping of str to object
            `tracking_uri` and ids.
        """
        write_json(self.path / "published.json", dict(content))

    def _read_if_there(self, name: str) -> dict[str, Any]:
        return self._read(name) if (self.path / name).exists() else {}

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            content = read_json(path)
        except FileNotFoundError:
            raise PaddockError(f"{path} is missing: {self.path} holds no such run.") from None
        except ValueError as error:
            raise FailedError(f"{error}: run it again.") from error
        if not isinstance(content, dict):
            raise PaddockError(f"{path} does not hold a JSON object: run it again.")
        return content


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
    found: list[tuple[str, str, RunFolder]] = []
    for path in Path(runs_dir).glob("*/*/*/seed-*/run.json"):
        folder = RunFolder(path.parent)
        run = folder.run
        if (
            dataset in (None, run["dataset"])
            and protocol in (None, run["protocol"])
            and model in (None, run["model_key"], run["model"])
            and finished in (None, run["state"] == "finished")
        ):
            found.append((run["started"], str(path), folder))
    return [folder for *_, folder in sorted(found, key=lambda entry: entry[:2], reverse=True)]


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


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
