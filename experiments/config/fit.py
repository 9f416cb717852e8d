"""Whether a training strategy can train a model, by what the model's source says."""

from collections.abc import Mapping
from typing import Any

from experiments.config.model_source import (
    has_own_epoch,
    is_autoencoder,
    is_pairwise,
    offers,
    predicts_ratings,
)
from experiments.errors import PaddockError


def check_fit(*, name: str, strategy: str, path: str) -> None:
    """Refuse a strategy that cannot train the model.

    Raises
    ------
    PaddockError
        Naming what the strategy needs.
    """
    needs = {
        "masked": (
            lambda: offers(name, "logit_factors"),
            f"a model that predicts masked items, as BERT4Rec does; {name} does not",
        ),
        "pairs": (
            lambda: is_pairwise(name),
            f"a model that learns from (user, item, negative); {name} does not",
        ),
        "ratings": (
            lambda: predicts_ratings(name),
            f"a model that predicts ratings; {name} does not",
        ),
        "rows": (
            lambda: is_autoencoder(name),
            f"an autoencoder of the users' items; {name} is none",
        ),
        "windows": (
            lambda: offers(name, "states"),
            f"a causal model with a state for every position; {name} has none",
        ),
    }
    if strategy in needs:
        fits, told = needs[strategy]
        if not fits():
            raise PaddockError(
                f"{path}.strategy={strategy} needs {told}: use model.strategy=recbole"
            )
    if predicts_ratings(name) and strategy != "ratings":
        raise PaddockError(
            f"{path}.strategy={strategy} gives {name} no ratings to learn from: "
            "use model.strategy=ratings"
        )
    if strategy == "rows" and has_own_epoch(name):
        raise PaddockError(
            f"{path}.strategy=rows cannot train {name}, which has an epoch of its own: "
            "use model.strategy=recbole"
        )


def check_loss_type(values: Mapping[str, Any], *, strategy: str, path: str) -> None:
    """Refuse a loss that the strategy does not compute."""
    if strategy in ("masked", "windows") and values.get("loss_type", "CE") != "CE":
        raise PaddockError(
            f"{path}.loss_type={values['loss_type']}: strategy {strategy} trains by "
            "cross-entropy; use loss_type=CE or strategy=recbole"
        )
