"""Run folders, read and compared: which runs answer the same question."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder


@dataclass(frozen=True)
class Entry:
    """One run folder, read."""

    run: dict[str, Any]
    result: dict[str, Any]

    @property
    def metrics(self) -> dict[str, float]:
        return self.result["metrics"]

    @property
    def question(self) -> dict[str, str]:
        """What two runs must share to be comparable."""
        return {
            "dataset": self.run["dataset"],
            "protocol": self.run["protocol"],
            **{f"{name} hash": value for name, value in self.run["hashes"].items()},
        }

    @property
    def key(self) -> str:
        return repr(sorted(self.question.items()))


def read_entries(folders: Sequence[RunFolder]) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """The finished runs, and the others with the reason why they do not count."""
    entries: list[Entry] = []
    left_out: list[tuple[Entry, str]] = []
    for folder in folders:
        run = folder.run
        if run["state"] != "finished":
            left_out.append((Entry(run, {}), "not finished"))
            continue
        try:
            entries.append(Entry(run, folder.result))
        except PaddockError as error:
            left_out.append((Entry(run, {}), str(error)))
    return entries, left_out


def by_configuration(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries by config_hash, apart where one configuration met two versions of the data."""
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.run["config_hash"], entry.key].append(entry)
    return list(groups.values())


def shared_question(entries: Sequence[Entry]) -> dict[str, str]:
    """The question that most runs answer; of equally many, the most recent one."""
    if not entries:
        return {}
    asked = Counter(entry.key for entry in entries)
    return max(entries, key=lambda entry: (asked[entry.key], entry.run["started"])).question


def difference(question: Mapping[str, str], shown: Mapping[str, str]) -> str:
    """The first thing that two questions do not share, in words; "" where they are equal."""
    for name in {**shown, **question}:
        ours, theirs = question.get(name), shown.get(name)
        if ours == theirs:
            continue
        if name.endswith(" hash"):
            ours, theirs = (value[:6] if value else None for value in (ours, theirs))
        return f"{name} {ours or 'absent'}, the board's is {theirs or 'absent'}"
    return ""


def selector(entries: Sequence[Entry]) -> str:
    """The test counterpart of the metric that selects epochs and hyper-parameters."""
    if not entries:
        return ""
    return f"test/{entries[0].run['config']['protocol']['valid_metric']}"


def mean(group: Sequence[Entry], name: str) -> float:
    """The mean of a metric over seeds; NaN where not every seed reports it."""
    values = np.array([entry.metrics.get(name) for entry in group], dtype=float)
    return float(values.mean())
