"""Write the table of RecBole's models, `recbole_models.json`, from the installed RecBole.

    python -m experiments.config.make_recbole_models

A model's keys are those that its class, its own trainer and its transform of batches read
(`experiments.config.config_reads`). Importing RecBole takes seconds and following its source takes
more; a command reads the table instead (`experiments.config.recbole_models`).
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import pkgutil
import re
import sys
import types
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from experiments.config.config_reads import COMMON, keys_read
from experiments.files import read_json, write_text

TABLE = Path(__file__).with_name("recbole_models.json")

FAMILIES = (
    "general_recommender",
    "sequential_recommender",
    "context_aware_recommender",
    "knowledge_aware_recommender",
    "exlib_recommender",
)

BOOSTERS = ("lightgbm", "xgboost")
"""Packages whose `Booster` RecBole's decision trees extend; RecBole does not require them."""

_FIELD = "the name of a column, which the bridge to RecBole gives"
_ENGINE = "the engine sets it for every run"
_EVALUATION = "the evaluation is the engine's"
_STAGES = "the engine keeps the weights between stages"
_TRANSFORM = "the name of a column, which the model's transform enters"

NOT_A_CHOICE: Mapping[str, str] = {
    "USER_ID_FIELD": _FIELD,
    "ITEM_ID_FIELD": _FIELD,
    "NEG_PREFIX": _FIELD,
    "LIST_SUFFIX": _FIELD,
    "ITEM_LIST_LENGTH_FIELD": _FIELD,
    "LABEL_FIELD": _FIELD,
    "RATING_FIELD": _FIELD,
    "TIME_FIELD": _FIELD,
    "ENTITY_ID_FIELD": _FIELD,
    "RELATION_ID_FIELD": _FIELD,
    "HEAD_ENTITY_ID_FIELD": _FIELD,
    "TAIL_ENTITY_ID_FIELD": _FIELD,
    "device": _ENGINE,
    "seed": _ENGINE,
    "checkpoint_dir": _ENGINE,
    "single_spec": _ENGINE,
    "local_rank": _ENGINE,
    "eval_args": _EVALUATION,
    "eval_batch_size": _EVALUATION,
    "eval_type": _EVALUATION,
    "metrics": _EVALUATION,
    "topk": _EVALUATION,
    "valid_metric": _EVALUATION,
    "valid_metric_bigger": _EVALUATION,
    "pre_model_path": _STAGES,
    "pretrain_epochs": _STAGES,
    "save_step": _STAGES,
    "model": "RecBole enters the model's class name",
    "dataset": "RecBole enters the data set's name",
    "MASK_ITEM_SEQ": _TRANSFORM,
    "POS_ITEMS": _TRANSFORM,
    "NEG_ITEMS": _TRANSFORM,
    "MASK_INDEX": _TRANSFORM,
    "INVERSE_ITEM_SEQ": _TRANSFORM,
}
"""Key that RecBole's models read -> why nobody chooses its value."""

TRAINING = (
    "clip_grad_norm",
    "epochs",
    "eval_step",
    "learner",
    "learning_rate",
    "shuffle",
    "stopping_step",
    "train_batch_size",
    "train_neg_sample_args",
    "transform",
    "weight_decay",
)
"""Keys of overall.yaml that a training loop reads, whatever the model."""


_REAL = re.compile(r".*(_prob|_ratio|_weight|_max)")
"""Keys that are real numbers even where RecBole's default is written as an integer."""


def kind_of(key: str, usual: Any) -> Any:
    """A default as a value of the type that its key takes.

    Parameters
    ----------
    key : str
        Name of the key.
    usual : object
        RecBole's default.
    """
    whole = isinstance(usual, int) and not isinstance(usual, bool)
    return float(usual) if whole and _REAL.fullmatch(key) else usual


def main() -> None:
    """Rewrite the table, and print what changed."""
    before = read_json(TABLE) if TABLE.exists() else {}
    after = recbole_table()
    write_text(TABLE, text_of(after))
    lines = changes(before, json.loads(text_of(after)))
    print("\n".join(lines) if lines else "nothing changed")


def recbole_table() -> dict[str, Any]:
    """The table of the installed RecBole."""
    overall = _properties("overall")
    return {
        "recbole": importlib.metadata.version("recbole"),
        "training": {name: _entry(name, overall) for name in TRAINING},
        "models": {model.__name__: _model(model, family) for family, model in _classes()},
    }


def text_of(table: Mapping[str, Any]) -> str:
    """The table as JSON, sorted, with one key of one model on a line.

    Parameters
    ----------
    table : mapping of str to object
        What `recbole_table` returns.
    """

    def rows(entries: Mapping[str, Any], indent: str) -> str:
        lines = [
            f"{indent} {json.dumps(name)}: {json.dumps(entries[name])}" for name in sorted(entries)
        ]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}" if lines else "{}"

    models = []
    for name in sorted(table["models"], key=str.lower):
        model = table["models"][name]
        fields = [
            f"   {json.dumps(field)}: {json.dumps(value)}"
            for field, value in model.items()
            if field != "keys"
        ]
        fields.append(f'   "keys": {rows(model["keys"], "   ")}')
        models.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(fields) + "\n  }")
    return (
        f'{{\n "recbole": {json.dumps(table["recbole"])},\n'
        f' "training": {rows(table["training"], " ")},\n'
        ' "models": {\n' + ",\n".join(models) + "\n }\n}\n"
    )


