"""Conversations measured: against the evaluator, and on a board whose answer is known."""

import json
from pathlib import Path
from typing import Any

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
from tests.llm_server import Server
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
    # The committed messages are of MovieLens; without a language model nothing is judged.
    assert len(made["notes"]) == 2
    assert "name items that this data set does not have" in made["notes"][0]
    assert made["notes"][1].startswith("No language model reads messages or judges answers")
    again = json.loads(paddock(*words, "format=json").out)
    assert {key: value for key, value in again.items() if "milliseconds" not in key} == {
        key: value for key, value in made.items() if "milliseconds" not in key
    }


def test_the_command_with_a_language_model(
    ease: tuple[CommandLine, RunFolder], tracking: TrackingConfig, server: Server
) -> None:
    """It reads, words and judges behind HTTP; what of it is used, and how good it is, is counted."""
    paddock, _ = ease
    labels = paddock.folder / "labels.yaml"
    labels.write_text(
        "- {text: I loved The Longing Heart, intent: feedback, items: {The Longing Heart: like}}\n"
        "- {text: The Longing Heart left me cold, intent: feedback, items: {The Longing Heart: dislike}}\n"
    )

    def reply(body: dict[str, Any]) -> Any:
        if "response_format" not in body:
            # Every other wording holds a title of no catalogue.
            bad = len(body["messages"][1]["content"]) % 2
            return "Casablanca, then." if bad else "there you are."
        if "intent" in body["response_format"]["json_schema"]["schema"]["properties"]:
            cold = "cold" in body["messages"][1]["content"]
            opinion = "dislike" if cold else "like"
            named = {"words": "The Longing Heart", "title": "The Longing Heart", "place": 0}
            items = [{**named, "opinion": opinion}]
            empty = {"filters": [], "profile": [], "query": "", "forget": "nothing"}
            return {"intent": "feedback", "items": items, **empty}
        return {"why": "Held.", "accuracy": 3, "helpfulness": 2, "readability": 1}

    server.reply = reply
    answer = paddock(
        "experiment=talk-eval",
        "dataset=tiny",
        "model=ease",
        "talk.users=8",
        "talk.judged=6",
        f"talk.labels={labels}",
        f"llm_client.base_url={server.url}",
        "format=json",
        f"tracking.uri={tracking.uri}",
        f"tracking.artifacts={tracking.artifacts}",
        "tracking=local",
    )
    assert answer.code == 0, answer.err
    made = json.loads(answer.out)
    assert made["notes"] == []
    for half in ("worked_with", "held_out"):
        for measure in ("precision", "recall"):
            assert made[f"talk/understanding/llm/{half}/items/{measure}"] == 1
            assert made[f"talk/understanding/rules/{half}/titles/{measure}"] == 1
    # The rules do not know what it is to leave someone cold.
    assert made["talk/understanding/rules/held_out/items/recall"] == 0
    assert made["talk/understanding/llm/used"] == 1
    assert made["talk/judge/template/accuracy"] == 3
    assert made["talk/judge/template/helpfulness"] == 2
    assert made["talk/judge/template/given"] == 1
    assert made["talk/judge/agreement/given"] == 1
    assert made["talk/judge/agreement/accuracy/kappa"] == pytest.approx(0)
    assert 0 <= made["talk/say/llm/used"] <= 1
    assert made["talk/unfounded"] == 0
    client = client_of(tracking)
    experiment = client.get_experiment_by_name("tiny/talk").experiment_id
    runs = {run.data.tags["paddock.kind"]: run for run in client.search_runs([experiment])}
    assert runs["talk-eval"].data.metrics["talk/judge/template/accuracy"] == 3
    assert server.url in runs["talk-eval"].data.tags["paddock.llm"]
    assert runs["talk-judge"].data.metrics["helpfulness/mean"] == 2


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
