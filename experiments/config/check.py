"""What types cannot say: every impossible configuration is refused before any data is read."""

import re
from collections.abc import Mapping
from typing import Any

from experiments.config.fit import check_fit, check_loss_type
from experiments.config.llm_keys import OWN_DEFAULTS, check_own, check_strategy
from experiments.config.model_keys import (
    MIXED_PRECISION,
    PADDOCK_KEYS,
    STRATEGY_KEYS,
    defaults,
    keys_read,
    refusal,
    training_keys,
)
from experiments.config.model_source import is_closed_form, model_files
from experiments.config.schema import Config, Mode, ProtocolConfig
from experiments.config.split_settings import check_clock, check_split
from experiments.config.values import PRECISIONS, at_least, check_value, kind_of, nearest, of_type
from experiments.errors import PaddockError
from experiments.metric_names import ACCURACY, BEYOND_ACCURACY, names_of
from experiments.protocol.splits import SPLITS

BACKBONE = "backbone"
STAGE_KEY = "train_stage"
"""How a staged model of RecBole's is told which of its stages it is in."""

LARGEST_SEED = 2**32 - 1
"""numpy takes no larger one."""


def check(config: Config) -> None:
    """Refuse what cannot work.

    Raises
    ------
    PaddockError
        Naming the key's full path, its value, and what would do.
    """
    at_least("seed", config.seed, 0)
    if config.seed > LARGEST_SEED:
        raise PaddockError(f"seed={config.seed} must be at most {LARGEST_SEED}")
    at_least("threads", config.threads, 1)
    at_least("k", config.k, 1)
    at_least("checkpoint_seconds", config.checkpoint_seconds, 0)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", config.device):
        raise PaddockError(f"device={config.device} is unknown: choose auto, cpu, cuda or cuda:N")
    at_least(
        "dataset.filters.min_user_interactions", config.dataset.filters.min_user_interactions, 0
    )
    at_least(
        "dataset.filters.min_item_interactions", config.dataset.filters.min_item_interactions, 0
    )
    check_protocol(config.protocol)
    check_clock(config.protocol, config.dataset)
    if config.precision not in PRECISIONS:
        raise PaddockError(
            f"precision={config.precision} is unknown: {nearest(config.precision, PRECISIONS)}"
        )
    if config.mode in (Mode.run, Mode.recommend):
        model = resolve_model(dict(config.model))
        _check_precision(config.precision, model)
        if model["strategy"] == "ratings" and config.dataset.columns.rating is None:
            raise PaddockError(
                f"dataset.columns.rating is null: {model['name']} learns from ratings; "
                "name their column"
            )
    if config.mode is Mode.recommend:
        _check_users(config.user)


def _check_precision(precision: str, model: Mapping[str, Any]) -> None:
    stages = model.get("stages") or {}
    strategies = [model["strategy"], *(own.get("strategy") for own in stages.values())]
    if precision == "bfloat16" and not set(strategies) & set(MIXED_PRECISION):
        raise PaddockError(
            f"precision=bfloat16: {model['name']} computes in float32 by strategy "
            f"{model['strategy']}; leave precision=auto"
        )


def _check_users(asked: Any) -> None:
    if asked is None:
        raise PaddockError("mode=recommend needs user=ID (or user=[ID,ID]), as in the data set")
    ids = asked if isinstance(asked, list | tuple) else [asked]
    if not ids or not all(isinstance(each, str | int | float) for each in ids):
        raise PaddockError(f"user={asked} names nobody: give an id or a list of ids")


def check_protocol(protocol: ProtocolConfig) -> None:
    """Refuse a protocol that ranks nothing or selects by a metric that it does not compute."""
    if not re.fullmatch(r"\w[\w.-]*", protocol.name):
        raise PaddockError(
            f"protocol.name={protocol.name} names a folder: use letters, digits, '_', '-' and '.'"
        )
    if protocol.split not in SPLITS:
        raise PaddockError(
            f"protocol.split={protocol.split} is unknown: {nearest(protocol.split, SPLITS)}"
        )
    check_split(protocol)
    if protocol.scored_users is not None:
        at_least("protocol.scored_users", protocol.scored_users, 1)
    if not protocol.metrics:
        raise PaddockError("protocol.metrics is empty: name at least one metric")
    for metric in protocol.metrics:
        if metric not in ACCURACY:
            raise PaddockError(
                f"protocol.metrics holds {metric}, which is unknown: {nearest(metric, ACCURACY)}"
            )
    for metric in protocol.beyond:
        if metric not in BEYOND_ACCURACY:
            raise PaddockError(
                f"protocol.beyond holds {metric}, which is unknown: {nearest(metric, BEYOND_ACCURACY)}"
            )
    for side, share in vars(protocol.slices).items():
        if share is not None and not 0 < share <= 0.5:
            raise PaddockError(f"protocol.slices.{side}={share} must be above 0 and at most 0.5")
    if not protocol.rankings:
        raise PaddockError("protocol.rankings is empty: name at least one ranking")
    for name, ranking in protocol.rankings.items():
        path = f"protocol.rankings.{name}"
        if not re.fullmatch(r"[a-z][a-z0-9]*", name):
            raise PaddockError(f"{path}: a ranking's name is made of a-z and 0-9")
        if ranking.candidates is not None:
            at_least(f"{path}.candidates", ranking.candidates, 2)
        if not ranking.cutoffs:
            raise PaddockError(f"{path}.cutoffs is empty: name at least one cut-off")
        for cutoff in ranking.cutoffs:
            at_least(f"{path}.cutoffs", cutoff, 1)
            if ranking.candidates is not None and cutoff > ranking.candidates:
                raise PaddockError(
                    f"{path}.cutoffs holds {cutoff}, but there are {ranking.candidates} candidates: "
                    f"choose cut-offs of at most {ranking.candidates}"
                )
    computed = protocol_metrics(protocol)
    if protocol.valid_metric not in computed:
        raise PaddockError(
            f"protocol.valid_metric={protocol.valid_metric} is not computed: "
            f"{nearest(protocol.valid_metric, computed)}"
        )


