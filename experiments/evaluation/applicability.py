"""Which cases a model cannot score: items and users that training never showed.

A model that knows an item by its interactions alone has nothing to rank new items by, and one with a
learned vector a user has an untrained one for a new user. What such a model would say is a number, and no
measure of anything: it is not scored, and stands in every table as not applicable.
"""

from collections.abc import Iterator
from typing import Any

from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType

from experiments.bridge.dataset import TrainingRows
from experiments.bridge.inputs import makes_own_rows, reads_histories
from experiments.config.resolve import ResolvedModel
from experiments.config.schema import Inputs
from experiments.protocol.split import Phase, Split
from experiments.runs.configuration import NOT_APPLICABLE
from paddock import USER_FEATURES

ITEM_FEATURES = ("text_encoder", "selected_features", "numerical_features")
"""Keys of models that read more of an item than its interactions."""

OF_NO_USER = frozenset({"Pop", "Random"})
"""RecBole's classes whose lists are of nobody in particular; a class of a plug-in sets `reads_no_user = True`."""

NEW_ITEMS = f"{NOT_APPLICABLE}: it knows items by their interactions alone, and every target is new"
NEW_USERS = (
    f"{NOT_APPLICABLE}: it knows users by their training interactions, and every user is new"
)
NO_HISTORY = f"{NOT_APPLICABLE}: it knows users by their histories, and every user is without one"


def not_applicable(
    model: AbstractRecommender,
    dataset: TrainingRows,
    phase: Phase,
    *,
    split: Split,
    inputs: Inputs,
    resolved: ResolvedModel | None = None,
) -> str | None:
    """Why a model cannot score a phase; None where it can.

    Parameters
    ----------
    model
        A model, trained or not.
    dataset : TrainingRows
        What it was made with.
    phase : "valid" or "test"
    split : Split
    inputs : Inputs
        What models that score rows of items read of a user.
    resolved : ResolvedModel, optional
        Its configuration, which names the item texts or features that it reads; without it nothing is said
        of new items.

    Returns
    -------
    str or None
        A sentence that begins with `NOT_APPLICABLE`. It is None as well where some users, and some
        targets, were trained on: the others are a slice of the result.
    """
    unseen = split.unseen(phase)
    if (
        resolved is not None
        and unseen.targets == unseen.of_targets
        and not _reads_items(model, resolved)
    ):
        return NEW_ITEMS
    if unseen.users < unseen.of_users:
        return None
    given = bool(split.history(phase).lengths[split.users(phase)].any())
    return next(
        filter(None, (_of_new_users(*each, given, inputs) for each in _parts(model, dataset))), None
    )


def asks_for_new_users(split: Split, phase: Phase) -> bool:
    """Whether training shows none of a phase's users.

    Parameters
    ----------
    split : Split
    phase : "valid" or "test"
    """
    unseen = split.unseen(phase)
    return unseen.users == unseen.of_users


def _reads_items(model: AbstractRecommender, resolved: ResolvedModel) -> bool:
    parts = (resolved, *resolved.frozen.values())
    reads = any(each.values.get(name) for each in parts for name in ITEM_FEATURES)
    return reads or model.type in (ModelType.CONTEXT, ModelType.KNOWLEDGE)


def _parts(model: Any, dataset: TrainingRows) -> Iterator[tuple[Any, TrainingRows]]:
    """The recommenders whose scores a model adds; another model itself."""
    members = getattr(model, "members", None)
    if not members:
        yield model, dataset
    for member in (members or {}).values():
        yield from _parts(member.model, member.dataset)


def _of_new_users(
    model: AbstractRecommender, dataset: TrainingRows, given: bool, inputs: Inputs
) -> str | None:
    names = {kind.__name__ for kind in type(model).__mro__}
    if names & OF_NO_USER or getattr(model, "reads_no_user", False):
        return None
    if _has_user_vectors(model, dataset):
        return NEW_USERS
    # What a column says of a user holds before his first interaction.
    if dataset.config[USER_FEATURES]:
        return None
    of_rows = model.type != ModelType.SEQUENTIAL
    if not reads_histories(model) or (of_rows and inputs is Inputs.recbole):
        return NEW_USERS
    return None if given else NO_HISTORY


def _has_user_vectors(model: AbstractRecommender, dataset: TrainingRows) -> bool:
    """Whether a learned table has a row a user, which no history replaces."""
    if makes_own_rows(model):
        return False
    return any(
        weights.ndim > 1
        and weights.shape[0] == dataset.user_num
        # Where there are as many items, or positions, as users.
        and not any(other in name for other in ("item", "position"))
        for name, weights in model.named_parameters()
    )
