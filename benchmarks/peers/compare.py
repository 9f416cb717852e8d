"""What the turns of two sides say: seconds, memory and quality, and where ours loses."""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.measure import spread
from benchmarks.peers.turn import Turn

SHARE = 0.95
"""Of the worst best valid NDCG@10 of any turn: what every turn is timed to."""

CLOCKS = ("cpu", "wall")
QUALITY = ("ndcg_at_10", "hit_at_1")


def compare(theirs: Sequence[Turn], ours: Sequence[Turn]) -> dict[str, Any]:
    """Seconds of each turn and their ratio (theirs over ours), memory, and mean quality.

    Parameters
    ----------
    theirs, ours
        Turns of the same rounds.

    Returns
    -------
    dict
        `goal`, a valid NDCG@10 that every turn reached; for `pass`, `to_goal` and `to_best` the seconds of both sides
        and the ratios by turn on both clocks; `megabytes`; `valid` and `test` metrics, the means of
        the turns; `loses`, the names of what ours is worse at.
    """
    goal = SHARE * min(turn.best["ndcg_at_10"] for turn in (*theirs, *ours))
    found: dict[str, Any] = {"goal": goal}
    for name in ("pass", "to_goal", "to_best"):
        sides = [[_seconds(turn, name, goal) for turn in turns] for turns in (theirs, ours)]
        found[name] = {
            clock: {
                "theirs": [each[clock] for each in sides[0]],
                "ours": [each[clock] for each in sides[1]],
                "ratio": spread(
                    [their[clock] / our[clock] for their, our in zip(*sides, strict=True)]
                ),
            }
            for clock in CLOCKS
        }
    found["megabytes"] = _of_both(theirs, ours, lambda turn: turn.peak_megabytes)
    for metric in QUALITY:
        found[f"valid_{metric}"] = _of_both(theirs, ours, lambda turn, m=metric: turn.best[m])
        found[f"test_{metric}"] = _of_both(theirs, ours, lambda turn, m=metric: turn.tested[m])
    return found | {"loses": list(_loses(found))}


def _seconds(turn: Turn, name: str, goal: float) -> dict[str, float]:
    last = turn.curve[-1]
    if name == "pass":
        return {clock: last[clock] / last["pass"] for clock in CLOCKS}
    if name == "to_best":
        return {clock: turn.best[clock] for clock in CLOCKS}
    reached = next(each for each in turn.curve if each["ndcg_at_10"] >= goal)
    return {clock: reached[clock] for clock in CLOCKS}


def _of_both(theirs: Sequence[Turn], ours: Sequence[Turn], value: Any) -> dict[str, float]:
    return {
        side: statistics.fmean(value(turn) for turn in turns)
        for side, turns in (("theirs", theirs), ("ours", ours))
    }


def _loses(found: dict[str, Any]) -> list[str]:
    """What ours is slower, larger or worse at."""
    slower = [name for name in ("pass", "to_goal") if found[name]["cpu"]["ratio"]["median"] < 1]
    larger = ["megabytes"] if found["megabytes"]["theirs"] < found["megabytes"]["ours"] else []
    worse = [
        name
        for name in ("valid_ndcg_at_10", "test_ndcg_at_10", "test_hit_at_1")
        if found[name]["theirs"] > found[name]["ours"]
    ]
    return [*slower, *larger, *worse]