def changes(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> list[str]:
    """A line for each entry of two nested mappings that differs, by its path.

    Parameters
    ----------
    before, after : mapping
        Nested mappings.
    path : str
        Path of both within the table, for the lines.
    """
    lines = []
    for name in [*before, *(name for name in after if name not in before)]:
        here = f"{path}.{name}" if path else name
        old, new = before.get(name), after.get(name)
        if name not in after:
            lines.append(f"- {here}")
        elif name not in before:
            lines.append(f"+ {here}")
        elif isinstance(old, dict) and isinstance(new, dict):
            lines += changes(old, new, here)
        elif old != new:
            lines.append(f"  {here}: {old} -> {new}")
    return lines


def _classes() -> list[tuple[str, type]]:
    """Family and class of every model of RecBole's.

    The classes are taken from the packages: `models` registers classes of its own in the place of
    RecBole's modules, of which the packages know nothing.
    """
    found = []
    with _boosters():
        for family in FAMILIES:
            package = importlib.import_module(f"recbole.model.{family}")
            stems = {module.name for module in pkgutil.iter_modules(package.__path__)}
            named = {
                value.__name__.lower(): value
                for value in vars(package).values()
                if isinstance(value, type)
            }
            found += [(family, named[stem]) for stem in sorted(stems)]
    return found


@contextlib.contextmanager
def _boosters() -> Iterator[None]:
    """Let RecBole's decision trees be imported without the packages that train them."""
    absent = [name for name in BOOSTERS if importlib.util.find_spec(name) is None]
    for name in absent:
        stand_in = types.ModuleType(name)
        stand_in.Booster = type("Booster", (), {})  # type: ignore[attr-defined]
        sys.modules[name] = stand_in
    try:
        yield
    finally:
        for name in list(sys.modules):
            if name in absent or (absent and name.startswith("recbole.model.exlib_recommender")):
                del sys.modules[name]


def _model(model: type, family: str) -> dict[str, Any]:
    from recbole.model.abstract_recommender import AutoEncoderMixin

    values = _properties(f"model/{model.__name__}")
    kind: str = model.type.name  # type: ignore[attr-defined]
    trainer = _own_trainer(model.__name__, kind)
    defaults = {**_properties("overall"), **values}
    keys = keys_read(model, defaults)
    if trainer is not None:
        keys |= keys_read(trainer, defaults) - set(TRAINING)
    transform = values.get("transform")
    if transform is not None:
        keys |= keys_read(_transform(transform), defaults)
    if "MAX_ITEM_LIST_LENGTH" in keys:
        # The one property of a data set's that is a choice for the model.
        defaults["MAX_ITEM_LIST_LENGTH"] = _properties("dataset/sample")["MAX_ITEM_LIST_LENGTH"]
    return {
        "family": family,
        "type": kind,
        "input": _input(model, values),
        "autoencoder": issubclass(model, AutoEncoderMixin),
        "own_epoch": _has_own_epoch(model.__name__),
        "transform": transform,
        "keys": {key: _entry(key, defaults) for key in keys - set(NOT_A_CHOICE)},
    }


def _input(model: type, values: Mapping[str, Any]) -> str:
    """What a row of the model's batches is: the class's own attribute, or what its loss needs.

    As RecBole decides it (configurator.py:336).
    """
    declared = getattr(model, "input_type", None)
    if declared is not None:
        return str(declared.name)
    return {"CE": "POINTWISE", "BPR": "PAIRWISE"}[values["loss_type"]]


def _has_own_epoch(name: str) -> bool:
    import recbole.trainer

    return "_train_epoch" in vars(getattr(recbole.trainer, f"{name}Trainer", object))


def _own_trainer(name: str, kind: str) -> type | None:
    """The trainer that RecBole chooses for the model, unless it is that of every model."""
    import recbole.trainer

    shared = "KGTrainer" if kind == "KNOWLEDGE" else "Trainer"
    trainer: type = getattr(recbole.trainer, f"{name}Trainer", getattr(recbole.trainer, shared))
    return None if trainer.__name__ in COMMON else trainer


def _transform(name: str) -> type:
    """RecBole's transform of batches of that name (transform.py:21)."""
    from recbole.data import transform

    return {
        "mask_itemseq": transform.MaskItemSequence,
        "inverse_itemseq": transform.InverseItemSequence,
    }[name]


@cache
def _properties(name: str) -> Mapping[str, Any]:
    """The values of one of RecBole's property files, read as RecBole reads it; none without a file."""
    import recbole
    import yaml
    from recbole.config import Config

    path = Path(recbole.__file__).parent / "properties" / f"{name}.yaml"
    if not path.exists():
        return {}
    loader = Config._build_yaml_loader(Config.__new__(Config))
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader) or {}


def _entry(name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    default = kind_of(name, defaults.get(name))
    # What the properties of a data set hold is a default of the data, not of the model: its type
    # still is the key's (numerical_features is a list).
    usual = _properties("dataset/sample").get(name) if default is None else default
    return {
        "type": None if usual is None else type(usual).__name__,
        "default": default,
        "has_default": name in defaults,
    }


if __name__ == "__main__":
    main()