def protocol_metrics(protocol: ProtocolConfig) -> list[str]:
    """All metrics of the protocol's rankings, as ranking/metric_at_k."""
    cutoffs = {name: ranking.cutoffs for name, ranking in protocol.rankings.items()}
    return names_of(cutoffs, protocol.metrics)


def resolve_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """The model's configuration with nothing left to a default elsewhere.

    Raises
    ------
    PaddockError
        If the model or a key is unknown, or a value has the wrong type or is impossible.
    """
    name = model.get("name")
    if name is None:
        raise PaddockError("model.name is missing: name a RecBole model, as in model.name=NARM")
    name = str(name)
    if name not in model_files():
        raise PaddockError(f"model.name={name} is unknown: {nearest(name, model_files())}")
    if (reason := refusal(name)) is not None:
        raise PaddockError(f"model.name={name} cannot be trained here: {reason}")
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
    values = _checked(values, name=name, strategy=strategy, path="model")
    _check_together(values, name=name, strategy=strategy, path="model")
    if is_closed_form(name):
        values |= {"epochs": 1, "stopping_step": 0, "eval_step": 1, "keep": "last"}
    stages = model.get("stages")
    if stages is None and STAGE_KEY in keys_read(name) and STAGE_KEY not in model:
        raise PaddockError(
            f"model.stages is missing: {name} trains in stages; use model={name.lower()}"
        )
    if stages is not None:
        values["stages"] = _checked_stages(stages, values)
    return values


def _checked_stages(stages: Any, common: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if not isinstance(stages, Mapping):
        raise PaddockError(f"model.stages={stages} must map the names of stages to their keys")
    if not stages:
        raise PaddockError("model.stages is empty: name at least one stage, or leave it out")
    name, checked = common["name"], {}
    for stage, own in stages.items():
        path = f"model.stages.{stage}"
        if not isinstance(own, Mapping | None):
            raise PaddockError(f"{path}={own} must hold keys, as in {path}.epochs=10")
        own = own or {}
        for key in ("name", "stages"):
            if key in own:
                raise PaddockError(f"{path}.{key} cannot differ between stages: remove it")
        if STAGE_KEY in keys_read(name) and STAGE_KEY not in own:
            others = [other for other in stages if other != stage]
            raise PaddockError(
                f"{path}: a stage of {name} needs {STAGE_KEY}; {nearest(str(stage), others)}"
            )
        used = own.get("strategy") or common["strategy"]
        checked[str(stage)] = _checked(own, name=name, strategy=used, path=path)
        together = {**common, **checked[str(stage)]}
        _check_together(together, name=name, strategy=used, path=path)
    return checked


def _checked(values: Mapping[str, Any], *, name: str, strategy: str, path: str) -> dict[str, Any]:
    """The values, each of its default's type."""
    check_fit(name=name, strategy=strategy, path=path)
    known = {*keys_read(name), *training_keys(name, strategy), *PADDOCK_KEYS}
    usual = defaults(name, strategy)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            how = "" if strategy == "recbole" else f" with strategy {strategy}"
            raise PaddockError(
                f"{path}.{key}: {name} reads no such key{how}; "
                f"{nearest(key, known, prefix=f'{path}.')}"
            )
        checked[key] = of_type(f"{path}.{key}", value, kind_of(key, usual.get(key)))
        check_value(f"{path}.{key}", key, value)
        if name in OWN_DEFAULTS:
            check_own(f"{path}.{key}", key, value)
    return checked


def _check_together(values: Mapping[str, Any], *, name: str, strategy: str, path: str) -> None:
    """Refuse values that are impossible beside each other."""
    check_loss_type(values, strategy=strategy, path=path)
    check_strategy(values, name=name, strategy=strategy, path=path)
    if BACKBONE in values:
        _check_backbone(values[BACKBONE], path=f"{path}.{BACKBONE}")
    width, heads = values.get("hidden_size"), values.get("n_heads")
    if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
        raise PaddockError(f"{path}.hidden_size={width} is not a multiple of n_heads={heads}")


def _check_backbone(backbone: Any, *, path: str) -> None:
    """Refuse a backbone that could not be trained by itself."""
    if not isinstance(backbone, Mapping) or backbone.get(BACKBONE) or backbone.get("stages"):
        raise PaddockError(
            f"{path} must hold the keys of a model of one stage, as in {path}=sasrec"
        )
    try:
        resolve_model(backbone)
    except PaddockError as error:
        raise PaddockError(str(error).replace("model.", f"{path}.")) from error
