"""The frozen networks of a model that is made with a language model, put together from its keys."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from recbole.model.abstract_recommender import AbstractRecommender

from experiments.config.language_keys import TINY, LLMConfig, TextEncoderConfig
from experiments.data.prepared import Prepared
from experiments.language.embeddings import item_embeddings
from experiments.language.encoder import texts_or_titles
from experiments.language.load import llm_config, load_llm, width_of
from experiments.language.tiny import tiny_folder
from experiments.language.trained import SentenceEncoder
from experiments.protocol.split import Split
from models.allmrec.backbone import Backbone
from models.allmrec.frozen_llm import FrozenLLM
from models.allmrec.parts import Parts


def parts_of(
    values: Mapping[str, Any],
    *,
    data: Prepared,
    split: Split,
    backbone: AbstractRecommender,
    load_backbone: Callable[[str], None],
    device: torch.device,
) -> Parts:
    """The parts of a model that is made with a language model.

    Parameters
    ----------
    values : mapping
        The model's resolved keys.
    data : Prepared
    split : Split
        Its train part says how often an item was interacted with.
    backbone : AbstractRecommender
        Untrained.
    load_backbone : callable
        Puts the weights of a backbone's identity into it.
    device : torch.device
        Where the item embeddings and the language model lie.

    Raises
    ------
    PaddockError
        The sentence encoder or the language model cannot be loaded.
    """
    llm = None if values["llm"] is None else LLMConfig.of(values["llm"])
    text_encoder = TextEncoderConfig.of(values["text_encoder"])
    texts_NT = item_embeddings(text_encoder, data, device=device)
    tiny = _tiny(llm, data, words=values["words"]) if llm is not None and llm.name == TINY else None
    return Parts(
        backbone=Backbone(backbone, load=load_backbone, quirks=values["quirks"]),
        texts_NT=texts_NT.to(device),
        titles=data.item_titles,
        interactions_N=torch.bincount(
            torch.from_numpy(split.train_items).long(), minlength=split.n_items + 1
        ),
        llm=None if llm is None else partial(_llm, llm, tiny, device),
        # tiny says its width itself, so that a stage that needs no language model builds none.
        text_encoder=SentenceEncoder(text_encoder, data) if text_encoder.trained else None,
        llm_width=None if llm is None else llm.width if tiny else width_of(llm_config(llm, None)),
    )


def _tiny(keys: LLMConfig, data: Prepared, *, words: Mapping[str, str]) -> Callable[[], Path]:
    """Gives the folder of the data set's tiny language model, which the first call builds."""
    return cache(
        partial(
            tiny_folder,
            keys,
            titles=data.item_titles,
            texts=texts_or_titles(data),
            words=dict(words),
            folder=data.path / "llm",
        )
    )


def _llm(keys: LLMConfig, tiny: Callable[[], Path] | None, device: torch.device) -> FrozenLLM:
    return _loaded_llm(keys, tiny() if tiny else None, device)


@cache
def _loaded_llm(keys: LLMConfig, folder: Path | None, device: torch.device) -> FrozenLLM:
    """Loaded once a process: the stages of a run, and runs of a grid, share it."""
    return load_llm(keys, folder=folder, device=device)
