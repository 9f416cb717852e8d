"""What may be said about a language model, and the keys of the models that are made with one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.config.text_encoder_keys import text_encoder_keys, typed_keys
from experiments.config.values import at_least, nearest, of_type
from experiments.errors import PaddockError

TINY = "tiny"
"""The name of the language model that is built and pretrained from the data set's own texts."""

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTISATIONS = ("8bit", "4bit")

WORDS = {"noun": "item", "verb": "buy", "past": "bought"}
"""The prompt's words for an item and for what users do with it."""

PART_KEYS = (
    "backbone",
    "llm",
    "text_encoder",
    "quirks",
    "train_candidates",
    "epoch_samples",
    "positions",
    "accumulate",
    "order_check",
    "generation_users",
)
"""Keys that concern the frozen networks, the batches and the evaluation, not the class itself."""

TRAINING_KEYS = (
    "epochs",
    "stopping_step",
    "eval_step",
    "learning_rate",
    "weight_decay",
    "clip_grad_norm",
    "train_batch_size",
    "MAX_ITEM_LIST_LENGTH",
)
OWN_STRATEGIES = dict.fromkeys(("align", "llm"), (*TRAINING_KEYS, *PART_KEYS))
"""Strategy -> the training keys that it reads."""

OWN_DEFAULTS: dict[str, dict[str, object]] = {
    "ALLMRec": {
        "joint_size": 128,
        "item_weight": 0.5,
        "text_weight": 0.2,
        "text_scale": "own",
        "similarity": "mean",
        "alignment": True,
        "history_items": 10,
        "title_tokens": 32,
        "user_token": True,
        "item_tokens": True,
        "projections": "trained",
        "item_route": "item",
        "gate_interactions": 5.0,
        "profile_weight": 0.25,
        "profile_decay": 0.8,
        "likelihood": "sum",
        "rerank": 20,
        "quirks": False,
        "train_candidates": 20,
        "epoch_samples": 0,
        "positions": "last",
        "accumulate": 1,
        "order_check": True,
        "generation_users": 0,
    }
}
"""Model -> values of its keys, of the type that they take."""

CHOICES = {
    "similarity": ("mean", "dot"),
    "text_scale": ("own", "standard"),
    "projections": ("trained", "random"),
    "item_route": ("item", "text", "gated", "profile"),
    "likelihood": ("sum", "mean", "lift"),
    "positions": ("last", "random"),
    "train_stage": (),
}
LEAST = {
    "joint_size": 1,
    "history_items": 1,
    "title_tokens": 1,
    "rerank": 2,
    "train_candidates": 2,
    "epoch_samples": 0,
    "accumulate": 1,
    "generation_users": 0,
    "item_weight": 0,
    "text_weight": 0,
    "gate_interactions": 0,
    "profile_weight": 0,
    "profile_decay": 0,
}


@dataclass(frozen=True, kw_only=True)
class LLMKeys:
    """A causal language model.

    Attributes
    ----------
    name
        tiny, a folder, or a model of Hugging Face's hub.
    revision
        A commit of the hub, so that its weights cannot change under the name.
    dtype
        auto is bfloat16 on a GPU and float32 on a CPU.
    quantisation
        8bit or 4bit, through bitsandbytes.
    device_map
        As accelerate reads it, to spread the model; null puts it where the run is.
    context
        At most so many positions; null is the model's own.
    layers, width, heads, vocabulary, steps, seed
        Of tiny alone: its size, the steps of its pretraining, what draws its weights.
    """

    name: str = TINY
    revision: str | None = None
    dtype: str = "auto"
    quantisation: str | None = None
    device_map: str | None = None
    context: int | None = None
    layers: int = 2
    width: int = 128
    heads: int = 4
    vocabulary: int = 2000
    steps: int = 250
    seed: int = 2024


