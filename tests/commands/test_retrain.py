"""A planted shift of taste is followed after feedback; a version that makes things worse is not promoted."""

import shutil
from pathlib import Path

import pytest

from experiments.commands.retrain import Retrained, ServedScorer
from experiments.evaluation.evaluate import evaluate
from experiments.evaluation.scoring import ranking_task
from experiments.protocol.shared_data import shared_data
from experiments.runs.folder import RunFolder
from experiments.serving.feedback import Feedback, FeedbackStore
from experiments.serving.finished import config_of
from experiments.serving.recommender import Recommender
from experiments.serving.requests import Request
from experiments.serving.versions import Version

from .command_line import Answer, CommandLine

TINY = ("dataset=tiny", "device=cpu", "threads=1")
SHIFTED = ("i5", "i17", "i29", "i41", "i53", "i65")
"""Items that half of the users turn to, in this order."""


class Shifted:
    """A store with a champion, and feedback by which a hundred users turn to six items together."""

    def __init__(self, folder: Path, empty_store: Path, *model: str) -> None:
        shutil.copy(empty_store, folder / "mlflow.db")
        self.paddock, self.uri = CommandLine(folder), f"sqlite:///{folder / 'mlflow.db'}"
        self.feedback = f"sqlite:///{folder / 'feedback.db'}"
        self.served = self.paddock.trained(*model, *TINY, *self.places)
        store = FeedbackStore(self.feedback)
        for user in range(1, 101):
            # The last one of these is what the test asks for.
            turned = SHIFTED[user % 6 :] + SHIFTED[: user % 6]
            store.add(
                [
                    Feedback(
                        key=f"{user}-{item}",
                        user=f"u{user}",
                        item=item,
                        kind="click",
                        time=2e9 + at,
                    )
                    for at, item in enumerate(turned)
                ]
            )

    @property
    def places(self) -> tuple[str, ...]:
        folder = self.paddock.folder
        return ("tracking=local", f"tracking.uri={self.uri}", f"tracking.artifacts={folder}/files")

    def asked(self, *words: str) -> Answer:
        return self.paddock(
            "mode=retrain", *TINY, *self.places, f"serve.feedback='{self.feedback}'", *words
        )


SASREC = ("model=sasrec", "model.hidden_size=32", "model.epochs=12", "model.stopping_step=0")


@pytest.mark.slow  # two runs that are tracked, and two versions of a data set
@pytest.mark.parametrize(
    ("model", "start"),
    [
        (("model=ease",), "trained from scratch: EASE finds its weights in one pass"),
        (SASREC, "trained on from the served weights"),
    ],
)
def test_a_shift_of_taste_is_followed(
    model: tuple[str, ...], start: str, empty_store: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    shifted = Shifted(tmp_path, empty_store, *model)
    first = shifted.paddock("mode=promote", *TINY, *shifted.places, f"run_id={shifted.served.path}")
    assert first.code == 0, first.err
    answer = shifted.asked(f"run_id={shifted.served.path}")
    assert answer.code == 0, answer.err
    assert "600 of 600 answers are interactions" in answer.out
    assert start in answer.out
    (made,) = [run for run in shifted.paddock.runs if run.run["dataset"] != "tiny"]

    client = MlflowClient(tracking_uri=shifted.uri)
    champion = client.get_model_version_by_alias("tiny-loo", "champion")
    assert champion.run_id == made.published["run_id"]
    # Who turned to one of the items is led to the others.
    new, old = (_found_again(folder, tmp_path) for folder in (made, shifted.served))
    assert new > 2 * old
    if model != SASREC:  # which was trained at the ends of long histories
        assert new >= 15
    metric = made.result["metrics"]["test/full/ndcg_at_10"]
    assert f"trained again {metric:.4f}" in answer.out.replace("\n", " ")

    # What was decided is in the run, and tables show it.
    assert (made.run.get("start", {}).get("folder") == str(shifted.served.path)) == (
        model == SASREC
    )
    decision = made.run["decision"]
    assert decision["promoted"] is True
    assert decision["served"]["folder"] == str(shifted.served.path)
    assert set(decision["served_metrics"]) <= set(made.result["metrics"])
    note = made.run["tags"]["paddock.note.retrained"]
    before = decision["served_metrics"]["test/full/ndcg_at_10"]
    assert metric > 1.5 * before
    assert note == f"promoted: test/full/ndcg_at_10 {metric:.4f}, of the served model {before:.4f}"
    assert client.get_run(champion.run_id).data.tags["paddock.note.retrained"] == note
    made.verify()

    # The same feedback is the same version, on which a run has finished.
    again = shifted.asked(f"run_id={shifted.served.path}")
    assert "finished before, reused" in again.out


def _found_again(folder: RunFolder, place: Path) -> int:
    """Of 30: for each of the items, how many of the five others are the next five."""
    served = Recommender.load(folder.path, data_dir=place / "data")
    found = 0
    for item in SHIFTED:
        items = served.recommend(Request(history=(item,), k=5)).items
        found += len({each.item for each in items} & set(SHIFTED))
    return found


def test_the_served_model_scores_its_own_test_as_its_run_did(tmp_path: Path) -> None:
    """By the way of a version: ids of users and items, and histories, are those of another data set."""
    paddock = CommandLine(tmp_path)
    run = paddock.trained("model=ease", *TINY)
    served = Recommender.load(run.path, data_dir=paddock.data_dir)
    config = config_of(run)
    shared = shared_data(config)
    made = evaluate(ServedScorer(served, shared), ranking_task("test", shared, config.protocol))
    for name, value in made.aggregates.items():
        assert value == run.result["metrics"][f"test/{name}"], name


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [(0.2, 0.1, True), (0.2, 0.2, False), (0.1, 0.2, False), (0.1, float("nan"), True)],
)
def test_what_is_worse_is_not_promoted(
    before: float, after: float, worse: bool, tmp_path: Path
) -> None:
    version = Version(folder=tmp_path, name="v", hash="0", added=1, against=0, unknown=0)
    made = Retrained(
        version=version, folder=RunFolder(tmp_path), metric="test/m", before=before, after=after
    )
    assert made.worse is worse


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "mode=retrain needs run_id="),
        (("run_id=x", "serve.feedback=null"), "serve.feedback is null"),
        (("run_id=nowhere",), "run_id=nowhere is neither a run folder"),
    ],
)
def test_a_wrong_command_is_one_sentence(
    words: tuple[str, ...], said: str, paddock: CommandLine
) -> None:
    answer = paddock("mode=retrain", *TINY, *words)
    assert answer.code != 0
    assert said in answer.err
