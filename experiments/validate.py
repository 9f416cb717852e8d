"""What types cannot say: every impossible configuration is refused before any data is read."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from experiments.config import Config, Mode, ProtocolConfig
from experiments.errors import PaddockError
from experiments.hyperparameters import (
    PADDOCK_KEYS,
    STRATEGY_KEYS,
    defaults,
    is_closed_form,
    keys_read,
    model_files,
    training_keys,
)

SPLITS = ("loo",)
METRICS = ("hit", "ndcg", "recall", "precision", "mrr", "map")
LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam")
KEEPS = ("best", "last")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint naming the nearest known word, or the words to choose from."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if not close:
        lowered = {other.lower(): other for other in words}
        close = [lowered[hit] for hit in difflib.get_close_matches(word.lower(), lowered, n=1)]
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(words)}"


def check(config: Config) -> None:
    """Refuse what cannot work.

    Raises
    ------
    PaddockError
        Naming the key's full path, its value, and what would do.
    """
    _at_least("seed", config.seed, 0)
    _at_least("threads", config.threads, 1)
    _at_least("k", config.k, 1)
    _at_least("checkpoint_seconds", config.checkpoint_seconds, 0)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", config.device):
        raise PaddockError(f"device={config.device} is unknown: choose auto, cpu, cuda or cuda:N")
    _at_least(
        "dataset.filters.min_user_interactions", config.dataset.filters.min_user_interactions, 0
    )
    _at_least(
        "dataset.filters.min_item_interactions", config.dataset.filters.min_item_interactions, 0
    )
    check_protocol(config.protocol)
    if config.mode in (Mode.run, Mode.recommend):
        resolve_model(dict(config.model))
    if config.mode is Mode.recommend and config.user is None:
        raise PaddockError("mode=recommend needs user=ID (or user=[ID,ID]), as in the data set")


def check_protocol(protocol: ProtocolConfig) -> None:
    """Refuse a protocol that ranks nothing or selects by a metric that it does not compute."""
    if protocol.split not in SPLITS:
        raise PaddockError(
            f"protocol.split={protocol.split} is unknown: {nearest(protocol.split, SPLITS)}"
        )
    if not protocol.metrics:
        raise PaddockError("protocol.metrics is empty: name at least one metric")
    for metric in protocol.metrics:
        if metric not in METRICS:
            raise PaddockError(
                f"protocol.metrics holds {metric}, which is unknown: {nearest(metric, METRICS)}"
            )
    if not protocol.rankings:
        raise PaddockError("protocol.rankings is empty: name at least one ranking")
    for name, ranking in protocol.rankings.items():
        path = f"protocol.rankings.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9]*", name):
            raise PaddockError(f"{path}: a ranking's name is made of a-z and 0-9")
        if ranking.candidates is not None:
            _at_least(f"{path}.candidates", ranking.candidates, 2)
        if not ranking.cutoffs:
            raise PaddockError(f"{path}.cutoffs is empty: name at least one cut-off")
        for cutoff in ranking.cutoffs:
            _at_least(f"{path}.cutoffs", cutoff, 1)
            if ranking.candidates is not None and cutoff > ranking.candidates:
                raise PaddockError(
                    f"{path}.cutoffs holds {cutoff}, but there are {ranking.candidates} candidates: "
                    f"choose cut-offs of at most {ranking.candidates}"
                )
    computed = metric_names(protocol)
    if protocol.valid_metric not in computed:
        raise PaddockError(
            f"protocol.valid_metric={protocol.valid_metric} is not computed: "
            f"{nearest(protocol.valid_metric, computed)}"
        )


def metric_names(protocol: ProtocolConfig) -> list[str]:
    """All metrics of the protocol, as ranking/metric_at_k."""
    return [
        f"{name}/{metric}_at_{cutoff}"
        for name, ranking in protocol.rankings.items()
        for metric in protocol.metrics
        for cutoff in ranking.cutoffs
    ]


def resolve_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """The model's configuration with nothing left to a default elsewhere.

    Raises
    ------
    PaddockError
        If the model or a key is unknown, or a value has the wrong type or is impossible.
    """
    name = model.get("name")
    if not isinstance(name, str):
        raise PaddockError("model.name is missing: name a RecBole model, as in model.name=NARM")
    if name not in model_files():
        raise PaddockError(f"model.name={name} is unknown: {nearest(name, model_files())}")
    strategy = model.get("strategy") or "recbole"
    if strategy not in STRATEGY_KEYS:
        raise PaddockError(
            f"model.strategy={strategy} is unknown: {nearest(str(strategy), STRATEGY_KEYS)}"
        )
    values: dict[str, Any] = {
        **defaults(name, strategy),
        **{key: value for key, value in model.items() if key != "stages"},
        "strategy": strategy,
        "keep": model.get("keep") or "best",
    }
    _check_keys(values, name=name, strategy=strategy, path="model")
    if is_closed_form(name):
        values |= {"epochs": 1, "stopping_step": 0, "eval_step": 1, "keep": "last"}
    stages = model.get("stages")
    if stages is not None:
        values["stages"] = {stage: dict(own or {}) for stage, own in stages.items()}
        if not values["stages"]:
            raise PaddockError("model.stages is empty: name at least one stage, or leave it out")
        for stage, own in values["stages"].items():
            path = f"model.stages.{stage}"
            for key in ("name", "stages"):
                if key in own:
                    raise PaddockError(f"{path}.{key} cannot differ between stages: remove it")
            _check_keys(own, name=name, strategy=own.get("strategy", strategy), path=path)
    return values


def _check_keys(values: Mapping[str, Any], *, name: str, strategy: str, path: str) -> None:
    known = {*keys_read(name), *training_keys(name, strategy), *PADDOCK_KEYS}
    usual = defaults(name, strategy)
    for key, value in values.items():
        if key not in known:
            how = "" if strategy == "recbole" else f" with strategy {strategy}"
            raise PaddockError(
                f"{path}.{key}: {name} reads no such key{how}; {nearest(key, known)}"
            )
        _check_type(f"{path}.{key}", value, usual.get(key))
        _check_value(f"{path}.{key}", key, value)
    if strategy == "windows" and values.get("loss_type", "CE") != "CE":
        raise PaddockError(
            f"{path}.loss_type={values['loss_type']}: strategy windows trains by cross-entropy; "
            "use loss_type=CE or strategy=recbole"
        )
    width, heads = values.get("hidden_size"), values.get("n_heads")
    if isinstance(width, int) and isinstance(heads, int) and width % heads:
        raise PaddockError(f"{path}.hidden_size={width} is not a multiple of n_heads={heads}")


def _check_type(path: str, value: Any, usual: Any) -> None:
    """A value is of its default's type; an integer is a fine float."""
    if usual is None or value is None:
        return
    kinds: tuple[type, ...] = (int, float) if isinstance(usual, float) else (type(usual),)
    if isinstance(usual, list):
        kinds = (list, tuple)
    wrong_bool = isinstance(value, bool) and not isinstance(usual, bool)
    if wrong_bool or not isinstance(value, kinds):
        raise PaddockError(
            f"{path}={value} is a {type(value).__name__}: give a {type(usual).__name__}, "
            f"such as {usual}"
        )


def _check_value(path: str, key: str, value: Any) -> None:
    if key in ("epochs", "eval_step", "train_batch_size", "MAX_ITEM_LIST_LENGTH"):
        _at_least(path, value, 1)
    elif key in ("stopping_step", "weight_decay"):
        _at_least(path, value, 0)
    elif key == "learning_rate" and not value > 0:
        raise PaddockError(f"{path}={value} must be above 0")
    elif key == "learner" and value not in LEARNERS:
        raise PaddockError(f"{path}={value} is unknown: {nearest(str(value), LEARNERS)}")
    elif key == "keep" and value not in KEEPS:
        raise PaddockError(f"{path}={value} is unknown: {nearest(str(value), KEEPS)}")
    elif key.endswith("dropout_prob") and not 0 <= value < 1:
        raise PaddockError(f"{path}={value} must be at least 0 and below 1")
    elif key.endswith("_size") and isinstance(value, int):
        _at_least(path, value, 1)


def _at_least(path: str, value: float, least: float) -> None:
    if not isinstance(value, int | float) or not value >= least:
        raise PaddockError(f"{path}={value} must be at least {least}")
