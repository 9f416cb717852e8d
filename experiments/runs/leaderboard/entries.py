"""Run folders, read as plain values that compare."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.config.schema import Refit
from experiments.integrity import Damaged
from experiments.runs.configuration import RECBOLE, Run, notes_of
from experiments.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderRun(Run):
    """One run folder, read.

    Attributes
    ----------
    train_seconds : float or None
        How long it trained, where that was measured.
    full_ranking : str
        What is particular about its full ranking, or "".
    """

    _SHOWN = (*Run._SHOWN, "full_ranking")

    train_seconds: float | None = None
    full_ranking: str = ""

    @property
    def short_id(self) -> str:
        """The path of the folder."""
        return self.run_id


def entries(
    folders: Iterable[RunFolder] | Mapping[RunFolder, Mapping[str, Any]],
) -> list[FolderRun]:
    """The runs of the folders, those that do not count included.

    Parameters
    ----------
    folders : iterable of RunFolder
        Run folders; of a mapping, run.json is not read again.
    """
    read = folders if isinstance(folders, Mapping) else {}
    return [_entry(folder, read.get(folder) or folder.run) for folder in folders]


def _entry(folder: RunFolder, run: Mapping[str, Any]) -> FolderRun:
    result: Mapping[str, Any] = {}
    unfit = "" if run["state"] == "finished" else "not finished"
    if not unfit:
        try:
            result = folder.result_of(run)
            folder.verify_files(run, largest=0)
        except Damaged as error:
            unfit = str(error)
    config, tags, git = run.get("config", {}), run.get("tags", {}), run.get("git") or {}
    protocol = config.get("protocol", {})
    return FolderRun(
        run_id=str(folder.path),
        model=run["model_key"],
        seed=run["seed"],
        config_hash=run["config_hash"],
        unfit=unfit,
        started=run["started"],
        experiment=f"{run['dataset']}/{run['protocol']}",
        question=run["hashes"],
        inputs=protocol.get("inputs", RECBOLE),
        refitted=protocol.get("refit") == Refit.valid.value,
        selecting=protocol.get("valid_metric", ""),
        metrics=result.get("metrics", {}),
        params=_flat({"model": config.get("model", {})}),
        dirty=bool(git.get("dirty")),
        commit=git.get("commit") or "",
        mechanics_only=tags.get("paddock.mechanics_only") == "true",
        train_seconds=result.get("phases", {}).get("train", {}).get("seconds"),
        full_ranking=tags.get("paddock.full_ranking", ""),
        notes=notes_of(tags),
    )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"model": {"lr": 0.1}} to {"model.lr": "0.1"}; lists and null in JSON."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat
