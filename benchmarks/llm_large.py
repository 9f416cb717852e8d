"""A-LLMRec's stage 2 and its ranking with the architecture of a large language model, on a GPU.

    python -m benchmarks.llm_large [--model opt-6.7b] [--device cuda] [--dtype bfloat16]

The weights are random and nothing is downloaded: what is measured is seconds, memory and the share of
the device's arithmetic, not quality. Against the plain way of `benchmarks/llm_plain.py`, on the same
weights, users and candidates of ml-100k. The language model's operations are counted for the tokens
that must be read, padding and repetitions left out:

- a token costs 2 for every weight of the layers, and an attended pair 4 a layer for every channel;
- logits cost 2 for every weight of the head, at the positions of an answer alone;
- a training sample costs that twice: its frozen weights get no gradient, its inputs do.

Model flops utilisation is these operations a second, over those of a large product of matrices of the
same type on the same device.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from benchmarks.llm import Bench, ranking, settle, training
from benchmarks.llm_plain import Plain
from benchmarks.measure import Measured
from experiments.config.compose import compose, typed
from experiments.config.language_keys import LLMConfig
from experiments.config.resolve import resolve_model
from experiments.language.encoder import texts_or_titles
from experiments.language.load import context_of, width_of
from experiments.language.tiny import tokenizer_of
from experiments.protocol.shared_data import shared_data
from experiments.training.build import build, frozen_parts
from experiments.training.context import TrainingContext
from experiments.training.strategy import Task
from models.allmrec.frozen_llm import FrozenLLM

MATRIX = {"cuda": 8192, "cpu": 1024}
"""Rows of the square matrices whose product is the device's measure."""
TOLERANCE = {torch.float32: 1e-2, torch.bfloat16: 2.0, torch.float16: 0.5}
"""Of a title's log-likelihood: the rounding of two orders of summation."""


def architectures() -> dict[str, Any]:
    """Configs by name, as their model cards give them."""
    from transformers import LlamaConfig, OPTConfig

    return {
        "opt-6.7b": OPTConfig(
            hidden_size=4096,
            word_embed_proj_dim=4096,
            ffn_dim=16384,
            num_hidden_layers=32,
            num_attention_heads=32,
        ),
        "llama-3.2-1b": LlamaConfig(
            vocab_size=128256,
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            num_attention_heads=32,
            num_key_value_heads=8,
            head_dim=64,
            tie_word_embeddings=True,
            max_position_embeddings=131072,
        ),
    }


@dataclass(frozen=True, kw_only=True)
class Operations:
    """What a language model of this architecture must compute."""

    layers: int
    width: int
    weights: int
    head: int

    @classmethod
    def of(cls, llm: FrozenLLM) -> "Operations":
        text = llm.model.config.get_text_config()
        linear = [each for each in llm.model.base_model.modules() if isinstance(each, nn.Linear)]
        return cls(
            layers=text.num_hidden_layers,
            width=text.num_attention_heads
            * (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads),
            weights=sum(each.weight.numel() for each in linear),
            head=llm.model.get_output_embeddings().weight.numel(),
        )

    def read(self, tokens: int, *, after: int = 0) -> int:
        """Reading so many tokens in a row, behind others that have been read."""
        pairs = tokens * after + tokens * (tokens + 1) // 2
        return 2 * self.weights * tokens + 4 * self.layers * self.width * pairs

    def answer(self, positions: int) -> int:
        return 2 * self.head * positions


