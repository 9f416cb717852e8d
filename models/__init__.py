"""Recommenders written here, as RecBole models.

Importing this package makes RecBole run on the installed numpy, scipy and torch (`models._compat`)
and registers every model of this folder under its class name, so that RecBole's own
`get_model(name)` and `Config(model=name)` find it. A file here holds one model, and so does a folder
with a `model.py`; its name is the class name in lower case, the names of RecBole's own files.
"""

import importlib
import pkgutil
import sys

from models import _compat

_compat.apply()

from recbole.model.abstract_recommender import AbstractRecommender  # noqa: E402
from recbole.utils import ModelType  # noqa: E402

FAMILIES = {
    ModelType.GENERAL: "general_recommender",
    ModelType.TRADITIONAL: "general_recommender",
    ModelType.SEQUENTIAL: "sequential_recommender",
    ModelType.CONTEXT: "context_aware_recommender",
    ModelType.KNOWLEDGE: "knowledge_aware_recommender",
}

REGISTERED: dict[str, type[AbstractRecommender]] = {}
"""Class name -> class, of every model in this folder."""


def register(model: type[AbstractRecommender]) -> None:
    """Let RecBole's `get_model` find `model` under its class name.

    RecBole looks a model up by importing recbole.model.<family>.<name in lower case>. The model's
    own module is entered under that name. RecBole's class of the same name, if any, stays reachable
    from its package (`recbole.model.sequential_recommender.SASRec`) and as our class's base.

    Parameters
    ----------
    model : type of AbstractRecommender
        The model class.

    Raises
    ------
    ValueError
        If the module holding `model` is not named after it, since RecBole could not find it then.
    """
    module = model.__module__
    found = module.removesuffix(".model")
    if found.rpartition(".")[2] != model.__name__.lower():
        raise ValueError(
            f"the model {model.__name__} must live in models/{model.__name__.lower()}.py, or in "
            f"model.py of a folder of that name, not in {module}"
        )
    alias = f"recbole.model.{FAMILIES[model.type]}.{model.__name__.lower()}"
    sys.modules[alias] = sys.modules[found]
    REGISTERED[model.__name__] = model


def _register_folder() -> None:
    for found in pkgutil.iter_modules(__path__):
        if found.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{found.name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, AbstractRecommender)
                and value.__module__ in (module.__name__, f"{module.__name__}.model")
            ):
                register(value)


_register_folder()
