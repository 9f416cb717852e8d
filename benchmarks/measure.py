"""Measurements of two peers, and their ratio."""

import statistics
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Measured:
    """Seconds of RecBole and of Paddock, taken in turns in one process."""

    name: str
    theirs: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """RecBole's seconds over ours, of each turn."""
        return [their / our for their, our in zip(self.theirs, self.ours, strict=True)]

    def summary(self) -> dict[str, Any]:
        ratios = self.ratios
        return {
            "name": self.name,
            "recbole_seconds": self.theirs,
            "paddock_seconds": self.ours,
            "ratio": {
                "min": min(ratios),
                "median": statistics.median(ratios),
                "max": max(ratios),
            },
        }
