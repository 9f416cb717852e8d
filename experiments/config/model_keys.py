"""Which keys a model reads, found in its source without importing it.

RecBole takes any key and reads those it knows; a misspelt one changes nothing and says nothing.
Here a key counts as known if the model's class, a class it inherits from, or a RecBole layer it uses
reads config["key"].
"""

import ast
import importlib.util
from functools import cache
from pathlib import Path

import yaml

from experiments.config.llm_keys import OWN_DEFAULTS, OWN_STRATEGIES
from experiments.config.model_source import (
    classes,
    imports,
    is_closed_form,
    model_files,
    recbole_folder,
    trainers,
)

PADDOCK_KEYS = ("name", "strategy", "stages", "keep")
"""Keys of a model's YAML that RecBole never sees."""

LOOP_KEYS = ("epochs", "stopping_step", "eval_step")
OPTIMIZER_KEYS = ("learner", "learning_rate", "weight_decay", "clip_grad_norm")
STEP_KEYS = (*OPTIMIZER_KEYS, "learning_rate_schedule")

STRATEGY_KEYS: dict[str, tuple[str, ...]] = {
    **OWN_STRATEGIES,
    "recbole": (
        *LOOP_KEYS,
        *OPTIMIZER_KEYS,
        "train_batch_size",
        "train_neg_sample_args",
        "shuffle",
        "transform",
    ),
    "masked": (*LOOP_KEYS, *STEP_KEYS, "train_batch_size", "MAX_ITEM_LIST_LENGTH", "ft_ratio"),
    "pairs": (*LOOP_KEYS, *STEP_KEYS, "train_batch_size", "train_neg_sample_args"),
    "ratings": (*LOOP_KEYS, *STEP_KEYS, "train_batch_size"),
    "rows": (*LOOP_KEYS, *STEP_KEYS, "train_batch_size"),
    "windows": (
        *LOOP_KEYS,
        *STEP_KEYS,
        "train_batch_size",
        "MAX_ITEM_LIST_LENGTH",
        "loss",
        "negatives",
        "calibration",
    ),
}
"""Strategy -> the training keys that it reads, under RecBole's names."""

MIXED_PRECISION = ("masked", "rows", "windows")
"""Strategies whose work is products of matrices, which may be of bfloat16.

Embeddings and graphs (pairs) are bound by memory and lose what small steps add up to; a language model
(llm) has a dtype of its own, and the alignment is small.
"""

_STEPS: dict[str, object] = {"learning_rate_schedule": "constant"}

STRATEGY_DEFAULTS: dict[str, dict[str, object]] = {
    **dict.fromkeys(("masked", "pairs", "ratings", "rows"), _STEPS),
    "windows": {**_STEPS, "loss": "softmax", "negatives": 256, "calibration": 0.75},
}
"""Strategy -> values of the keys that are not RecBole's."""

CLOSED_FORM_KEYS = ("train_batch_size",)
"""What is read when a model that counts or solves (Pop, ItemKNN, EASE) passes over the data once."""

NOT_A_CHOICE = frozenset(
    (
        "device",
        "seed",
        "checkpoint_dir",
        "USER_ID_FIELD",
        "ITEM_ID_FIELD",
        "NEG_PREFIX",
        "LIST_SUFFIX",
        "ITEM_LIST_LENGTH_FIELD",
        "LABEL_FIELD",
        "RATING_FIELD",
        "TIME_FIELD",
        "ENTITY_ID_FIELD",
        "RELATION_ID_FIELD",
        "HEAD_ENTITY_ID_FIELD",
        "TAIL_ENTITY_ID_FIELD",
        "pre_model_path",
        "pretrain_epochs",
        "save_step",
        "eval_args",
        "metrics",
        "topk",
        "valid_metric",
        "eval_batch_size",
        "single_spec",
    )
)
"""Keys that RecBole's models read and that the engine sets, or whose work the engine does."""

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


@cache
def keys_read(model: str) -> frozenset[str]:
    """The keys that the model of this class name reads from its configuration."""
    keys = _keys_in(model_files()[model], model, set())
    if (trainer := trainers().get(f"{model}Trainer")) is not None:
        # RecVAE's and NCL's epochs are their trainers' (utils.py:118); ours runs those.
        keys |= {key for node in ast.walk(trainer) if (key := _key(node)) is not None}
    return frozenset(keys) - NOT_A_CHOICE


def training_keys(model: str, strategy: str) -> tuple[str, ...]:
    """The training keys that a strategy reads for a model."""
    if is_closed_form(model):
        return CLOSED_FORM_KEYS
    keys = STRATEGY_KEYS[strategy]
    if strategy == "recbole" and _recbole_values(model).get("transform") == "mask_itemseq":
        # Read by what masks RecBole's batches (transform.py:57), not by the model.
        keys = (*keys, "ft_ratio")
    return keys


@cache
def defaults(model: str, strategy: str) -> dict[str, object]:
    """RecBole's values for the training keys and for the model's own keys."""
    found = _recbole_values("") | _recbole_values(model)
    if is_sequential(model):
        found["MAX_ITEM_LIST_LENGTH"] = 50
        if found.get("loss_type") == "CE":
            del found["train_neg_sample_args"]
    found |= STRATEGY_DEFAULTS.get(strategy, {}) | OWN_DEFAULTS.get(model, {})
    known = keys_read(model) | set(training_keys(model, strategy))
    return {key: value for key, value in found.items() if key in known}


@cache
def _recbole_values(model: str) -> dict[str, object]:
    """What RecBole's file of the model says, or its file for all models; nothing without a file."""
    properties = recbole_folder() / "properties"
    path = properties / "model" / f"{model}.yaml" if model else properties / "overall.yaml"
    if not path.exists():
        return {}
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_loader()) or {}


@cache
def is_sequential(model: str) -> bool:
    """Whether the model reads the order of a history."""
    return "MAX_ITEM_LIST_LENGTH" in keys_read(model)


def _keys_in(path: Path, name: str, seen: set[tuple[Path, str]]) -> set[str]:
    """Keys read in the class `name` of a file, in its bases, and in RecBole classes that it uses."""
    if (path, name) in seen:
        return set()
    seen.add((path, name))
    here = classes(path)
    if name not in here:
        return set()
    imported = imports(path)
    keys: set[str] = set()
    for node in ast.walk(here[name]):
        if (key := _key(node)) is not None:
            keys.add(key)
        match node:
            case ast.Name(id=used) if used in here:
                keys |= _keys_in(path, used, seen)
            case ast.Name(id=used) if used in imported:
                keys |= _keys_in(*imported[used], seen)
    return keys


def _key(node: ast.AST) -> str | None:
    """The key of an expression config["key"] or config.key."""
    match node:
        case ast.Subscript(
            value=ast.Name(id="config") | ast.Attribute(attr="config"),
            slice=ast.Constant(value=str() as key),
        ):
            return key
        case ast.Attribute(value=ast.Name(id="config"), attr=key):
            return key
    return None


@cache
def refusal(model: str) -> str | None:
    """Why no strategy here can train the model of this class name, or None."""
    if model in REFUSED:
        return REFUSED[model]
    package = NEEDED_PACKAGES.get(model)
    if package is not None and importlib.util.find_spec(package) is None:
        return f"it needs the package {package}, which is not installed"
    return REFUSED_FAMILIES.get(model_files()[model].parent.name)


@cache
def _loader() -> type[yaml.SafeLoader]:
    """A safe loader that reads 1e-05 as a number, as RecBole does (configurator.py:107)."""
    import re

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )
    return Loader
