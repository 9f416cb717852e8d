"""An engine put together from a configuration and a finished run."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.config.groups import values_of
from experiments.config.schema import Config
from experiments.errors import PaddockError
from experiments.protocol.split import TRAIN
from experiments.talk.ask.library import Library, read_samples
from experiments.talk.ask.tables import Tables
from experiments.talk.catalogue import Catalogue
from experiments.talk.engine import Engine
from experiments.talk.ranking import ByNeighbours, Ranker
from experiments.talk.read_texts import read_texts
from experiments.talk.say import Phraser
from experiments.talk.search import item_search
from experiments.talk.texts import Texts
from experiments.talk.understand import Understanding

if TYPE_CHECKING:
    from experiments.config.language_keys import TextEncoderConfig
    from experiments.data.prepared import Prepared
    from experiments.protocol.split import Split
    from experiments.runs.folder import RunFolder


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
    texts = Texts(read_texts(config.talk.texts), catalogue) if config.talk.texts.source else None
    return Engine(
        understanding=understanding,
        ranker=_ranker(config, data, folder, catalogue),
        search=item_search(data, _encoder(config.talk.text_encoder)),
        library=Library(Tables.of(data, catalogue), understanding, own),
        texts=texts,
        name=data.name,
        past=config.dataset.text.past,
        phraser=_phraser(config, data),
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
    from experiments.serving.recommender import Recommender
    from experiments.talk.run_ranking import ByRun

    rows = split.rows(TRAIN)
    catalogue = Catalogue(
        items=data.item_features,
        titles=data.item_titles[1:],
        users=data.user_features,
        popularity=np.bincount(data.items[rows], minlength=data.n_items + 1)[1:],
    )
    neighbours = ByNeighbours.of(data, catalogue, rows=rows)
    device = "cpu" if config.device == "auto" else config.device
    recommender = Recommender.of(
        folder, data_dir=config.data_dir, device=device, threads=config.threads
    )
    return Engine(
        understanding=Understanding(catalogue),
        ranker=ByRun(recommender, catalogue, neighbours),
        search=item_search(data),
        name=data.name,
        past=config.dataset.text.past,
        k=config.k,
    )


def _ranker(
    config: Config, data: "Prepared", folder: "RunFolder | None", catalogue: Catalogue
) -> Ranker:
    if folder is None:
        return ByNeighbours.of(data, catalogue)
    from experiments.serving.recommender import Recommender
    from experiments.talk.run_ranking import ByRun

    device = "cpu" if config.device == "auto" else config.device
    recommender = Recommender.of(
        folder, data_dir=config.data_dir, device=device, threads=config.threads
    )
    if recommender.data.hash != data.hash:
        raise PaddockError(
            f"{folder.path} was trained on other data than dataset={data.name} gives here: name the "
            "data set of that run"
        )
    return ByRun(recommender, catalogue)


def _phraser(config: Config, data: "Prepared") -> Phraser | None:
    """What asks the language model; None where none is named."""
    keys = config.talk.client
    if keys.base_url is None and keys.llm is None:
        return None
    from experiments.config.language_keys import ClientConfig
    from experiments.language.local import client_of

    given = {name: value for name, value in vars(keys).items() if name != "llm"}
    if keys.llm is not None:
        given["llm"] = values_of("llm", keys.llm, key="talk.client.llm")
    device = "cpu" if config.device == "auto" else config.device
    client = client_of(ClientConfig.of(given), folder=data.path, device=device)
    return client.complete


def _encoder(name: str | None) -> "TextEncoderConfig | None":
    if name is None:
        return None
    from experiments.config.language_keys import TINY, TextEncoderConfig

    values = values_of("text_encoder", name, key="talk.text_encoder")
    if values["name"] == TINY:
        raise PaddockError(
            f"talk.text_encoder={name} hashes words, which are searched by anyway: leave it out, or "
            "name a sentence encoder such as minilm"
        )
    return TextEncoderConfig.of(values)
