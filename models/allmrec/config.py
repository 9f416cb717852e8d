"""The keys of A-LLMRec, with the stage from which on each matters."""

from collections.abc import Mapping
from typing import Any

from paddock import EVALUATION, choices, integers, key, uniform
from paddock.prompting import (
    TITLE_CONTROLS,
    PromptedConfig,
    PromptWords,
    check_probes,
    prompting_notes,
)

STAGES = ("align", "llm")


class ALLMRecConfig(PromptedConfig):
    """A-LLMRec: a frozen recommender and a frozen language model, aligned."""

    offers = ("alignment", "prompts")
    strategies = STAGES
    stages = STAGES
    learns = {"align": ("item_autoencoder.", "text_autoencoder.", "texts.")}

    train_stage: str = key("align", "What the stage trains.", choices=STAGES)
    backbone: dict = key(doc="The frozen recommender: a model of one stage.", schema="model")
    text_encoder: dict = key(doc="The sentence encoder.", schema="text_encoder")
    llm: dict | None = key(
        None, "The frozen language model; null: the joint space ranks.", schema="llm", stage="llm"
    )
    words: dict | None = key(None, "The prompt's words.", schema=PromptWords, stage="llm")
    MAX_ITEM_LIST_LENGTH: int = key(50, "Items of a history that are read, the last ones.", least=1)
    joint_size: int = key(128, "Width of the joint space.", least=1, search=choices(64, 128, 256))
    item_weight: float = key(
        0.5,
        "alpha of eq. 6: weight of the items' reconstruction.",
        least=0,
        search=uniform(0.1, 1.0, step=0.1),
    )
    text_weight: float = key(
        0.2,
        "beta of eq. 6: weight of the texts' reconstruction.",
        least=0,
        search=uniform(0.0, 1.0, step=0.1),
    )
    text_scale: str = key(
        "own",
        "own: text embeddings as the encoder gives them; standard: each column standardised.",
        choices=("own", "standard"),
    )
    similarity: str = key(
        "mean",
        "Of user state and item in the recommendation loss; mean is the authors' code's.",
        choices=("mean", "dot"),
        search=choices("mean", "dot"),
    )
    alignment: bool = key(True, "Whether items and texts are aligned; false: the ablation.")
    positions: str = key(
        "last",
        "Which training position of a user is learnt from: the last, or another one every epoch.",
        choices=("last", "random"),
        search=choices("last", "random"),
    )
    quirks: bool = key(False, "Read user states as the authors' code does.")
    item_route: str = key(
        "item",
        "The joint embedding that ranks an item: of the item, its text, or both.",
        choices=("item", "text", "gated", "profile"),
        stage=EVALUATION,
    )
    gate_interactions: float = key(
        5.0,
        "gated, profile: interactions at which an item's own embedding has weight 0.5.",
        least=0,
        stage=EVALUATION,
        search=uniform(0.0, 10.0, step=1.0, when={"item_route": ["gated", "profile"]}),
    )
    profile_weight: float = key(
        0.25,
        "profile: weight of the nearness to the texts of the history.",
        least=0,
        stage=EVALUATION,
        search=uniform(0.0, 1.0, step=0.05, when={"item_route": "profile"}),
    )
    profile_decay: float = key(
        0.8,
        "profile: what an item of the history counts, of the one after it.",
        least=0,
        stage=EVALUATION,
        search=uniform(0.5, 1.0, step=0.1, when={"item_route": "profile"}),
    )
    history_items: int = key(
        10,
        "Items of the history that a prompt names.",
        least=1,
        stage="llm",
        search=integers(5, 20),
    )
    title_tokens: int = key(32, "Tokens of a title; a longer one is cut.", least=1, stage="llm")
    list_candidates: bool = key(
        True,
        "Whether prompts list the candidates; without, a title's likelihood is that of following the history.",
        stage="llm",
        quiet=True,
    )
    title_control: str = key(
        "none",
        'What exposes a gain that is not the titles\': those of other items (shuffled), or "Item" and '
        "a random number (random).",
        choices=TITLE_CONTROLS,
        stage="llm",
        quiet=True,
    )
    user_token: bool = key(True, "Whether prompts hold the user's soft token.", stage="llm")
    item_tokens: bool = key(True, "Whether prompts hold the items' soft tokens.", stage="llm")
    projections: str = key(
        "trained",
        "Into the language model's input; random: the ablation.",
        choices=("trained", "random"),
        stage="llm",
    )
    train_candidates: int = key(20, "Candidates of a training prompt.", least=2, stage="llm")
    epoch_samples: int = key(
        0, "Users that a pass trains on, drawn for every pass; 0: all.", least=0, stage="llm"
    )
    accumulate: int = key(1, "Batches whose gradients make one step.", least=1, stage="llm")
    likelihood: str = key(
        "sum",
        "Of an answer: the sum over its tokens, their mean, or the lift over the average user's "
        "(without a user token, over a user's without history).",
        choices=("sum", "mean", "lift"),
        stage=EVALUATION,
    )

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Refuse a prompting stage without a language model, and unknown probes.

        Parameters
        ----------
        values : mapping of str to object
            All keys of a stage, each checked by itself.

        Raises
        ------
        ValueError
            Beginning with the key at fault.
        """
        check_probes(values["probes"])
        if values["strategy"] == "llm" and (values["llm"] is None or values["words"] is None):
            raise ValueError(
                "llm or model.words is missing, which strategy llm needs: use model=a_llmrec_align "
                "for the joint space alone"
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
        return {} if values.get("llm") is None else prompting_notes(values, full=full)
