"""A recommender and a language model added by user: weights and metrics from planted likelihoods, by hand."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.bridge.candidates import CandidateScorer
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.compose import compose, typed
from experiments.config.experiment import Experiment
from experiments.config.resolve import ResolvedModel, resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.evaluation.prompts import evaluate_by_prompts
from experiments.evaluation.scoring import ranking_task
from experiments.protocol.candidates import candidates
from experiments.protocol.shared_data import SharedData
from experiments.protocol.split import Phase, Split
from experiments.training import reuse
from experiments.training.context import Selecting, TrainingContext
from experiments.training.stages import Trained, Training, train
from models.allmrec import ALLMRec
from paddock import Callback
from tests.small_allmrec import SMALL

WORDS = ("dataset=tiny", "protocol=loo-c20", "model=a_llmrec-fusion")
LANGUAGE = [word.replace("model.", "model.members.language.") for word in SMALL]
MEMBERS = (
    "model.members.recommender=pop",
    "model.members.language=a_llmrec-quick",
    "model.members.language.epoch_samples=16",
    *LANGUAGE,
)


@pytest.fixture(scope="module")
def shared(
    tiny_data: Prepared, tiny_split: Split, tmp_path_factory: pytest.TempPathFactory
) -> SharedData:
    folder = tmp_path_factory.mktemp("candidates")
    phases: tuple[Phase, ...] = ("valid", "test")
    drawn = {
        phase: {"c20": candidates(tiny_data, tiny_split, phase, size=20, seed=2024, folder=folder)}
        for phase in phases
    }
    return SharedData(data=tiny_data, split=tiny_split, candidates=drawn)


@pytest.fixture(scope="module")
def planted(shared: SharedData) -> NDArray[np.float64]:
    """Likelihoods of a user's items, which know the targets a little; every user has a scale of his own."""
    rng = np.random.default_rng(5)
    split = shared.split
    table_UN = rng.normal(size=(split.n_users + 1, split.n_items + 1))
    phases: tuple[Phase, ...] = ("valid", "test")
    for phase in phases:
        targets = split.targets(phase)
        table_UN[targets.row_of_item(), targets.items] += 1.0
    return (
        rng.normal(size=len(table_UN))[:, None] * 50
        + table_UN * rng.uniform(0.1, 30, size=len(table_UN))[:, None]
    )


