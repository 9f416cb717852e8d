"""What a model reads of a user when it scores.

A sequential model reads the history that it is given. A model that scores a row of the user's items
(a linear model, item neighbours, an autoencoder) keeps those rows, made of the training part, and
looks them up by the user's id; at test it would therefore read one interaction less than a sequential
model. Its rows are made of the given history here, its weights stay as they are. A model with a learned
vector a user, and one that reads no user at all, reads nothing of what it was not trained on.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import ModelType

from experiments.bridge.dataset import TrainingRows
from experiments.protocol.split import Sequences

Attributes = dict[str, Any]


def reads_histories(model: AbstractRecommender) -> bool:
    """Whether the scores of a user follow from the history that is given, without training again.

    Parameters
    ----------
    model : AbstractRecommender
        Any RecBole model. Its attribute `reads_histories` counts where it has one.
    """
    own = getattr(model, "reads_histories", None)
    if own is not None:
        return bool(own)
    return model.type == ModelType.SEQUENTIAL or _maker(model) is not None


def rows_of(
    model: AbstractRecommender, dataset: TrainingRows, history: Sequences
) -> Attributes | None:
    """The attributes of a model in which it keeps its users' items, made of a history.

    Parameters
    ----------
    model : AbstractRecommender
        Any RecBole model; it stays as it is.
    dataset : TrainingRows
        What the model was made with.
    history : Sequences
        The interactions of every user that it is to read.

    Returns
    -------
    dict of str to object, or None
        By the attribute's name. None for a model without such rows, and where its own rows are those of
        the history.
    """
    make = _maker(model)
    if make is None or dataset.holds(history):
        return None
    known = dataset.copy(
        Interaction(
            {
                dataset.uid_field: torch.from_numpy(history.row_of_item().astype(np.int64)),
                dataset.iid_field: torch.from_numpy(history.items.astype(np.int64)),
            }
        )
    )
    # RecBole draws a permutation where it lays rows out: training goes on with its own random bits.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(model, known)


def makes_own_rows(model: AbstractRecommender) -> bool:
    """Whether a model has a method that makes all that it keeps of its users from a history.

    Parameters
    ----------
    model : AbstractRecommender
        Any RecBole model.
    """
    return hasattr(model, "history_attributes")


@contextmanager
def attributes(model: AbstractRecommender, given: Mapping[str, Any] | None) -> Iterator[None]:
    """Give a model other attributes for a while.

    Parameters
    ----------
    model : AbstractRecommender
        It has all of these attributes.
    given : mapping of str to object or None
        By name; None changes nothing.
    """
    given = given or {}
    own = {name: getattr(model, name) for name in given}
    try:
        for name, value in given.items():
            setattr(model, name, value)
        yield
    finally:
        for name, value in own.items():
            setattr(model, name, value)


def _maker(model: AbstractRecommender) -> Callable[[Any, Dataset], Attributes] | None:
    """What makes the rows of a model: its own method, or what is known of its RecBole class."""
    if makes_own_rows(model):
        return _own
    names = [kind.__name__ for kind in type(model).__mro__]
    make = next((_MAKERS[name] for name in names if name in _MAKERS), None)
    if make is _asymmetric_neighbours and model.method == "user":
        return None  # it reads the rows of similar users, and similarity is learned
    if make is _dmf and model.inter_matrix_type != "01":
        return None  # it reads ratings, which a history has not
    return make


def _own(model: Any, known: Dataset) -> Attributes:
    made: Attributes = model.history_attributes(known)
    return made


def _autoencoder(model: Any, known: Dataset) -> Attributes:
    names = ("history_item_id", "history_item_value")
    own = {name: getattr(model, name) for name in names}
    try:
        model.build_histroy_items(known)  # RecBole's misspelling
        return {name: getattr(model, name) for name in names}
    finally:
        for name, value in own.items():
            setattr(model, name, value)


def _linear(model: Any, known: Dataset) -> Attributes:
    return {"interaction_matrix": _matrix(known)}


def _asymmetric_neighbours(model: Any, known: Dataset) -> Attributes:
    """As RecBole's AsymKNN makes them of the training rows (Aiolli, RecSys 2013, eq. 5)."""
    rows_UN = _matrix(known)
    row_norms_U1 = np.power(np.sqrt(rows_UN.power(2).sum(axis=1)), 2 * model.beta)
    item_norms_N1 = np.power(np.sqrt(model.w.power(2).sum(axis=1)), 2 * (1 - model.beta))
    norms_UN = row_norms_U1.dot(item_norms_N1.T) + 1e-6
    return {"pred_mat": sp.csr_matrix((rows_UN @ model.w) / norms_UN).power(model.q)}


def _histories(model: Any, known: Dataset) -> Attributes:
    matrix, lengths, mask = model.get_history_info(known)
    return {"history_item_matrix": matrix, "history_lens": lengths, "mask_mat": mask}


def _simplex(model: Any, known: Dataset) -> Attributes:
    items, _, lengths = known.history_item_matrix(max_history_len=known.config["history_len"])
    device = model.history_item_id.device
    return {"history_item_id": items.to(device), "history_item_len": lengths.to(device)}


def _dmf(model: Any, known: Dataset) -> Attributes:
    items, values, _ = known.history_item_matrix()
    device = model.history_item_id.device
    return {"history_item_id": items.to(device), "history_item_value": values.to(device)}


def _matrix(known: Dataset) -> sp.csr_matrix:
    return known.inter_matrix(form="csr").astype(np.float32)


_MAKERS: Mapping[str, Callable[[Any, Dataset], Attributes]] = {
    "AutoEncoderMixin": _autoencoder,
    "EASE": _linear,
    "SLIMElastic": _linear,
    "ADMMSLIM": _linear,
    "AsymKNN": _asymmetric_neighbours,
    "FISM": _histories,
    "NAIS": _histories,
    "SimpleX": _simplex,
    "DMF": _dmf,
}
"""RecBole's classes that keep rows of their users' items, by name: no other needs to be imported."""
