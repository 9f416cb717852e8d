"""A-LLMRec's stage 2 and its ranking with a language model of conf/llm, against a plain way of doing both.

    python -m benchmarks.llm_real [--llm smollm2] [--dtype bfloat16] [--users 4] [--samples 4]

The plain way is that of `benchmarks/llm_plain.py`: transformers with nothing shared or kept, on the same
weights, users and candidates of ml-100k. Tokens a second count each token that must be read once, so that
reading it again does not look like speed; operations and utilisation are those of `benchmarks/llm_large.py`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.llm import Bench, bench_of
from benchmarks.llm_large import TOLERANCE
from benchmarks.llm_large import measure as measured_with_operations
from benchmarks.measure import Measured


def measure(bench: Bench) -> Iterator[Measured]:
    """Ranking, then training, with the tokens that each read."""
    taken = measured_with_operations(bench)
    for count in (of_ranking, of_training):
        measured = next(taken)
        tokens = sum(count(bench, turn) for turn in range(bench.turns))
        measured.facts["tokens_per_cpu_second"] = {
            "plain": tokens / sum(measured.theirs_cpu),
            "ours": tokens / sum(measured.ours_cpu),
        }
        yield measured


def of_ranking(bench: Bench, turn: int) -> int:
    """Tokens of a turn's prompts and of all their answers."""
    users, items_UC = bench.users(turn)
    candidates_UC = torch.from_numpy(items_UC)
    history_UH = bench.model._latest(bench.read(users))
    prompts = bench.model.prompts.build(history_UH, candidates_UC).prompt_B
    return int(prompts.sum() + bench.model.prompts.answers(candidates_UC).lengths_BC.sum())


def of_training(bench: Bench, turn: int) -> int:
    """Tokens of a turn's samples with their answers."""
    return int(bench.model._rows(bench.samples(turn)).length_B.sum())


def main() -> None:
    """Measure a language model of conf/llm."""
    from benchmarks.__main__ import report

    parser = argparse.ArgumentParser(prog="python -m benchmarks.llm_real")
    parser.add_argument("--llm", default="smollm2")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--users", type=int, default=4, help="ranked in a turn")
    parser.add_argument("--samples", type=int, default=4, help="trained on in a turn")
    parser.add_argument("--batch", type=int, default=2, help="samples of a training step")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        bench = bench_of(
            [
                "model=a_llmrec",
                "dataset=ml-100k",
                f"llm={given.llm}",
                f"model.llm.dtype={given.dtype}",
                f"model.stages.llm.train_batch_size={given.batch}",
            ],
            name=f"{given.llm} in {given.dtype}, ml-100k",
            folder=Path(folder),
            device=torch.device(given.device),
            ranked=given.users,
            trained=given.samples,
            turns=given.turns,
            tolerance=TOLERANCE[getattr(torch, given.dtype)],
        )
        report(measure(bench))


if __name__ == "__main__":
    main()
