"""The frozen networks of a model that is made with a language model, put together from its keys."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from recbole.model.abstract_recommender import AbstractRecommender

from experiments.config.language_keys import LLMConfig, TextEncoderConfig
from experiments.data.prepared import Prepared
from experiments.language.adapters import adapted
from experiments.language.embeddings import item_embeddings
from experiments.language.encoder import texts_or_titles
from experiments.language.gguf_model import COPIES, gguf_folder
from experiments.language.load import dtype_of, llm_config, load_llm, width_of
from experiments.language.tiny import tiny_folder
from experiments.language.titles import controlled
from experiments.language.trained import SentenceEncoder
from experiments.protocol.split import Split
from models.allmrec.backbone import Backbone
from models.allmrec.frozen_llm import FrozenLLM
from models.allmrec.parts import Parts
from models.llmrec.model import TunedParts
from models.llmsrec.model import ReaderParts


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
    made = None if llm is None else llm_folder(llm, data, words=values["words"], device=device)
    return Parts(
        backbone=Backbone(backbone, load=load_backbone, quirks=values["quirks"]),
        texts_NT=texts_NT.to(device),
        titles=controlled(data.item_titles, values.get("title_control")),
        interactions_N=torch.bincount(
            torch.from_numpy(split.train_items).long(), minlength=split.n_items + 1
        ),
        llm=None if llm is None else partial(shared_llm, llm, made, device),
        # tiny says its width itself, so that a stage that needs no language model builds none.
        text_encoder=SentenceEncoder(text_encoder, data) if text_encoder.trained else None,
        llm_width=None if llm is None else _width(llm, made),
    )


def tuned_parts_of(
    values: Mapping[str, Any],
    *,
    data: Prepared,
    backbone: AbstractRecommender,
    load_backbone: Callable[[str], None],
    device: torch.device,
) -> TunedParts:
    """What a language model with adapters is made with.

    Parameters
    ----------
    values : mapping
        The model's resolved keys.
    data : Prepared
    backbone : AbstractRecommender
        Untrained.
    load_backbone : callable
        Puts the weights of a backbone's identity into it.
    device : torch.device
        Where the language model lies.

    Raises
    ------
    PaddockError
        The language model cannot be loaded, or takes no such adapters.
    """
    llm = LLMConfig.of(values["llm"])
    made = llm_folder(llm, data, words=values["words"], device=device)
    return TunedParts(
        backbone=Backbone(backbone, load=load_backbone),
        titles=controlled(data.item_titles, values.get("title_control")),
        adapt=partial(adapted, partial(shared_llm, llm, made, device)),
    )


def reader_parts_of(
    values: Mapping[str, Any],
    *,
    data: Prepared,
    backbone: AbstractRecommender,
    load_backbone: Callable[[str], None],
    device: torch.device,
) -> ReaderParts:
    """What a model is made with whose frozen language model reads users and items.

    Parameters
    ----------
    values, data, backbone, load_backbone, device
        As of `tuned_parts_of`.

    Raises
    ------
    PaddockError
        The language model cannot be loaded.
    """
    llm = LLMConfig.of(values["llm"])
    made = llm_folder(llm, data, words=values["words"], device=device)
    return ReaderParts(
        backbone=Backbone(backbone, load=load_backbone),
        titles=controlled(data.item_titles, values.get("title_control")),
        llm=partial(shared_llm, llm, made, device),
    )


def llm_folder(
    keys: LLMConfig, data: Prepared, *, words: Mapping[str, str], device: torch.device
) -> Callable[[], Path] | None:
    """Gives the folder of a language model that is made here, which the first call makes.

    Parameters
    ----------
    keys : LLMConfig
    data : Prepared
        Whose texts tiny is built from; a GGUF file's copy is kept beside it.
    words : mapping of str to str
        The prompt's words.
    device : torch.device
        Where the model will compute.

    Returns
    -------
    callable or None
        None for a model that has a folder, or is on the hub.
    """
    if keys.is_tiny:
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
    if keys.gguf is None:
        return None
    place = data.path.parent / COPIES
    return cache(partial(gguf_folder, keys, folder=place, dtype=dtype_of(keys, device)))


def shared_llm(keys: LLMConfig, made: Callable[[], Path] | None, device: torch.device) -> FrozenLLM:
    """The frozen language model, loaded once a process for all stages and runs.

    Parameters
    ----------
    keys : LLMConfig
    made : callable or None
        What `llm_folder` gives.
    device : torch.device
        Where it computes.

    Raises
    ------
    PaddockError
        It cannot be loaded.
    """
    return _loaded_llm(keys, made() if made else None, device)


def _width(keys: LLMConfig, made: Callable[[], Path] | None) -> int:
    if keys.is_tiny:
        return keys.width
    return width_of(llm_config(keys, made() if made else None))


@cache
def _loaded_llm(keys: LLMConfig, folder: Path | None, device: torch.device) -> FrozenLLM:
    return load_llm(keys, folder=folder, device=device)
