"""The models that RecBole ships, and the keys that each reads, without importing RecBole.

`recbole_models.json` is written by `experiments.config.make_recbole_models`.
"""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

TABLE = Path(__file__).with_name("recbole_models.json")

TYPES: Mapping[str | None, type | None] = {
    None: None,
    **{kind.__name__: kind for kind in (bool, int, float, str, list, dict)},
}

REFUSED_FAMILIES = {
    "knowledge_aware_recommender": "it reads a knowledge graph, which no data set here provides",
    "exlib_recommender": "it is a decision tree over labelled pairs, which RecBole trains elsewhere",
}
"""Folder of RecBole's models -> why none of them can be trained."""

REFUSED = {
    "S3Rec": "it starts from weights of a pre-training that only RecBole's own trainer runs",
    "DIEN": "it reads sampled negative histories, which RecBole's own data set class draws",
    "GRU4RecKG": "it reads embeddings of a knowledge graph, which no data set here provides",
    "KSR": "it reads embeddings of a knowledge graph, which no data set here provides",
}
"""Class name -> why that model cannot be trained."""

NEEDED_PACKAGES = {"NCL": "faiss"}
"""Class name -> the package that RecBole imports in the middle of training and does not require."""


@dataclass(frozen=True, kw_only=True)
class RecBoleKey:
    """A key that a model, or a training loop, reads of RecBole's Config.

    Attributes
    ----------
    type
        Of its values; None where RecBole says nothing of it.
    default
        RecBole's value, which is not to be changed in place; None where it has none.
    has_default
        Whether RecBole's properties name the key: a default may be null.
    """

    name: str
    type: type | None
    default: Any
    has_default: bool


@dataclass(frozen=True, kw_only=True)
class RecBoleModel:
    """A model of RecBole's.

    Attributes
    ----------
    name
        Class name.
    family
        The folder of its file, such as general_recommender.
    type
        Its ModelType: GENERAL, SEQUENTIAL, CONTEXT, KNOWLEDGE, TRADITIONAL or DECISIONTREE.
    input
        Its InputType: what a row of its batches is with the default loss. POINTWISE, PAIRWISE,
        LISTWISE or USERWISE.
    autoencoder
        Whether it learns from the items of a user (RecBole's AutoEncoderMixin).
    own_epoch
        Whether RecBole has a trainer for it that passes over the data in its own way.
    transform
        What RecBole does to its batches before it sees them, or None.
    keys
        The keys that its class, its own trainer and its transform read, by name; without those that
        the engine sets.
    """

    name: str
    family: str
    type: str
    input: str
    autoencoder: bool
    own_epoch: bool
    transform: str | None
    keys: Mapping[str, RecBoleKey]

    @property
    def sequential(self) -> bool:
        """Whether it reads the order of a history."""
        return "MAX_ITEM_LIST_LENGTH" in self.keys

    @property
    def closed_form(self) -> bool:
        """Whether it is trained by one pass over the data, which counts or solves."""
        return self.type == "TRADITIONAL"

    @property
    def pairwise(self) -> bool:
        """Whether it learns from (user, item, negative), and not from rows or sequences.

        RecBole calls its autoencoders pairwise too, and feeds them users alone.
        """
        return self.input == "PAIRWISE" and not self.autoencoder and not self.sequential


@cache
def recbole_models() -> Mapping[str, RecBoleModel]:
    """Every model that RecBole ships, by class name."""
    models = {
        name: RecBoleModel(name=name, **{**entry, "keys": _keys(entry["keys"])})
        for name, entry in _table()["models"].items()
    }
    return MappingProxyType(models)


@cache
def training_defaults() -> Mapping[str, RecBoleKey]:
    """The keys that RecBole's training loop reads for every model, by name."""
    return _keys(_table()["training"])


@cache
def refusal(name: str) -> str | None:
    """Why no strategy here can train a model of RecBole's; None where one can.

    Parameters
    ----------
    name : str
        Class name.
    """
    if name in REFUSED:
        return REFUSED[name]
    package = NEEDED_PACKAGES.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        return f"it needs the package {package}, which is not installed"
    model = recbole_models().get(name)
    return None if model is None else REFUSED_FAMILIES.get(model.family)


def _keys(entries: Mapping[str, Mapping[str, Any]]) -> Mapping[str, RecBoleKey]:
    return MappingProxyType(
        {
            name: RecBoleKey(name=name, **{**entry, "type": TYPES[entry["type"]]})
            for name, entry in entries.items()
        }
    )


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table
