"""A sentence encoder that learns along with the alignment: what it gives, learns, keeps and resumes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from experiments.config.compose import compose, typed
from experiments.config.language_keys import TextEncoderConfig
from experiments.config.resolve import ResolvedModel, resolve_model
from experiments.config.values import checked_schema
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.language.encoder import encode, texts_to_encode
from experiments.language.trained import SentenceEncoder
from experiments.protocol.split import Split
from experiments.training.stages import Trained
from experiments.training.state import model_state
from models.allmrec.texts import ItemTexts

CPU = torch.device("cpu")
Fit = Callable[..., Trained]


@pytest.fixture(scope="module")
def folder(tiny_data: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with the words of the data set, as Hugging Face saves one."""
    path = tmp_path_factory.mktemp("bert")
    words = sorted({word for text in texts_to_encode(tiny_data) for word in text.lower().split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (path / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(path / "vocab.txt")).save_pretrained(path)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertModel(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def resolved(folder: Path) -> ResolvedModel:
    words = [
        "model=a_llmrec",
        "dataset=tiny",
        "model.backbone.epochs=1",
        "model.backbone.hidden_size=8",
        "model.llm.steps=2",
        "model.llm.width=16",
        "model.llm.heads=2",
        "model.learning_rate=0.01",
        "model.stages.align.epochs=3",
        "model.stages.llm.epochs=1",
        "model.stages.llm.train_batch_size=64",
        f"model.text_encoder.name={folder}",
        "model.text_encoder.trained=true",
    ]
    return resolve_model(typed(compose(words)).model)


@pytest.fixture(scope="module")
def whole(resolved: ResolvedModel, fit: Fit, tiny_data: Prepared, tiny_split: Split) -> Trained:
    return fit(resolved, tiny_data, tiny_split)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_it_gives_what_the_frozen_encoder_gives(
    pooling: str, folder: Path, tiny_data: Prepared
) -> None:
    keys = TextEncoderConfig(name=str(folder), pooling=pooling, tokens=6)
    expected = encode(keys, str(folder), texts_to_encode(tiny_data), CPU)
    made = SentenceEncoder(keys, tiny_data).eval()
    items = torch.tensor([5, 1, 120])
    torch.testing.assert_close(made(items), expected[items - 1], atol=1e-6, rtol=1e-5)


def test_the_table_follows_the_weights(folder: Path, tiny_data: Prepared) -> None:
    keys = TextEncoderConfig(name=str(folder))
    made = SentenceEncoder(keys, tiny_data)
    texts = ItemTexts(torch.zeros(tiny_data.n_items + 1, 16), made)
    before = texts.table()
    assert texts.table() is before
    assert not before[0].any()
    other = {name: value + 0.1 for name, value in made.state_dict().items()}
    made.load_state_dict(other)
    assert not torch.equal(texts.table(), before)
    made.eval()
    torch.testing.assert_close(texts.table()[1:4], made(torch.tensor([1, 2, 3])))


def test_it_learns_in_the_alignment_alone_and_is_saved(
    whole: Trained, folder: Path, tiny_data: Prepared, tmp_path: Path
) -> None:
    encoder = whole.model.texts.encoder
    before = BertModel.from_pretrained(folder).state_dict()
    after = encoder.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("encoder.layer.0.attention") for name in changed)
    assert not any(name.startswith("pooler") for name in changed)
    assert not any(weight.requires_grad for weight in encoder.parameters())
    saved = model_state(whole.model)[0]
    assert {f"weight/texts.encoder.model.{name}" for name in after} <= set(saved)
    # A second opinion on what ranks: Hugging Face's own model with the learned weights.
    encoder.model.save_pretrained(tmp_path)
    for file in folder.glob("*token*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    keys = TextEncoderConfig(name=str(tmp_path))
    expected = encode(keys, str(tmp_path), texts_to_encode(tiny_data), CPU)
    # What they are scaled by are the embeddings before anything was learned.
    frozen = TextEncoderConfig(name=str(folder))
    first = encode(frozen, str(folder), texts_to_encode(tiny_data), CPU)
    expected = (expected - first.mean(0)) / (first - first.mean(0)).square().mean().sqrt()
    torch.testing.assert_close(whole.model.texts.table()[1:], expected, atol=1e-4, rtol=1e-4)


def test_a_stopped_alignment_goes_on_to_the_same_weights(
    resolved: ResolvedModel,
    fit: Fit,
    whole: Trained,
    tiny_data: Prepared,
    tiny_split: Split,
    tmp_path: Path,
) -> None:
    def stop(record: dict[str, Any]) -> None:
        if record["stage"] == "align" and record["epoch"] == 2:
            raise KeyboardInterrupt

    values = resolved.values
    alone = resolve_model({**values, "stages": {"align": values["stages"]["align"]}})
    kept = tiny_data.path / "stages"
    away = kept.rename(tmp_path / "stages")
    try:
        run = tmp_path / "run"
        run.mkdir()
        with pytest.raises(KeyboardInterrupt):
            fit(alone, tiny_data, tiny_split, folder=run, on_epoch=stop)
        again = fit(alone, tiny_data, tiny_split, folder=run)
    finally:
        for file in away.iterdir():
            (kept / file.name).write_bytes(file.read_bytes())
    found, expected = model_state(again.model)[0], model_state(whole.model)[0]
    names = [name for name in found if name.startswith(("weight/texts", "weight/text_auto"))]
    assert len(names) > 10
    assert all(torch.equal(found[name], expected[name]) for name in names)


def test_an_encoder_without_weights_cannot_learn() -> None:
    given = {"name": "tiny", "trained": True}
    with pytest.raises(PaddockError, match=r"trained=true: tiny has no weights that could learn"):
        checked_schema("model.text_encoder", given, TextEncoderConfig)


def test_an_encoder_that_learns_leaves_its_embeddings_as_they_are() -> None:
    given = {"name": "a-folder", "trained": True, "whitening": 0.5}
    with pytest.raises(PaddockError, match=r"trained=true: whitening=0.5 is of embeddings that st"):
        checked_schema("model.text_encoder", given, TextEncoderConfig)