@pytest.fixture
def asked(
    planted: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> list[int]:
    """The users whom the language model was asked about, which answers with what is planted."""
    # Planted scores are kept apart from those of other tests on the same data.
    monkeypatch.setattr(reuse, "SCORES", str(tmp_path / "scores"))
    users: list[int] = []

    def answer(self: ALLMRec, interaction: Any, items_BC: Tensor) -> Tensor:
        own_B = interaction[self.USER_ID]
        users.extend(own_B.tolist())
        return torch.from_numpy(planted)[own_B[:, None], items_BC].float()

    monkeypatch.setattr(ALLMRec, "predict_candidates", answer)
    return users


def resolved(*words: str) -> ResolvedModel:
    return resolve_model(typed(compose([*WORDS, *MEMBERS, *words])).model)


def fitted(
    shared: SharedData, folder: Path, *words: str, metric: str = "ndcg", cutoff: int = 10
) -> Trained:
    selecting = Selecting(
        candidates=shared.candidates["valid"]["c20"], metric=metric, cutoff=cutoff
    )
    context = TrainingContext(
        data=shared.data,
        split=shared.split,
        seed=1,
        device=torch.device("cpu"),
        folder=folder,
        selecting=selecting,
    )
    rising = itertools.count()
    return train(
        resolved(*words),
        context,
        Training(identity=str(folder), metric="valid"),
        validate=lambda *_: {"valid": float(next(rising))},
        callbacks=Callback(),
    )


def by_user(scores_TC: NDArray[np.float64]) -> NDArray[np.float64]:
    return (scores_TC - scores_TC.mean(1, keepdims=True)) / scores_TC.std(1, keepdims=True)


def ranks(scores_TC: NDArray[np.float64], wanted_TC: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.array(
        [
            (row >= row[wanted][0] - 1e-9).sum()
            for row, wanted in zip(scores_TC, wanted_TC, strict=True)
        ]
    )


def levels(
    made: Trained, shared: SharedData, planted: NDArray[np.float64], phase: Phase
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """What each member says of the candidates, standardised, and where the target is."""
    given = shared.candidates[phase]["c20"]
    member = made.model.members["recommender"]
    scorer = RecBoleScorer(
        member.model, dataset=member.dataset, history=shared.split.history(phase)
    )
    all_TN = scorer.score(given.users).double().numpy()
    own_TC = np.take_along_axis(all_TN, given.items_TC, axis=1)
    told_TC = planted[given.users[:, None], given.items_TC]
    return by_user(own_TC), by_user(told_TC), given.items_TC == given.targets[:, None]


@pytest.mark.parametrize(("metric", "cutoff"), [("ndcg", 10), ("hit", 1)])
def test_the_weight_is_the_best_of_the_grid_and_metrics_are_those_of_the_sum(
    shared: SharedData,
    planted: NDArray[np.float64],
    asked: list[int],
    tmp_path: Path,
    metric: str,
    cutoff: int,
) -> None:
    made = fitted(shared, tmp_path, metric=metric, cutoff=cutoff)
    own_TC, told_TC, wanted_TC = levels(made, shared, planted, "valid")

    def reached(weight: float) -> tuple[float, float]:
        rank_T = ranks((1 - weight) * own_TC + weight * told_TC, wanted_TC)
        ndcg = float(np.where(rank_T <= 10, 1 / np.log2(rank_T + 1), 0).mean())
        return (float((rank_T <= 1).mean()) if metric == "hit" else ndcg), ndcg

    grid = [step / 20 for step in range(21)]
    chosen = made.model.chosen_weights
    assert sum(chosen.values()) == pytest.approx(1)
    assert reached(chosen["language"]) == pytest.approx(max(map(reached, grid)), abs=1e-6)
    assert reached(chosen["language"]) > max(reached(0.0), reached(1.0))
    # The test: the same sum, through the one evaluator.
    config = typed(compose([*WORDS])).protocol
    made_test = evaluate_by_prompts(made.model, made.dataset, ranking_task("test", shared, config))
    own_TC, told_TC, wanted_TC = levels(made, shared, planted, "test")
    weight = chosen["language"]
    rank_T = ranks((1 - weight) * own_TC + weight * told_TC, wanted_TC)
    assert made_test.means["c20/hit_at_1"] == pytest.approx(float((rank_T == 1).mean()), abs=1e-6)
    expected = np.where(rank_T <= 10, 1 / np.log2(rank_T + 1), 0).mean()
    assert made_test.means["c20/ndcg_at_10"] == pytest.approx(float(expected), abs=1e-6)


def test_the_language_model_is_asked_once_a_user_and_part(
    shared: SharedData, asked: list[int], tmp_path: Path
) -> None:
    config = typed(compose([*WORDS])).protocol
    scored: list[dict[str, float]] = []
    for folder in ("one", "two"):
        # Another process has nothing in memory.
        reuse.kept_scores.cache_clear()
        asked.clear()
        made = fitted(shared, tmp_path / folder)
        phases: tuple[Phase, ...] = ("valid", "test")
        for phase in phases:
            task = ranking_task(phase, shared, config)
            scored.append(evaluate_by_prompts(made.model, made.dataset, task).means)
        if folder == "one":
            users = [shared.split.users(phase).tolist() for phase in phases]
            assert sorted(asked) == sorted(users[0] + users[1])
    assert asked == []
    assert scored[:2] == scored[2:]


def test_scores_of_the_run_itself_are_kept_for_a_fusion(
    fit: Callable[..., Trained],
    shared: SharedData,
    asked: list[int],
    tmp_path: Path,
) -> None:
    alone = fit(resolved().frozen["member language"], shared.data, shared.split)
    assert alone.weights is not None
    config = typed(compose([*WORDS])).protocol
    phases: tuple[Phase, ...] = ("valid", "test")
    for phase in phases:
        keep = reuse.scores_of(shared.data, alone.weights)
        task = ranking_task(phase, shared, config)
        evaluate_by_prompts(alone.model, alone.dataset, task, keep=keep)
    asked.clear()
    made = fitted(shared, tmp_path)
    evaluate_by_prompts(made.model, made.dataset, ranking_task("test", shared, config))
    assert asked == []


def test_another_history_is_another_question(
    shared: SharedData, asked: list[int], tmp_path: Path
) -> None:
    """The same candidates of the same user are asked about again where he has done something since."""
    made = fitted(shared, tmp_path)
    users, items = np.array([1, 2]), np.array([[3, 4, 5], [6, 7, 8]])
    for phase in ("valid", "test"):
        asked.clear()
        history = shared.split.history(phase)  # type: ignore[arg-type]
        scorer = CandidateScorer(made.model, dataset=made.dataset, history=history)
        first = scorer.score_candidates(users, items)
        assert asked == [1, 2]
        torch.testing.assert_close(scorer.score_candidates(users, items), first)
        assert asked == [1, 2]
        scorer.score_candidates(users, items[:, ::-1].copy())
        assert asked == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("protocol=loo",),
            r"protocol=loo ranks all items \(full\), and model.members.language ranks",
        ),
        (
            ("protocol.refit=valid",),
            r"protocol.refit=valid: model.members.language is trained once",
        ),
        (
            ("model.members.language.history_itms=3",),
            r"model\.members\.language\.history_itms: ALLMRec reads no such key",
        ),
        (
            ("model.members.language=fusion",),
            r"model\.members\.language must hold the keys of a model",
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_read(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(PaddockError, match=told):
        Experiment.of(typed(compose([*WORDS, *words])), {"model": "a_llmrec-fusion"})


def test_titles_are_dealt_to_other_items_by_the_control() -> None:
    from experiments.language.titles import controlled

    titles = ["", *(f"film {number}" for number in range(40))]
    assert controlled(titles, None) == titles
    dealt = controlled(titles, "shuffled")
    assert sorted(dealt) == sorted(titles)
    assert sum(one == other for one, other in zip(dealt, titles, strict=True)) < 5
    assert not set(controlled(titles, "random")[1:]) & set(titles)
    member = resolved("text_control=shuffled").frozen["member language"]
    assert member.values["title_control"] == "shuffled"
    assert "title_control" not in resolved().frozen["member language"].values
