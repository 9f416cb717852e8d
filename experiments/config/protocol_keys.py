"""The keys of a protocol: which its split reads, and what cannot work."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from experiments.components.registry import functions
from experiments.config.metric_names import names_of
from experiments.config.schema import DatasetConfig, ProtocolConfig, Refit
from experiments.config.values import at_least, checked, nearest, spelled_value
from experiments.errors import PaddockError
from paddock import ListMeasure, Metric, Split

NO_TIMES = (
    "protocol.split={name} needs the time of every interaction, and the data set has none "
    "(dataset.columns.time is null): name its column, or choose protocol=loo or protocol=random"
)

_OWN_FIELDS = frozenset(field.name for field in fields(ProtocolConfig))


def splits() -> Mapping[str, Split]:
    """The declarations of all splits."""
    return {name: component.declaration for name, component in functions(Split).items()}


def check_protocol(protocol: ProtocolConfig) -> None:
    """Refuse a protocol that ranks nothing or selects by a metric that it does not compute.

    Parameters
    ----------
    protocol : ProtocolConfig
        A composed protocol.

    Raises
    ------
    PaddockError
        Naming the key's full path and what to do.
    """
    if not re.fullmatch(r"\w[\w.-]*", protocol.name):
        raise PaddockError(
            f"protocol.name={protocol.name} names a folder: use letters, digits, '_', '-' and '.'"
        )
    check_split(protocol)
    if protocol.scored_users is not None:
        at_least("protocol.scored_users", protocol.scored_users, 1)
    if not protocol.metrics:
        raise PaddockError("protocol.metrics is empty: name at least one metric")
    _check_known("protocol.metrics", protocol.metrics, functions(Metric))
    _check_once("protocol.metrics", protocol.metrics)
    _check_once("protocol.beyond", protocol.beyond)
    _check_known("protocol.beyond", protocol.beyond, functions(ListMeasure))
    for side, share in vars(protocol.slices).items():
        if share is not None and not 0 < share <= 0.5:
            raise PaddockError(f"protocol.slices.{side}={share} must be above 0 and at most 0.5")
    _check_rankings(protocol)
    computed = protocol_metrics(protocol)
    if protocol.valid_metric not in computed:
        raise PaddockError(
            f"protocol.valid_metric={protocol.valid_metric} is not computed: "
            f"{nearest(protocol.valid_metric, computed)}"
        )


def _check_rankings(protocol: ProtocolConfig) -> None:
    """Refuse impossible names, numbers of candidates and cut-offs."""
    if not protocol.rankings:
        raise PaddockError("protocol.rankings is empty: name at least one ranking")
    for name, ranking in protocol.rankings.items():
        path = f"protocol.rankings.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9]*", name):
            raise PaddockError(f"{path}: a ranking's name is made of a-z and 0-9")
        if ranking.candidates is not None:
            at_least(f"{path}.candidates", ranking.candidates, 2)
        if not ranking.cutoffs:
            raise PaddockError(f"{path}.cutoffs is empty: name at least one cut-off")
        _check_once(f"{path}.cutoffs", ranking.cutoffs)
        for cutoff in ranking.cutoffs:
            at_least(f"{path}.cutoffs", cutoff, 1)
            if ranking.candidates is not None and cutoff > ranking.candidates:
                raise PaddockError(
                    f"{path}.cutoffs holds {cutoff}, but there are {ranking.candidates} candidates: "
                    f"choose cut-offs of at most {ranking.candidates}"
                )


def _check_once(path: str, values: Sequence[Any]) -> None:
    for value, times in Counter(values).items():
        if times > 1:
            raise PaddockError(f"{path} holds {value} {times} times: name it once")


def _check_known(path: str, names: list[str], known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise PaddockError(f"{path} holds {name}, which is unknown: {nearest(name, known)}")


def protocol_metrics(protocol: ProtocolConfig) -> list[str]:
    """All metrics of the protocol's rankings, as ranking/metric_at_k.

    Parameters
    ----------
    protocol : ProtocolConfig
        A checked protocol.
    """
    cutoffs = {name: ranking.cutoffs for name, ranking in protocol.rankings.items()}
    return names_of(cutoffs, protocol.metrics)


def check_split(protocol: ProtocolConfig) -> None:
    """Refuse an unknown split, a key that it does not read, one that it misses, impossible values.

    Parameters
    ----------
    protocol : ProtocolConfig
        A composed protocol.

    Raises
    ------
    PaddockError
        Naming the key's full path.
    """
    known = splits()
    if protocol.split not in known:
        raise PaddockError(
            f"protocol.split={protocol.split} is unknown: {nearest(protocol.split, known)}"
        )
    split = known[protocol.split]
    values = {key.name: split_key(protocol, key.name) for key in split.keys}
    _refuse_unread(protocol, split)
    if split.one_of:
        _check_one_of(split, values)
    for key in split.keys:
        if values[key.name] is not None:
            checked(key_path(key.name), values[key.name], key)
        elif key.required:
            raise PaddockError(
                f"{key_path(key.name)} is missing: protocol.split={split.name} needs it"
            )
    if split.holds_users_out and protocol.refit is Refit.valid:
        raise PaddockError(
            f"protocol.refit=valid trains on the valid part, and protocol.split={split.name} holds its "
            f"users out of training: set protocol.refit=none"
        )
    if split.check is not None:
        try:
            split.check(values)
        except PaddockError:
            raise
        except ValueError as error:
            raise PaddockError(f"protocol.{error}") from error


def check_times(protocol: ProtocolConfig, dataset: DatasetConfig) -> None:
    """Refuse a split by time for a data set without times.

    Parameters
    ----------
    protocol : ProtocolConfig
        A composed protocol.
    dataset : DatasetConfig
        A composed data set.

    Raises
    ------
    PaddockError
        If the split needs times and the data set has none.
    """
    if splits()[protocol.split].needs_times and not dataset.columns.time:
        raise PaddockError(NO_TIMES.format(name=protocol.split))


def split_key(protocol: ProtocolConfig, name: str) -> Any:
    """The value of a split's key: a field of the protocol, or an entry of `protocol.settings`.

    Parameters
    ----------
    protocol : ProtocolConfig
        A composed protocol.
    name : str
        Name of the key.
    """
    return getattr(protocol, name) if name in _OWN_FIELDS else protocol.settings.get(name)


def key_path(name: str) -> str:
    """The full path of a split's key.

    Parameters
    ----------
    name : str
        Name of the key.
    """
    return f"protocol.{name}" if name in _OWN_FIELDS else f"protocol.settings.{name}"


def _refuse_unread(protocol: ProtocolConfig, split: Split) -> None:
    """Refuse values that another split would read, and settings that none does."""
    reads = {key.name for key in split.keys}
    readers: dict[str, list[str]] = {}
    for other in splits().values():
        for key in other.keys:
            readers.setdefault(key.name, []).append(other.name)
    given = {name: getattr(protocol, name) for name in readers if name in _OWN_FIELDS}
    for name, value in {**given, **protocol.settings}.items():
        if value is None or name in reads:
            continue
        path = key_path(name)
        if name not in readers:
            known = [key for key in reads if key not in _OWN_FIELDS]
            hint = nearest(name, known, prefix="protocol.settings.") if known else "it has none"
            raise PaddockError(f"{path}: split {split.name} reads no such key; {hint}")
        raise PaddockError(
            f"{path}={spelled_value(value)} is read by split {' and '.join(readers[name])}, not by "
            f"{split.name}: set {path}=null or choose another protocol"
        )


def _check_one_of(split: Split, values: Mapping[str, Any]) -> None:
    given = [name for name in split.one_of if values[name] is not None]
    if len(given) != 1:
        shown = [f"{key_path(name)}={spelled_value(values[name])}" for name in split.one_of]
        raise PaddockError(
            f"protocol.split={split.name} reads {' or '.join(shown)}: set one of them, the other "
            "to null"
        )
