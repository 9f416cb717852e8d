"""The benchmark of large language models, with small ones on the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, OPTConfig

from benchmarks import llm_large
from benchmarks.llm_large import (
    Operations,
    architectures,
    bench_of,
    measure,
    of_ranking,
    of_training,
)

OPT = {
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "ffn_dim": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "vocab_size": 2100,
}
LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 2100,
    "max_position_embeddings": 2048,
}
SMALL = {"opt": (OPTConfig, OPT), "llama": (LlamaConfig, LLAMA)}
SIZES = {"ranked": 2, "trained": 2, "turns": 2}


class Held:
    """As much of a FrozenLLM as is counted."""

    def __init__(self, model: Any) -> None:
        self.model = model


@pytest.mark.parametrize("name", SMALL)
def test_operations_are_those_that_torch_counts(name: str) -> None:
    kind, sizes = SMALL[name]
    model = AutoModelForCausalLM.from_config(kind(**sizes), attn_implementation="eager")
    count = Operations.of(Held(model))  # type: ignore[arg-type]
    length = 50
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.ones((1, length), dtype=torch.int64), use_cache=False)
    # torch counts all pairs of positions, of which a causal model needs those that do not look ahead.
    ahead = 4 * count.layers * count.width * (length * (length - 1) // 2)
    # Tables of rotations are products too.
    tolerance = 0 if name == "opt" else 4 * length * count.width
    assert abs(count.read(length) + ahead + count.answer(length) - counter.get_total_flops()) <= (
        tolerance
    )
    assert count.read(30) + count.read(20, after=30) == count.read(50)


@pytest.mark.parametrize(("name", "dtype"), [("opt", torch.bfloat16), ("llama", torch.float32)])
def test_both_sides_agree_and_the_figures_are_there(
    name: str, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores and losses are compared within; what they are made of is counted."""
    monkeypatch.setitem(llm_large.MATRIX, "cpu", 128)
    kind, sizes = SMALL[name]
    bench = bench_of(
        kind(**sizes),
        name=name,
        device=torch.device("cpu"),
        dtype=dtype,
        folder=tmp_path,
        sizes=SIZES,
        overrides=[f"data_dir={tmp_path / 'data'}", "model.stages.llm.train_batch_size=2"],
    )
    assert bench.model.llm.dtype == dtype
    for measured, operations in zip(measure(bench), (of_ranking, of_training), strict=True):
        facts = measured.summary()
        rate = 1e12 * facts["tflops_per_second"]
        done = [operations(bench, turn) for turn in range(SIZES["turns"])]
        assert len(set(done)) == SIZES["turns"], "every turn has users of its own"
        assert rate * sum(measured.ours) == pytest.approx(sum(done))
        share = facts["tflops_per_second"] / facts["tflops_per_second_of_a_product"]
        assert facts["model_flops_utilisation"] == pytest.approx(share)


def test_the_architectures_have_the_sizes_that_their_names_say() -> None:
    found = {}
    for name, config in architectures().items():
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        found[name] = sum(weight.numel() for weight in model.parameters()) / 1e9
    assert found == {
        "opt-6.7b": pytest.approx(6.66, abs=0.01),
        "llama-3.2-1b": pytest.approx(1.236, abs=0.001),
    }