def llm_keys(given: Any, *, path: str = "model.llm") -> LLMKeys:
    """The checked configuration.

    Raises
    ------
    PaddockError
        For an unknown key, a wrong type or an impossible value.
    """
    keys = LLMKeys(**typed_keys(given, LLMKeys, path=path))
    if keys.dtype not in DTYPES:
        raise PaddockError(f"{path}.dtype={keys.dtype} is unknown: {nearest(keys.dtype, DTYPES)}")
    if keys.quantisation is not None and keys.quantisation not in QUANTISATIONS:
        raise PaddockError(
            f"{path}.quantisation={keys.quantisation} is unknown: choose null, 8bit or 4bit"
        )
    for name in ("layers", "width", "heads", "steps"):
        at_least(f"{path}.{name}", getattr(keys, name), 1)
    at_least(f"{path}.vocabulary", keys.vocabulary, 300)
    if keys.context is not None:
        at_least(f"{path}.context", keys.context, 64)
    if keys.width % (2 * keys.heads):
        raise PaddockError(
            f"{path}.width={keys.width} is not a multiple of twice heads={keys.heads}"
        )
    return keys


def check_own(path: str, key: str, value: Any) -> None:
    """Refuse impossible values of a key of a model made with a language model."""
    if key == "llm" and value is not None:
        llm_keys(value, path=path)
    elif key == "text_encoder":
        text_encoder_keys(value, path=path)
    elif key == "words" and value is not None:
        check_words(value, path=path)
    elif key in LEAST:
        at_least(path, value, LEAST[key])
    elif CHOICES.get(key) and value not in CHOICES[key]:
        raise PaddockError(f"{path}={value} is unknown: {nearest(str(value), CHOICES[key])}")


def check_strategy(values: Mapping[str, Any], *, name: str, strategy: str, path: str) -> None:
    """Refuse a strategy of these models for others, other strategies for them, and a stage without
    what it trains.
    """
    if (strategy in OWN_STRATEGIES) != (name in OWN_DEFAULTS):
        fitting = sorted(OWN_STRATEGIES) if name in OWN_DEFAULTS else "another"
        told = " or ".join(fitting) if isinstance(fitting, list) else fitting
        raise PaddockError(f"{path}.strategy={strategy} does not train {name}: use {told}")
    if name not in OWN_DEFAULTS:
        return
    for key in ("backbone", "text_encoder"):
        if values.get(key) is None:
            raise PaddockError(f"{path}.{key} is missing: {name} is made with one")
    if values.get("likelihood") == "lift" and values.get("user_token") is False:
        raise PaddockError(
            "model.likelihood=lift compares with the average user, which no prompt tells with "
            "model.user_token=false: take sum or mean"
        )
    if strategy == "llm" and (values.get("llm") is None or values.get("words") is None):
        raise PaddockError(
            f"model.llm or model.words is missing, which {path} needs: use model=a_llmrec_align "
            "for the joint space alone"
        )


def check_words(words: Any, *, path: str) -> None:
    if not isinstance(words, Mapping) or set(words) != set(WORDS):
        raise PaddockError(f"{path}={words} must hold {', '.join(WORDS)}, as in {path}.noun=movie")
    for key, usual in WORDS.items():
        of_type(f"{path}.{key}", words[key], usual)


MECHANICS_ONLY = "paddock.mechanics_only"
"""Tag of a run on the tiny language model: it proves the mechanics, and no quality."""

FULL_RANKING = "paddock.full_ranking"
"""Tag that tells how all items are ranked, where that is not by their scores."""


def tags_of(model: Mapping[str, Any], *, full: bool) -> dict[str, str]:
    """What a reader of a run's numbers must know about a model with a language model.

    `full` is whether all items are ranked.
    """
    llm = model.get("llm")
    if model["name"] not in OWN_DEFAULTS or llm is None:
        return {}
    tags = {FULL_RANKING: f"the backbone's top {model['rerank']} ranked again"} if full else {}
    if llm.get("name", TINY) == TINY:
        tags[MECHANICS_ONLY] = "true"
    return tags