def bench_of(
    config: Any,
    *,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    folder: Path,
    sizes: dict[str, int],
    overrides: list[str],
) -> Bench:
    """A model of the second stage whose language model has that architecture and random weights."""
    from transformers import AutoModelForCausalLM

    composed = typed(compose(["model=a_llmrec", "dataset=ml-100k", *overrides]))
    shared = shared_data(composed)
    values = resolve_model(composed.model).stages["llm"]
    tokenizer = tokenizer_of([*texts_or_titles(shared.data), *shared.data.item_titles], size=2000)
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, key, tokenizer.eos_token_id)
    torch.manual_seed(1)
    with torch.device(device):
        network = AutoModelForCausalLM.from_config(config, dtype=dtype)
    llm = FrozenLLM(
        network,
        tokenizer,
        name=name,
        revision=None,
        config_hash="1" * 64,
        context=context_of(LLMConfig.of(values["llm"]), config),
    )
    context = TrainingContext(
        data=shared.data, split=shared.split, seed=1, device=device, folder=folder
    )
    parts = replace(frozen_parts(values, context), llm=lambda: llm, llm_width=width_of(config))
    model, dataset, recbole = build(values, context, parts=parts)
    return Bench(
        model=model,
        task=Task(model=model, config=recbole, dataset=dataset, split=shared.split, seed=1),
        shared=shared,
        plain=Plain(model, shared.data.item_titles, values["words"]),
        name=f"{name}, random weights in {str(dtype).removeprefix('torch.')}, ml-100k",
        tolerance=TOLERANCE[dtype],
        **sizes,
    )


def measure(bench: Bench) -> Iterator[Measured]:
    """Ranking, then training, each with what it needs of the device."""
    device, dtype = bench.model.llm.device, bench.model.llm.dtype
    most = product_rate(device, dtype)
    for take, operations in ((ranking, of_ranking), (training, of_training)):
        measured = take(bench)
        done = sum(operations(bench, turn) for turn in range(bench.turns))
        rate = done / sum(measured.ours)
        measured.facts |= {
            "tflops_per_second": rate / 1e12,
            "tflops_per_second_of_a_product": most / 1e12,
            "model_flops_utilisation": rate / most,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        }
        yield measured


def of_ranking(bench: Bench, turn: int) -> int:
    """Operations of a turn's users."""
    count = Operations.of(bench.model.llm)
    users, items_UC = bench.users(turn)
    candidates_UC = torch.from_numpy(items_UC)
    history_UH = bench.model._latest(bench.read(users))
    prompts = bench.model.prompts.build(history_UH, candidates_UC).prompt_B.tolist()
    answers_UC = bench.model.prompts.answers(candidates_UC).lengths_BC.tolist()
    return sum(
        count.read(prompt)
        + sum(count.read(each - 1, after=prompt) + count.answer(each) for each in answers)
        for prompt, answers in zip(prompts, answers_UC, strict=True)
    )


def of_training(bench: Bench, turn: int) -> int:
    """Operations of a turn's samples, forwards and back to the soft tokens."""
    count = Operations.of(bench.model.llm)
    rows = bench.model._rows(bench.samples(turn))
    lengths = zip(rows.prompt_B.tolist(), rows.length_B.tolist(), strict=True)
    return 2 * sum(
        count.read(whole - 1) + count.answer(whole - prompt) for prompt, whole in lengths
    )


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large product of matrices, the best of ten."""
    n = MATRIX[device.type]
    left, right = (torch.randn((n, n), device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(10):
        settle(device)
        begin = time.perf_counter()
        left @ right
        settle(device)
        seconds.append(time.perf_counter() - begin)
    return 2 * n**3 / min(seconds)


def main() -> None:
    """Measure the given architectures."""
    from benchmarks.__main__ import report

    parser = argparse.ArgumentParser(prog="python -m benchmarks.llm_large")
    parser.add_argument("--model", action="append", choices=architectures())
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--users", type=int, default=16, help="ranked in a turn")
    parser.add_argument("--samples", type=int, default=32, help="trained on in a turn")
    parser.add_argument("--batch", type=int, default=2, help="samples of a training step")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(f"--device {given.device}: torch finds no GPU here; --device cpu takes hours")
    sizes = {"ranked": given.users, "trained": given.samples, "turns": given.turns}
    for name in given.model or architectures():
        with TemporaryDirectory() as folder:
            bench = bench_of(
                architectures()[name],
                name=name,
                device=torch.device(given.device),
                dtype=getattr(torch, given.dtype),
                folder=Path(folder),
                sizes=sizes,
                overrides=[f"model.stages.llm.train_batch_size={given.batch}"],
            )
            report(measure(bench))


if __name__ == "__main__":
    main()
