"""A model by its name: its keys, what it offers to strategies, and which strategies can train it.

Two sources: configuration classes (`paddock.ModelConfig`) of Paddock's models and of plug-ins, and the
table of RecBole's models (`experiments.config.recbole_models`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from experiments.components.plugins import Plugin, loaded_plugins
from experiments.components.registry import Component, models, strategies
from experiments.config.recbole_models import (
    RecBoleKey,
    RecBoleModel,
    recbole_models,
    refusal,
)
from experiments.config.values import nearest
from experiments.errors import PaddockError
from paddock import Key, ModelConfig, StrategyConfig
from paddock.keys import Range
from paddock.training_keys import ClosedFormConfig

PAIRS, ROWS = "pairs", "rows"
"""What RecBole's pairwise models and its autoencoders offer."""

OWN_EPOCH = "an epoch of its own"

STAGE_KEY = "train_stage"
"""The key by which a staged model of RecBole's reads its stage."""

NEGATIVES = "train_neg_sample_args"

TRANSFORM = "transform"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model by its name.

    Attributes
    ----------
    name : str
        The RecBole class.
    keys : mapping of str to Key
        What it reads from its configuration.
    offers : frozenset of str
        What strategies may ask of it.
    strategies : tuple of str
        The only ones that can train it; empty: all whose needs it offers.
    closed_form : bool
        Whether one pass over the data trains it (counting, or solving a linear system).
    own_epoch : bool
        Whether RecBole has an epoch of its own for it.
    transform : str or None
        What RecBole does to its batches.
    search : mapping
        Ranges of its strategy's keys.
    config : type of ModelConfig, or None
        Its declaration; RecBole's own models have none.
    component : Component or None
        Where it stands, if it is not RecBole's own.
    """

    name: str
    keys: Mapping[str, Key]
    offers: frozenset[str]
    strategies: tuple[str, ...] = ()
    closed_form: bool = False
    own_epoch: bool = False
    transform: str | None = None
    search: Mapping[str, Range] = field(default_factory=dict)
    config: type[ModelConfig] | None = None
    component: Component | None = None

    @property
    def sequential(self) -> bool:
        """Whether it reads the order of a history."""
        return "MAX_ITEM_LIST_LENGTH" in self.keys

    @property
    def staged(self) -> bool:
        """Whether it reads the stage that it is in."""
        return STAGE_KEY in self.keys

    def training_keys(self, strategy: str) -> dict[str, Key]:
        """The keys that a strategy reads when it trains the model.

        Parameters
        ----------
        strategy : str
            Name of the strategy.
        """
        if self.closed_form:
            return dict(ClosedFormConfig.keys)
        config = strategies()[strategy].declaration
        keys = dict(config.keys)
        if TRANSFORM in keys:
            keys[TRANSFORM] = replace(keys[TRANSFORM], default=self.transform)
        negatives, loss = keys.get(NEGATIVES), self.keys.get("loss_type")
        if negatives and self.sequential and (loss is None or loss.default == "CE"):
            # RecBole refuses negatives beside a sequential model's cross-entropy, which may be one
            # that the class does not ask for (RepeatNet).
            keys[NEGATIVES] = replace(negatives, unset=True)
        return keys

    def all_keys(self, strategy: str) -> dict[str, Key]:
        """The model's keys and its training keys, with the ranges that the model declares.

        Parameters
        ----------
        strategy : str
            Name of the strategy.
        """
        keys = {**self.training_keys(strategy), **self.keys}
        for name, found in self.training_keys(strategy).items():
            own = self.keys.get(name)
            if own is not None and own.doc == "":
                # RecBole's table knows the default, the strategy what it means.
                default = own.default if own.default is not None else found.default
                keys[name] = replace(found, default=default)
        for name, tried in self.search.items():
            if name in keys:
                keys[name] = replace(keys[name], search=tried)
        return keys

    def defaults(self, strategy: str) -> dict[str, Any]:
        """The default of every key that has one.

        Parameters
        ----------
        strategy : str
            Name of the strategy that trains the model.
        """
        return {
            name: found.default
            for name, found in self.all_keys(strategy).items()
            if not (found.required or found.unset or found.quiet)
        }


def model_names() -> list[str]:
    """All models that can be named."""
    return sorted({*recbole_models(), *models()})


def model(name: str) -> Model:
    """The model of a name.

    Parameters
    ----------
    name : str
        Class name.

    Raises
    ------
    PaddockError
        If there is none, or none that can be trained here.
    """
    if name not in recbole_models() and name not in models():
        raise PaddockError(f"model.name={name} is unknown: {nearest(name, model_names())}")
    if name not in models() and (reason := refusal(name)) is not None:
        raise PaddockError(f"model.name={name} cannot be trained here: {reason}")
    return _model(name, loaded_plugins())


@cache
def _model(name: str, plugins: tuple[Plugin, ...]) -> Model:
    component = models().get(name)
    if component is None:
        return _recbole_model(recbole_models()[name])
    config: type[ModelConfig] = component.declaration
    extended = config.extends or (name if name in recbole_models() else None)
    base = _extended(extended, name, plugins)
    keys = {**base.keys, **{each: _kept(own, base) for each, own in config.keys.items()}}
    return Model(
        name=name,
        keys=keys,
        offers=base.offers | set(config.offers),
        strategies=config.strategies or base.strategies,
        closed_form=base.closed_form if config.closed_form is None else config.closed_form,
        own_epoch=base.own_epoch,
        transform=base.transform,
        search={**base.search, **config.search},
        config=config,
        component=component,
    )


def _extended(extended: str | None, name: str, plugins: tuple[Plugin, ...]) -> Model:
    if extended is None:
        return Model(name=name, keys={}, offers=frozenset())
    if extended != name and extended in models():
        return _model(extended, plugins)
    if extended in recbole_models():
        return _recbole_model(recbole_models()[extended])
    raise PaddockError(
        f"{name}Config.extends={extended} is unknown: {nearest(extended, model_names())}"
    )


def _kept(own: Key, base: Model) -> Key:
    """A declared key; one of RecBole's that says nothing of its default keeps RecBole's."""
    earlier = base.keys.get(own.name)
    if own.required and earlier is not None:
        return replace(own, default=earlier.default, required=False, unset=earlier.unset)
    return own


def _recbole_model(found: RecBoleModel) -> Model:
    offers = set()
    if found.pairwise:
        offers.add(PAIRS)
    if found.autoencoder:
        offers.add(ROWS)
    keys = {name: _recbole_key(each) for name, each in found.keys.items()}
    if "MAX_ITEM_LIST_LENGTH" in keys:
        keys["MAX_ITEM_LIST_LENGTH"] = replace(
            keys["MAX_ITEM_LIST_LENGTH"], kind=int, default=50, unset=False
        )
    return Model(
        name=found.name,
        keys=keys,
        offers=frozenset(offers),
        closed_form=found.closed_form,
        own_epoch=found.own_epoch,
        transform=found.transform,
    )


def _recbole_key(found: RecBoleKey) -> Key:
    """A key of RecBole's table, with the bounds that its name means all over RecBole."""
    kind = found.type
    declared = Key(
        name=found.name,
        kind=kind,
        default=found.default,
        unset=not found.has_default,
        optional=found.default is None,
    )
    if found.name.endswith("dropout_prob"):
        return replace(declared, least=0, below=1)
    if found.name in ("mask_ratio", "ft_ratio"):
        return replace(declared, least=0, most=1)
    if found.name.endswith("_size") or found.name in (
        "n_layers",
        "n_heads",
        "MAX_ITEM_LIST_LENGTH",
    ):
        return replace(declared, least=1)
    if found.name == "loss_type" and kind is str:
        return replace(declared, choices=("BCE", "BPR", "CE"))
    return declared


def fits(found: Model, strategy: StrategyConfig | type[StrategyConfig]) -> str:
    """Why a strategy cannot train a model; "" where it can.

    Parameters
    ----------
    found : Model
        The model.
    strategy : StrategyConfig or type of StrategyConfig
        The strategy's declaration.
    """
    if strategy.needs is not None and strategy.needs not in found.offers:
        return f"needs {strategy.needed}; {found.name} {_lacks(strategy.needed)}"
    if strategy.needs == ROWS and found.own_epoch:
        return f"cannot train {found.name}, which has {OWN_EPOCH}"
    if found.strategies and strategy.name not in found.strategies:
        return f"does not train {found.name}"
    return ""


def _lacks(needed: str) -> str:
    return (
        "is none"
        if needed.startswith("an ")
        else "does not"
        if re.search(r"\b(learns|predicts)\b", needed)
        else "has none"
    )


def fitting(found: Model, known: Iterable[str] | None = None) -> list[str]:
    """The names of the strategies that can train a model.

    Parameters
    ----------
    found : Model
        The model.
    known : iterable of str, optional
        Names of the strategies to choose from; by default all.
    """
    names = strategies() if known is None else known
    return [name for name in sorted(names) if not fits(found, strategies()[name].declaration)]
