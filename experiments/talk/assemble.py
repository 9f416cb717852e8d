"""An engine put together from a configuration and a finished run."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.config.groups import values_of
from experiments.config.language_keys import TINY, TextEncoderConfig
from experiments.config.schema import Config
from experiments.errors import PaddockError
from experiments.protocol.split import TRAIN
from experiments.talk.ask.library import Library, read_samples
from experiments.talk.ask.tables import Tables, read_feedback
from experiments.talk.catalogue import Catalogue
from experiments.talk.engine import Engine
from experiments.talk.ranking import ByNeighbours
from experiments.talk.search import item_search
from experiments.talk.texts import texts_of
from experiments.talk.understand import Understanding

if TYPE_CHECKING:
    from experiments.data.prepared import Prepared
    from experiments.language.client import Client
    from experiments.protocol.split import Split
    from experiments.runs.folder import RunFolder
    from experiments.serving.recommender import Recommender


def engine_of(config: Config, data: "Prepared", folder: "RunFolder | None") -> Engine:
    """The engine of a data set.

    Parameters
    ----------
    config : Config
        Its data set's words, `talk`, `k`, device and threads count.
    data : Prepared
    folder : RunFolder or None
        The run that ranks; None: the neighbours among the users.

    Raises
    ------
    PaddockError
        A file of `talk` cannot be read, the encoder cannot be loaded, or the run was trained on other data.
    """
    catalogue = Catalogue.of(data)
    understanding = Understanding(catalogue)
    own = read_samples(config.talk.questions) if config.talk.questions else []
    encoder = _encoder(config.talk.text_encoder)
    texts = texts_of(data, encoder or TextEncoderConfig(), index_above=config.serve.index_above)
    return Engine(
        understanding=understanding,
        ranker=_ranker(config, data, folder, catalogue),
        search=item_search(data, encoder),
        library=Library(
            Tables.of(data, catalogue, feedback=read_feedback(config.talk.feedback)),
            understanding,
            own,
        ),
        texts=texts,
        name=data.name,
        past=config.dataset.text.past,
        client=configured_client(config, data),
        steps=config.talk.llm_steps,
        suggests=config.talk.suggest_outside,
        k=config.k,
    )


def trained_engine(config: Config, data: "Prepared", split: "Split", folder: "RunFolder") -> Engine:
    """The engine that knows the training part alone, to be measured.

    Parameters
    ----------
    config : Config
    data : Prepared
    split : Split
    folder : RunFolder
        The run that ranks, trained on this split.

    Raises
    ------
    PaddockError
        As `engine_of`.
    """
    from experiments.talk.run_ranking import ByRun

    rows = split.rows(TRAIN)
    catalogue = Catalogue(
        items=data.item_features,
        titles=data.item_titles[1:],
        users=data.user_features,
        popularity=np.bincount(data.items[rows], minlength=data.n_items + 1)[1:],
    )
    return Engine(
        understanding=Understanding(catalogue),
        ranker=ByRun.of(data, catalogue, rows=rows, recommender=_recommender(config, folder)),
        search=item_search(data),
        name=data.name,
        past=config.dataset.text.past,
        k=config.k,
    )


def _ranker(
    config: Config, data: "Prepared", folder: "RunFolder | None", catalogue: Catalogue
) -> ByNeighbours:
    if folder is None:
        return ByNeighbours.of(data, catalogue)
    from experiments.talk.run_ranking import ByRun

    recommender = _recommender(config, folder)
    if recommender.data.hash != data.hash:
        raise PaddockError(
            f"{folder.path} was trained on other data than dataset={data.name} gives here: name the "
            "data set of that run"
        )
    return ByRun.of(data, catalogue, recommender=recommender)


def _recommender(config: Config, folder: "RunFolder") -> "Recommender":
    from experiments.serving.recommender import Recommender

    return Recommender.of(
        folder, data_dir=config.data_dir, device=_device(config), threads=config.threads
    )


def configured_client(config: Config, data: "Prepared") -> "Client | None":
    """What asks the language model; None where none is named.

    Parameters
    ----------
    config : Config
    data : Prepared
        Beside it models and answers are kept.

    Raises
    ------
    PaddockError
        The address is wrong, or the model is unknown or cannot be loaded.
    """
    from experiments.language.client import client_of

    return client_of(config.llm_client, folder=data.path.parent, device=_device(config))


def _device(config: Config) -> str:
    return "cpu" if config.device == "auto" else config.device


def _encoder(name: str | None) -> "TextEncoderConfig | None":
    if name is None:
        return None
    values = values_of("text_encoder", name, key="talk.text_encoder")
    if values["name"] == TINY:
        raise PaddockError(
            f"talk.text_encoder={name} hashes words, which are searched by anyway: leave it out, or "
            "name a sentence encoder such as minilm"
        )
    return TextEncoderConfig.of(values)
