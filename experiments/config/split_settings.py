"""The settings of a split that cannot work, refused before any data is read."""

import math
from typing import Any

from experiments.config.schema import DatasetConfig, ProtocolConfig
from experiments.config.values import at_least
from experiments.errors import PaddockError
from experiments.protocol.splits.temporal import NO_CLOCK

READS: dict[str, tuple[str, ...]] = {
    "loo": (),
    "temporal": ("ratios", "cut_times"),
    "random": ("ratios", "seed"),
}
"""The keys of a protocol that each split reads, beside those that all read."""

_SUM_TOLERANCE = 1e-6


def check_split(protocol: ProtocolConfig) -> None:
    """Refuse a key that the split does not read, one that it misses, and impossible values.

    Raises
    ------
    PaddockError
        Naming the key's full path.
    """
    split, reads = protocol.split, READS[protocol.split]
    for key in dict.fromkeys(key for keys in READS.values() for key in keys):
        value = getattr(protocol, key)
        if value is not None and key not in reads:
            readers = " and ".join(name for name, keys in READS.items() if key in keys)
            raise PaddockError(
                f"protocol.{key}={_told(value)} is read by split {readers}, not by {split}: "
                f"set protocol.{key}=null or choose another protocol"
            )
    if split == "random":
        for key in reads:
            if getattr(protocol, key) is None:
                raise PaddockError(f"protocol.{key} is missing: protocol.split=random needs it")
        at_least("protocol.seed", protocol.seed or 0, 0)
    if split == "temporal" and (protocol.ratios is None) == (protocol.cut_times is None):
        raise PaddockError(
            f"protocol.split=temporal cuts at protocol.ratios={_told(protocol.ratios)} or at "
            f"protocol.cut_times={_told(protocol.cut_times)}: set one of them, the other to null"
        )
    if protocol.ratios is not None:
        _check_ratios(list(protocol.ratios))
    if protocol.cut_times is not None:
        _check_cut_times(list(protocol.cut_times))


def check_clock(protocol: ProtocolConfig, dataset: DatasetConfig) -> None:
    """Refuse a split by time of a data set without times."""
    if protocol.split == "temporal" and not dataset.columns.time:
        raise PaddockError(NO_CLOCK)


def _check_ratios(ratios: list[float]) -> None:
    path = f"protocol.ratios={_told(ratios)}"
    if len(ratios) != 3:
        raise PaddockError(f"{path} must be three shares, of train, valid and test")
    for name, ratio in zip(("train", "valid", "test"), ratios, strict=True):
        if not 0 < ratio < 1:
            raise PaddockError(f"{path}: the share of {name} must be above 0 and below 1")
    if abs(sum(ratios) - 1) > _SUM_TOLERANCE:
        raise PaddockError(f"{path} must sum to 1, not to {sum(ratios):.6g}")


def _check_cut_times(times: list[float]) -> None:
    path = f"protocol.cut_times={_told(times)}"
    if len(times) != 2 or not all(math.isfinite(time) for time in times):
        raise PaddockError(f"{path} must be two times: where validation begins, where test begins")
    if not times[0] < times[1]:
        raise PaddockError(f"{path}: test must begin after validation")


def _told(value: Any) -> str:
    """The value as a command spells it."""
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return str(value)
    return f"[{','.join(str(each) for each in value)}]"
