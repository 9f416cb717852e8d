"""The keys of a language model that is tuned to recommend."""

from collections.abc import Mapping
from typing import Any, ClassVar

from paddock import EVALUATION, choices, integers, key
from paddock.prompting import (
    TITLE_CONTROLS,
    PromptedConfig,
    PromptWords,
    check_probes,
    prompting_notes,
)


class LLMRecConfig(PromptedConfig):
    """A language model tuned to recommend: supervised, then by preferences."""

    offers = ("prompts", "preferences")
    strategies = ("sft", "dpo")
    stages = ("sft", "dpo")
    learns: ClassVar[Mapping[str, tuple[str, ...]]] = {"sft": ("adapters.",)}

    backbone: dict = key(doc="Whose best items a full ranking ranks again.", schema="model")
    llm: dict = key(doc="The language model; its own weights stay as they are.", schema="llm")
    words: dict = key(doc="The prompt's words.", schema=PromptWords)
    lora_rank: int = key(8, "Rank of the adapters.", least=1, search=choices(4, 8, 16))
    lora_alpha: int = key(16, "Scale of the adapters, divided by their rank.", least=1)
    lora_targets: list[str] = key(
        ["q_proj", "v_proj"],
        "Names of the linear layers that get an adapter; all-linear: every one but the head.",
    )
    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read, the last ones.", least=1)
    history_items: int = key(
        10, "Items of the history that a prompt names.", least=1, search=integers(5, 20)
    )
    title_tokens: int = key(32, "Tokens of a title; a longer one is cut.", least=1)
    list_candidates: bool = key(
        True,
        "Whether prompts list the candidates; without, a title's likelihood is that of following the history.",
        quiet=True,
    )
    title_control: str = key(
        "none",
        'What exposes a gain that is not the titles\': those of other items (shuffled), or "Item" and '
        "a random number (random).",
        choices=TITLE_CONTROLS,
        quiet=True,
    )
    train_candidates: int = key(20, "Candidates of a training prompt.", least=2)
    positions: str = key(
        "random",
        "Which training positions of a user are learnt from: random ones, or the last.",
        choices=("last", "random"),
    )
    samples_per_user: int = key(
        1, "Positions of a user in a pass, drawn anew for every pass.", least=1
    )
    epoch_samples: int = key(
        0, "Prompts that a pass trains on, drawn anew for every pass; 0: all.", least=0
    )
    accumulate: int = key(1, "Batches whose gradients make one step.", least=1)
    likelihood: str = key(
        "sum",
        "Of an answer: the sum over its tokens, their mean, or the lift over a user without history.",
        choices=("sum", "mean", "lift"),
        stage=EVALUATION,
    )

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Refuse adapters for no layer, more rejected answers than candidates, and unknown probes.

        Parameters
        ----------
        values : mapping of str to object
            All keys of a stage, each checked by itself.

        Raises
        ------
        ValueError
            Beginning with the key at fault.
        """
        if not values["lora_targets"]:
            raise ValueError("lora_targets=[] leaves nothing to learn: name layers, or all-linear")
        check_probes(values["probes"])
        negatives = values.get("negatives", 1)
        if negatives >= values["train_candidates"]:
            raise ValueError(
                f"negatives={negatives} must be below train_candidates={values['train_candidates']}"
            )

    @classmethod
    def notes(cls, values: Mapping[str, Any], *, full: bool) -> Mapping[str, str]:
        """Tags that say how all items are ranked, and which language model ranks.

        Parameters
        ----------
        values : mapping of str to object
            The resolved configuration.
        full : bool
            Whether all items are ranked.
        """
        return prompting_notes(values, full=full)
