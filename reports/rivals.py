"""What the best row of a table stands against: the best other model that makes a fair opponent.

No opponent is a model that learns nothing of the users ("toys"), for beating it says little, a
model that works on the winner's own list, which is the winner once more, and a model whose texts a
control stands in for.
"""

from collections.abc import Mapping

from experiments.runs.configuration import Configuration
from reports.read import Run

_TOYS = ("pop", "random", "constant")
"""RecBole classes, in lower case, that give every user the same list or any list."""


def is_toy(configuration: Configuration[Run]) -> bool:
    """Whether the model gives every user the same list, or any list."""
    return _class_of(configuration) in _TOYS


def builds_on(configuration: Configuration[Run], other: Configuration[Run]) -> bool:
    """Whether a model is built on another one's model: A-LLMRec re-ranks the list of its backbone.

    Parameters
    ----------
    configuration : Configuration
        The one that may have a backbone.
    other : Configuration
        The one that may be the backbone.
    """
    backbone = configuration.runs[0].params.get("model.backbone.name", "")
    return bool(backbone) and backbone.lower() == _class_of(other)


def rivals_of(
    label: str, by_label: Mapping[str, Configuration[Run]], means: Mapping[str, float]
) -> list[str]:
    """The labels that the best row is compared with, the best first.

    Parameters
    ----------
    label : str
        The best row.
    by_label : mapping
        Every row by its label.
    means : mapping
        Label -> mean of the metric.

    Returns
    -------
    list of str
        All others where no fair opponent is among them; the headline then says what they are.
    """
    ordered = sorted((other for other in means if other != label), key=lambda x: (-means[x], x))
    fair = [
        other
        for other in ordered
        if not is_toy(by_label[other])
        and not by_label[other].control
        and not builds_on(by_label[other], by_label[label])
    ]
    return fair or ordered


def _class_of(configuration: Configuration[Run]) -> str:
    """The RecBole class of the model, in lower case."""
    run = configuration.runs[0]
    return (run.tags.get("paddock.model") or run.model).lower()
