"""What a gain is due to: models against the same with a control in place of what should gain.

A model that reads item texts stands against itself with the texts dealt to other items, or with random
vectors; a fusion of models stands against a fusion of one model with itself, trained with another seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.runs.configuration import TEXT_CONTROLS, Configuration
from reports.read import Run
from reports.significance import Floats, interval, users_p

SEEDS = "two seeds of one model"
"""The control of a fusion."""

_NAMES = {"shuffled": "texts dealt to other items", "random": "random vectors for texts"}
_OFFSETS = "model.seed_offsets"
_MEMBERS = "model.members."


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A model against its control, by one metric.

    Attributes
    ----------
    label, control : str
        The rows.
    kind : str
        What stands in for what.
    mean, control_mean : float
        Over users and seeds.
    low, high : float
        The paired bootstrap interval of the difference.
    p_users : float
        Of Wilcoxon's signed-rank test over users, uncorrected.
    """

    label: str
    control: str
    kind: str
    metric: str
    mean: float
    control_mean: float
    low: float
    high: float
    p_users: float

    @property
    def difference(self) -> float:
        return self.mean - self.control_mean

    @property
    def share(self) -> float | None:
        """The difference as a share of the control's mean; None where that is 0."""
        return self.difference / self.control_mean if self.control_mean else None


def gains(
    configurations: Sequence[Configuration[Run]],
    users: Mapping[str, Mapping[str, Floats]],
    metrics: Sequence[str],
    *,
    alpha: float,
) -> list[Gain]:
    """Every model against each of its controls.

    Parameters
    ----------
    configurations : sequence of Configuration
        The rows of a report.
    users : row -> metric -> (S, U)
    metrics : sequence of str
        Without a phase, such as "full/ndcg_at_10".
    alpha : float
        1 minus the level of the intervals.
    """
    return [
        _gain(each.label, control.label, kind, metric, users, alpha=alpha)
        for each in configurations
        for control, kind in _controls_of(each, configurations)
        for metric in metrics
        if metric in users.get(each.label, {}) and metric in users.get(control.label, {})
    ]


def is_control(other: Configuration[Run], each: Configuration[Run]) -> bool:
    """Whether a configuration is another one with a control in place of its texts.

    Parameters
    ----------
    other : Configuration
        The one that may be the control.
    each : Configuration
        The one whose texts it may lack.
    """
    return bool(other.control) and not each.control and _keys(other) == _keys(each)


def _controls_of(
    each: Configuration[Run], others: Sequence[Configuration[Run]]
) -> list[tuple[Configuration[Run], str]]:
    if each.control or _is_of_seeds(each):
        return []
    found = [
        (other, _NAMES.get(other.control, other.control))
        for other in others
        if is_control(other, each)
    ]
    if any(name.startswith(_MEMBERS) for name in each.runs[0].params):
        found += [(other, SEEDS) for other in others if _is_of_seeds(other)]
    return found


def _keys(each: Configuration[Run]) -> dict[str, str]:
    """The model's parameters, but for the control."""
    return {
        name: value
        for name, value in each.runs[0].params.items()
        if name.startswith("model.") and not name.endswith(TEXT_CONTROLS)
    } | {"model": each.model}


def _is_of_seeds(each: Configuration[Run]) -> bool:
    return any(
        name.startswith(_OFFSETS) and value not in ("", "None", "null", "{}")
        for name, value in each.runs[0].params.items()
    )


def _gain(
    label: str,
    control: str,
    kind: str,
    metric: str,
    users: Mapping[str, Mapping[str, Floats]],
    *,
    alpha: float,
) -> Gain:
    own_U, control_U = (users[row][metric].mean(axis=0) for row in (label, control))
    low, high = interval(own_U - control_U, alpha=alpha)
    return Gain(
        label=label,
        control=control,
        kind=kind,
        metric=metric,
        mean=float(own_U.mean()),
        control_mean=float(control_U.mean()),
        low=low,
        high=high,
        p_users=users_p((own_U - control_U)[None])[0],
    )
