"""The keys of LLM-SRec."""

from collections.abc import Mapping
from typing import Any

from paddock import ModelConfig, choices, integers, key
from paddock.prompting import TITLE_CONTROLS, PromptWords, prompting_notes


class LLMSRecConfig(ModelConfig):
    """LLM-SRec: a frozen language model reads users and items, small networks make vectors of it."""

    offers = ("distillation",)
    strategies = ("distil",)

    backbone: dict = key(
        doc="The frozen recommender whose user states are distilled.", schema="model"
    )
    llm: dict = key(doc="The frozen language model.", schema="llm")
    words: dict = key(doc="The prompt's words.", schema=PromptWords)
    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read, the last ones.", least=1)
    history_items: int = key(
        10, "Items of the history that a prompt names.", least=1, search=integers(5, 20)
    )
    title_tokens: int = key(32, "Tokens of a title; a longer one is cut.", least=1)
    title_control: str = key(
        "none",
        'What exposes a gain that is not the titles\': those of other items (shuffled), or "Item" and '
        "a random number (random).",
        choices=TITLE_CONTROLS,
        quiet=True,
    )
    embedding_size: int = key(
        128, "Width of the vectors of users and items.", least=1, search=choices(64, 128, 256)
    )
    inner_size: int = key(2048, "Width of the layer between a state and its vector.", least=1)
    distillation: float = key(
        1.0,
        "Weight of the distance to the recommender's user state (eq. 2).",
        least=0,
        search=choices(0.0, 0.3, 1.0, 3.0),
    )
    uniformity: float = key(
        1.0,
        "Weight of what spreads the vectors of users (eq. 3).",
        least=0,
        search=choices(0.0, 0.3, 1.0),
    )
    positions: str = key(
        "random",
        "Which training position of a user is learnt from: another one every epoch, or the last.",
        choices=("last", "random"),
    )
    epoch_samples: int = key(
        0, "Users that a pass trains on, drawn for every pass; 0: all.", least=0
    )
    kept_megabytes: int = key(
        1024, "Memory for what the language model read of the items before the out token.", least=0
    )

    @classmethod
    def notes(cls, values: Mapping[str, Any], *, full: bool) -> Mapping[str, str]:
        """Tags that say which language model reads; all items are ranked by their scores.

        Parameters
        ----------
        values : mapping of str to object
            The resolved configuration.
        full : bool
            Whether all items are ranked.
        """
        return prompting_notes(values, full=False)
