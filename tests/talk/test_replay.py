"""Conversations measured: against the evaluator, and on a board whose answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.config.compose import compose, typed
from experiments.config.schema import TrackingConfig
from experiments.data.prepare import prepare
from experiments.protocol.split import split_interactions
from experiments.runs.folder import RunFolder
from experiments.talk.assemble import trained_engine
from experiments.talk.replay import Replayed, drawn_users, replay
from tests.commands.command_line import CommandLine
from tests.tracking.mlflow_state import client_of


@pytest.fixture(scope="module")
def ease(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, RunFolder]:
    paddock = CommandLine(tmp_path_factory.mktemp("ease"))
    return paddock, paddock.trained("dataset=tiny", "model=ease", "device=cpu")


def test_the_plain_recommender_is_the_evaluators(ease: tuple[CommandLine, RunFolder]) -> None:
    """Without a word said, hit and NDCG of all users are those that the run has in its result."""
    paddock, folder = ease
    config = typed(compose(["mode=talk", "dataset=tiny", "k=10", *paddock.places]))
    data = prepare(config.dataset, data_dir=paddock.data_dir)
    split = split_interactions(data, config.protocol)
    engine = trained_engine(config, data, split, folder)
    users = drawn_users(split, None, seed=1)
    assert len(users) == data.n_users
    metrics = replay(engine, data, split, users=users, turns=()).metrics()
    result = json.dumps(folder.result)
    found = folder.result["metrics"]
    assert "test/full/ndcg_at_10" in result
    assert metrics["talk/plain/ndcg_at_10"] == pytest.approx(
        found["test/full/ndcg_at_10"], abs=1e-4
    )
    assert metrics["talk/plain/hit_at_1"] == pytest.approx(found["test/full/hit_at_1"], abs=1e-4)


def test_what_answers_knows_no_target(ease: tuple[CommandLine, RunFolder]) -> None:
    paddock, folder = ease
    config = typed(compose(["mode=talk", "dataset=tiny", "k=10", *paddock.places]))
    data = prepare(config.dataset, data_dir=paddock.data_dir)
    split = split_interactions(data, config.protocol)
    engine = trained_engine(config, data, split, folder)
    targets, training = split.targets("test"), split.training()
    for user in (1, 50, 200):
        taken = set((engine.ranker.taken(user - 1) + 1).tolist())
        assert taken == set(training.of(user).tolist())
        assert not taken & set(targets.of(user).tolist())


def test_the_command(ease: tuple[CommandLine, RunFolder], tracking: TrackingConfig) -> None:
    paddock, _ = ease
    places = [
        f"tracking.uri={tracking.uri}",
        f"tracking.artifacts={tracking.artifacts}",
        "tracking=local",
    ]
    words = ("experiment=talk-eval", "dataset=tiny", "model=ease", "talk.users=25")
    answer = paddock(*words, "format=json", *places)
    assert answer.code == 0, answer.err
    made = json.loads(answer.out)
    assert made["users"] == 25
    assert made["talk/unfounded"] == 0
    assert made["talk/understood"] >= 0.95
    for name in ("popular", "plain", "turn_1", "turn_3", "turn_5"):
        assert 0 <= made[f"talk/{name}/hit_at_1"] <= made[f"talk/{name}/ndcg_at_10"] <= 1
    assert 0 < made["talk/milliseconds_p50"] <= made["talk/milliseconds_p95"]
    client = client_of(tracking)
    (run,) = client.search_runs([client.get_experiment_by_name("tiny/talk").experiment_id])
    assert run.data.metrics["talk/turn_5/ndcg_at_10"] == pytest.approx(
        made["talk/turn_5/ndcg_at_10"]
    )
    assert run.data.tags["paddock.model"] == "ease"
    again = json.loads(paddock(*words, "format=json").out)
    assert {key: value for key, value in again.items() if "milliseconds" not in key} == {
        key: value for key, value in made.items() if "milliseconds" not in key
    }


def test_a_short_list_is_refused(ease: tuple[CommandLine, RunFolder]) -> None:
    answer = ease[0]("experiment=talk-eval", "dataset=tiny", "model=ease", "k=3")
    assert (answer.code, "a list of 10 items is measured" in answer.err) == (2, True)


def test_ranks_become_metrics(tmp_path: Path) -> None:
    made = Replayed()
    for rank in (1, 3, 11, None):
        made.score("x", rank)
    metrics = made.metrics()
    assert metrics["talk/x/hit_at_1"] == 0.25
    assert metrics["talk/x/ndcg_at_10"] == pytest.approx((1 + 1 / np.log2(4)) / 4)
