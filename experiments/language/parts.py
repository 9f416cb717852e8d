"""The frozen networks of a model that is made with a language model, put together from its keys."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from recbole.model.abstract_recommender import AbstractRecommender

from experiments.config.language_keys import TINY, LLMConfig, TextEncoderConfig
from experiments.data.prepared import Prepared
from experiments.language.encoder import item_embeddings, told
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
    """The parts of a model with these values.

    Parameters
    ----------
    backbone, load_backbone
        The untrained backbone, and what puts the weights of an identity into it.
    """
    llm = None if values["llm"] is None else LLMConfig.of(values["llm"])
    text_encoder = TextEncoderConfig.of(values["text_encoder"])
    texts_NT = item_embeddings(text_encoder, data, device=device)
    place = None if llm is None else _place(llm, data, words=values["words"])
    return Parts(
        backbone=Backbone(backbone, load=load_backbone, quirks=values["quirks"]),
        texts_NT=texts_NT.to(device),
        titles=data.item_titles,
        interactions_N=torch.bincount(
            torch.from_numpy(split.train_items).long(), minlength=split.n_items + 1
        ),
        llm=None if llm is None else partial(_llm, llm, place, device),
        # tiny says its width itself, so that a stage that needs no language model builds none.
        text_encoder=SentenceEncoder(text_encoder, data) if text_encoder.trained else None,
        llm_width=None if llm is None else llm.width if place else width_of(llm_config(llm, None)),
    )


class _Place:
    """Where the tiny language model of a data set lies; it is built when it is first asked for."""

    def __init__(self, keys: LLMConfig, data: Prepared, words: Mapping[str, str]) -> None:
        self._build = partial(
            tiny_folder,
            keys,
            titles=data.item_titles,
            texts=told(data),
            words=dict(words),
            folder=data.path / "llm",
        )
        self._folder: Path | None = None

    def folder(self) -> Path:
        if self._folder is None:
            self._folder = self._build()
        return self._folder


def _place(keys: LLMConfig, data: Prepared, *, words: Mapping[str, str]) -> _Place | None:
    return _Place(keys, data, words) if keys.name == TINY else None


def _llm(keys: LLMConfig, place: _Place | None, device: torch.device) -> FrozenLLM:
    return _loaded(keys, place.folder() if place else None, device)


@cache
def _loaded(keys: LLMConfig, folder: Path | None, device: torch.device) -> FrozenLLM:
    """Loaded once a process: the stages of a run, and runs of a grid, share it."""
    return load_llm(keys, folder=folder, device=device)
