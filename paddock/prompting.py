"""What models that ask a language model by prompts declare alike."""

from collections.abc import Mapping, Sequence
from typing import Any

from paddock.components import ModelConfig
from paddock.keys import EVALUATION, Schema, key

TINY = "tiny"
"""The name of the language model that is built and pretrained from the data set's own texts."""

MECHANICS_ONLY = "paddock.mechanics_only"
"""Tag of a run on the tiny language model: it proves the mechanics, and no quality."""

LLM_NOTE = "paddock.note.llm"
"""Tag that names the language model of a run, where it is not the tiny one."""

FULL_RANKING = "paddock.full_ranking"
"""Tag that says how all items are ranked, where that is not by their scores."""


TITLE_CONTROLS = ("none", "shuffled", "random")
"""What `title_control` may be (`experiments.language.titles`)."""

PROBES = ("history_shuffled", "history_removed", "titles_neutral", "leakage", "popularity")
"""What `model.probes` may name (`experiments.evaluation.probes`)."""


class PromptWords(Schema):
    """The prompt's words for an item and for what users do with it."""

    noun: str = key("item", "What an item is called.")
    verb: str = key("buy", "What users do with it.")
    past: str = key("bought", "What users did with it.")


class PromptedConfig(ModelConfig):
    """How a model that asks a language model by prompts ranks, and what its test measures beside."""

    lift_weight: float = key(
        1.0,
        "lift: how much of the log-likelihood without this user is taken away.",
        above=0,
        most=1,
        stage=EVALUATION,
        quiet=True,
    )
    rerank: int = key(
        20,
        "A full ranking ranks the backbone's best so many items again.",
        least=2,
        stage=EVALUATION,
    )
    order_check: bool = key(
        True, "Whether the test measures how the candidates' order matters.", stage=EVALUATION
    )
    probes: list[str] = key(
        [],
        "What the test measures again with one thing taken away: " + ", ".join(PROBES) + ".",
        stage=EVALUATION,
    )
    generation_users: int = key(
        0, "Test users for whom an answer is generated and matched.", least=0, stage=EVALUATION
    )


def prompting_notes(values: Mapping[str, Any], *, full: bool) -> dict[str, str]:
    """Tags that say how all items are ranked, and which language model ranks.

    Parameters
    ----------
    values : mapping of str to object
        The model's resolved keys, with `llm` and `rerank`.
    full : bool
        Whether all items are ranked.
    """
    llm = values["llm"]
    tags = {FULL_RANKING: f"the backbone's top {values['rerank']} ranked again"} if full else {}
    if llm["name"] == TINY and not llm["gguf"]:
        return {**tags, MECHANICS_ONLY: "true"}
    named = llm["gguf"] if llm["name"] == TINY else llm["name"]
    return {**tags, LLM_NOTE: f"LLM {str(named).rstrip('/').rpartition('/')[2]}"}


def check_probes(names: Sequence[str]) -> None:
    """Refuse a probe that is unknown.

    Parameters
    ----------
    names : sequence of str
        The value of the key `probes`.

    Raises
    ------
    ValueError
        Beginning with the key.
    """
    for name in names:
        if name not in PROBES:
            raise ValueError(f"probes: {name} is unknown: choose of {', '.join(PROBES)}")
