"""Making a model of one stage, with the frozen networks that it is made from."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from recbole.model.abstract_recommender import AbstractRecommender

from experiments.bridge.config import recbole_config
from experiments.bridge.dataset import TrainingRows, recbole_dataset
from experiments.bridge.inputs import reads_histories
from experiments.bridge.user_features import user_features
from experiments.components.registry import strategy_config
from experiments.config import models
from experiments.config.resolve import BACKBONE, ENGINE_KEYS, MEMBERS, last_values
from experiments.errors import PaddockError
from experiments.training.context import TrainingContext
from experiments.training.memory import check_memory
from experiments.training.reuse import load_product, scores_of
from experiments.training.state import seed_everything
from paddock import ITEM_TEXTS, USER_FEATURES

TEXT_ENCODER = "text_encoder"
"""Key of a model that reads embeddings of the items' texts."""

USER_COLUMNS = "user_columns"
"""Key of a model that reads the users' own columns: the names of those, or null for all."""

PARTS = "parts"
"""Key of a config under which a model finds its frozen networks."""

SELECTING = "selecting"
"""Key of a config under which the strategy of a fusion finds the candidates that select, or None."""


class Built(NamedTuple):
    """A model of one stage, with the RecBole dataset and config that it was made with."""

    model: AbstractRecommender
    dataset: TrainingRows
    config: Any


def build(values: dict[str, Any], context: TrainingContext, *, parts: Any = None) -> Built:
    """A fresh model of one stage.

    Parameters
    ----------
    context : TrainingContext
        The data, the seed and the device.
    values : dict of str to object
        Resolved values of the stage.
    parts : object, optional
        Frozen networks of a model with a `backbone`. By default they are made with an untrained
        backbone, whose weights come with the model's own when those are loaded.

    Raises
    ------
    PaddockError
        If the model needs more memory than is free, solves an equation without a solution, or reads
        texts or columns of the users that the data set does not have.
    """
    from recbole.utils import get_model

    declared = models.model(values["name"]).config
    if declared is not None:
        users, items = context.data.n_users, context.data.n_items
        memory = declared.bytes_needed(values, n_users=users + 1, n_items=items + 1)
        check_memory(memory, what=f"{values['name']} on {items:,} items")
    if parts is None and BACKBONE in values:
        parts = frozen_parts(values, context)
    if parts is None and MEMBERS in values:
        parts = _members(values, context)
    seed_everything(context.seed)
    config = recbole_config(
        values["name"],
        {key: value for key, value in values.items() if key not in ENGINE_KEYS},
        seed=context.seed,
        device=context.device,
        folder=str(context.folder),
    )
    if parts is not None:
        config[PARTS] = parts
        config[SELECTING] = context.selecting
    elif values.get(TEXT_ENCODER) is not None:
        config[ITEM_TEXTS] = _item_texts(values[TEXT_ENCODER], context)
    if USER_COLUMNS in values:
        needed = declared is not None and declared.needs_user_columns
        config[USER_FEATURES] = user_features(
            context.data, values[USER_COLUMNS], needed_by=values["name"] if needed else None
        )
    dataset = recbole_dataset(
        config,
        data=context.data,
        split=context.split,
        prefixes=strategy_config(values["strategy"]).prefixes,
        ratings=strategy_config(values["strategy"]).reads_ratings,
    )
    try:
        model = get_model(values["name"])(config, dataset).to(context.device)
    except np.linalg.LinAlgError as error:
        raise PaddockError(
            f"{values['name']} has no solution: {error}; raise model.reg_weight"
        ) from error
    return Built(model, dataset, config)


def _item_texts(keys: dict[str, Any], context: TrainingContext) -> Any:
    from experiments.config.language_keys import TextEncoderConfig
    from experiments.language.embeddings import item_embeddings
    from experiments.language.encoder import texts_or_titles

    if not any(text.strip() for text in texts_or_titles(context.data)):
        raise PaddockError(
            f"{context.data.name} has no text of any item, which the model reads: name the column, "
            "as in dataset.text.title=title"
        )
    return item_embeddings(TextEncoderConfig.of(keys), context.data, device=context.device)


def frozen_parts(values: dict[str, Any], context: TrainingContext) -> Any:
    """The frozen networks that a model with a backbone is made from.

    Parameters
    ----------
    values : dict of str to object
        Resolved values of the stage.
    context : TrainingContext
        The data, the split and the device.
    """
    from experiments.language.parts import parts_of, reader_parts_of, tuned_parts_of

    # The backbone's initial weights are always replaced, so that their seed does not matter.
    backbone = build(values[BACKBONE], replace(context, seed=0)).model
    shared: dict[str, Any] = {
        "data": context.data,
        "backbone": backbone,
        "load_backbone": partial(load_product, backbone, context.data),
        "device": context.device,
    }
    if TEXT_ENCODER in values:
        return parts_of(values, split=context.split, **shared)
    reads = "distillation" in models.model(values["name"]).offers
    return (reader_parts_of if reads else tuned_parts_of)(values, **shared)


def _members(values: dict[str, Any], context: TrainingContext) -> Any:
    """The recommenders that a fusion is made of, untrained, each under its name."""
    from models.fusion import Member

    made = {}
    for name, own in values[MEMBERS].items():
        # As of a backbone: the initial weights are always replaced.
        built = build(last_values(own), replace(context, seed=0))
        made[name] = Member(
            model=built.model,
            dataset=built.dataset,
            load=partial(load_product, built.model, context.data),
            reads_histories=reads_histories(built.model),
            kept=partial(scores_of, context.data),
        )
    return made
