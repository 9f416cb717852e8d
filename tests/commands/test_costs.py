"""What a run says of its cost, against a scorer that is known to take its time."""

import time

import numpy as np
import pytest
import torch

from experiments.bridge.scorer import RecBoleScorer
from experiments.evaluation import scoring

from .command_line import CommandLine

SLEPT_MS = 2.0
"""Per user; some ten times what the model itself takes."""


class Sleepy(RecBoleScorer):
    """A scorer that sleeps for every user that it scores."""

    def score(self, users_B: np.ndarray) -> torch.Tensor:
        time.sleep(SLEPT_MS / 1e3 * len(users_B))
        return super().score(users_B)


def test_scoring_is_told_in_milliseconds_per_user(
    paddock: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "RecBoleScorer", Sleepy)
    run = paddock.trained("model=pop", "dataset=tiny", "device=cpu", "threads=1")
    result = run.result
    # No less than what was slept, and no more than the phase took that scored as many users twice.
    evaluated_ms = 1e3 * result["phases"]["evaluate"]["seconds"]
    assert SLEPT_MS <= result["scoring_ms_per_user"] <= evaluated_ms / result["users"]
    assert 2 * SLEPT_MS * result["users"] <= evaluated_ms
