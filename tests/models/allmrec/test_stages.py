"""A-LLMRec's stages: which run trains which, what is reused, and what a run can be told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments import checkpoint
from experiments.bridge.candidates import CandidateScorer
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.compose import compose, typed
from experiments.config.resolve import ResolvedModel, resolve_model
from experiments.config.schema import RankingConfig
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.evaluation.evaluate import RankingTask
from experiments.evaluation.generation import generation
from experiments.evaluation.prompts import evaluate_by_prompts
from experiments.protocol.candidates import candidates
from experiments.protocol.split import Sequences, Split, split_interactions
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.reuse import product_of
from experiments.training.stages import Trained
from experiments.training.state import load_model_state, model_state
from experiments.training.strategies.prompts import LLMPrompts
from tests.small_allmrec import SMALL

ALONE = [word for word in SMALL if ".llm." not in word]

Fit = Callable[..., Trained]


def resolved(*overrides: str, model: str = "a_llmrec") -> ResolvedModel:
    small = SMALL if model == "a_llmrec" else [w for w in ALONE if "rerank" not in w]
    return resolve_model(
        typed(compose([f"model={model}", "dataset=tiny", *small, *overrides])).model
    )


@pytest.fixture(scope="module")
def train(fit: Fit, tiny_data: Prepared, tiny_split: Split) -> Callable[..., tuple[Trained, Any]]:
    def run(*overrides: str, model: str = "a_llmrec", seed: int = 1) -> tuple[Trained, list[str]]:
        stages: dict[str, None] = {}
        trained = fit(
            resolved(*overrides, model=model),
            tiny_data,
            tiny_split,
            seed=seed,
            on_epoch=lambda record: stages.update({record["stage"]: None}),
        )
        return trained, list(stages)

    return run


@pytest.fixture(scope="module")
def whole(train: Callable[..., tuple[Trained, Any]]) -> Trained:
    trained, _ = train()
    return trained


def scores(trained: Trained, split: Split) -> torch.Tensor:
    scorer = RecBoleScorer(trained.model, dataset=trained.dataset, history=split.history("test"))
    return scorer.score(np.arange(1, 21))


def test_what_a_change_trains_again(train: Any, whole: Trained, tiny_split: Split) -> None:
    """The backbone and the alignment are shared by all runs that would train the same."""
    assert train()[1] == ["llm"]
    assert train("model.llm.steps=4")[1] == ["llm"]
    assert train("model.user_token=false")[1] == ["llm"]
    assert train("model.words.noun=book")[1] == ["llm"]
    assert train("model.text_weight=0.5")[1] == ["align", "llm"]
    assert train("text_encoder=tiny", "model.text_encoder.width=32")[1] == ["align", "llm"]
    assert train("model.backbone.hidden_size=16")[1] == ["backbone", "align", "llm"]
    assert train(seed=2)[1] == ["backbone", "align", "llm"]
    again, _ = train()
    assert torch.equal(scores(again, tiny_split), scores(whole, tiny_split))


def test_a_stage_learns_its_own_weights_alone(train: Any, whole: Trained) -> None:
    alone, stages = train("model.stages.align.epochs=2", model="a_llmrec_align")
    assert stages in ([], ["align"])
    joint, all_ = model_state(alone.model)[0], model_state(whole.model)[0]
    assert {name for name in joint if not torch.equal(joint[name], all_[name])} <= {"weight/llm_id"}
    assert {name.partition(".")[0] for name in set(all_) - set(joint)} == {
        "weight/user_projection",
        "weight/item_projection",
        "weight/average_user",
    }


@pytest.mark.parametrize("backbone", ["lightgcn", "gru4rec", "bpr"])
def test_other_backbones(backbone: str, fit: Fit, tiny_data: Prepared, tiny_split: Split) -> None:
    overrides = [f"model.backbone={backbone}", "model.backbone.epochs=1"]
    composed = compose(["model=a_llmrec_align", "dataset=tiny", *overrides])
    trained = fit(resolve_model(typed(composed).model), tiny_data, tiny_split)
    states = trained.model._parts.backbone
    assert states.items().shape == (tiny_data.n_items + 1, states.width)
    found = scores(trained, tiny_split)
    assert torch.isfinite(found[:, 1:]).all()
    assert found[:, 1:].std() > 0


def test_the_backbone_scores_as_its_own_model(whole: Trained, tiny_split: Split) -> None:
    """Its state times its item embeddings are the scores that RecBole's class gives."""
    backbone = whole.model._parts.backbone.model
    scorer = RecBoleScorer(backbone, dataset=whole.dataset, history=tiny_split.history("test"))
    expected = scorer.score(np.arange(1, 21))
    ours = RecBoleScorer(whole.model, dataset=whole.dataset, history=tiny_split.history("test"))
    states = whole.model._states(ours._batch(np.arange(1, 21)))
    found = states @ whole.model._parts.backbone.items().T
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_states_do_not_depend_on_who_is_read_together(whole: Trained) -> None:
    """A batch of all lengths against one user at a time, in rows of the full width."""
    backbone = whole.model._backbone()
    longest = backbone.model.max_seq_length
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randperm(longest, generator=generator) + 1
    items = torch.randint(1, whole.model.n_items, (longest, longest), generator=generator)
    items *= torch.arange(longest) < lengths[:, None]
    users = torch.ones_like(lengths)
    found = backbone.users(users, items, lengths, train=False)
    for row, length in enumerate(lengths):
        alone = backbone.model.forward(items[[row]], length[None])[0]
        torch.testing.assert_close(found[row], alone)


def test_a_saved_model_names_its_backbone_and_misses_it(
    whole: Trained, tiny_data: Prepared, tiny_split: Split, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, {"model": model_state(whole.model)}, notes=None)
    sections, _ = checkpoint.load(path)
    saved = {name.partition(".")[0] for name in sections["model"][0]}
    assert saved == {
        "weight/item_autoencoder",
        "weight/text_autoencoder",
        "weight/user_projection",
        "weight/item_projection",
        "weight/average_user",
        "weight/backbone_id",
        "weight/llm_id",
    }

    def loaded(identity: torch.Tensor | None) -> Trained:
        model, dataset, _ = build(
            resolved().last,
            TrainingContext(
                data=tiny_data,
                split=tiny_split,
                seed=9,
                device=torch.device("cpu"),
                folder=tmp_path,
            ),
        )
        tensors, plain = sections["model"]
        if identity is not None:
            tensors = {**tensors, "weight/backbone_id": identity}
        load_model_state(model, tensors, plain)
        return Trained(model=model, dataset=dataset, progress=whole.progress)

    assert torch.equal(scores(loaded(None), tiny_split), scores(whole, tiny_split))
    with pytest.raises(PaddockError, match="the backbone that the run was trained on"):
        scores(loaded(torch.full((32,), 9, dtype=torch.uint8)), tiny_split)


def test_evaluation_by_prompts(whole: Trained, tiny_data: Prepared, tiny_split: Split) -> None:
    """Candidates in the file's order; the checks; each equal to scoring by hand."""
    ranking = RankingConfig(candidates=6, cutoffs=[1, 3])
    full = RankingConfig(cutoffs=[1, 3])
    drawn = candidates(
        tiny_data, tiny_split, "test", size=6, seed=1, folder=tiny_data.path / "candidates"
    )
    task = RankingTask(
        split=tiny_split,
        phase="test",
        rankings={"full": full, "c6": ranking},
        candidates={"c6": drawn},
        metrics=["hit", "ndcg"],
    )
    made = evaluate_by_prompts(whole.model, whole.dataset, task, checks=True)
    history = tiny_split.history("test")
    users, items = drawn.users[:5].astype(np.int64), drawn.items_TC[:5].astype(np.int64)
    orders = {
        order: CandidateScorer(whole.model, dataset=whole.dataset, history=history, order=order)
        for order in (None, "reversed", "shuffled")
    }
    straight = orders[None].score_candidates(users, items)
    flipped = orders[None].score_candidates(users, items[:, ::-1].copy()).flip(1)
    torch.testing.assert_close(orders["reversed"].score_candidates(users, items), flipped)
    assert not torch.allclose(straight, flipped, atol=1e-6), "the place in the prompt counts"
    shuffled = orders["shuffled"].score_candidates(users, items)
    again = orders["shuffled"].score_candidates(users[[3]], items[[3]])
    torch.testing.assert_close(shuffled[[3]], again, msg="a user's order is drawn by the user")
    hits = (straight.argmax(1).numpy() == (items == drawn.targets[:5, None]).argmax(1)).astype(
        float
    )
    assert made.per_user["c6/hit_at_1"].to_list()[:5] == hits.tolist()
    assert {"order_reversed/c6/hit_at_1", "order_shuffled/c6/ndcg_at_3"} <= set(made.system)
    assert {"full/hit_at_1", "c6/hit_at_1"} <= set(made.means)


def test_generation_is_measured(whole: Trained, tiny_data: Prepared, tiny_split: Split) -> None:
    drawn = candidates(
        tiny_data, tiny_split, "test", size=6, seed=1, folder=tiny_data.path / "candidates"
    )
    whole.model.generation_users = 5
    measured = generation(whole.model, whole.dataset, tiny_split, {"c6": drawn})
    whole.model.generation_users = 0
    assert set(measured) == {
        "generation_constrained/c6/hit_at_1",
        "generation_free/c6/exact_hit_at_1",
        "generation_free/c6/invalid",
    }
    assert all(0 <= value <= 1 for value in measured.values())
    free = measured["generation_free/c6/exact_hit_at_1"] + measured["generation_free/c6/invalid"]
    assert free <= 1
    assert generation(whole.model, whole.dataset, tiny_split, {"c6": drawn}) == {}


def test_titles_alone_have_nothing_to_learn(train: Any) -> None:
    trained, _ = train("model.user_token=false", "model.item_tokens=false")
    assert not any(weight.requires_grad for weight in trained.model.parameters())


def test_random_projections_stay_as_they_are(train: Any, whole: Trained) -> None:
    one, _ = train("model.projections=random")
    more, _ = train("model.projections=random", "model.stages.llm.epochs=2")
    tensors, others = model_state(one.model)[0], model_state(more.model)[0]
    learned = model_state(whole.model)[0]
    name = "weight/user_projection.0.weight"
    assert torch.equal(tensors[name], others[name])
    assert not torch.equal(tensors[name], learned[name])


REFUSED = {
    "model.llm=null": "model.llm or model.words is missing",
    "model.llm.name=nobody/nothing": "neither a local folder nor a model that can be fetched",
    "model.llm.dtype=int3": "model.llm.dtype=int3 is unknown",
    "model.llm.quantisation=2bit": "model.llm.quantisation=2bit is unknown: did you mean 8bit?",
    "model.text_encoder.pooling=max": "did you mean",
    "model.backbone=null": "model.backbone",
    "model.rerank=1": "model.rerank=1 must be at least 2",
    "model.strategy=windows": "windows",
    "model.words.noun=3": "model.words.noun=3",
    "model.item_route=texts": "did you mean text?",
}


@pytest.mark.parametrize("override", REFUSED)
def test_mistakes_are_told(
    override: str,
    monkeypatch: pytest.MonkeyPatch,
    fit: Fit,
    tiny_data: Prepared,
    tiny_split: Split,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PaddockError) as caught:
        fit(resolved(override), tiny_data, tiny_split)
    assert REFUSED[override] in str(caught.value)


def test_lift_without_a_user_token_is_over_a_user_without_history(
    train: Any, tiny_split: Split
) -> None:
    """For a user without a history nothing is left."""
    without = ("model.user_token=false", "model.item_tokens=false", "model.likelihood=lift")
    trained, _ = train(*without)
    users, items = np.array([1, 2]), np.array([[1, 2, 3, 4], [4, 3, 2, 1]])
    history = tiny_split.history("test")

    def scored(known: Sequences) -> Any:
        scorer = CandidateScorer(trained.model, dataset=trained.dataset, history=known)
        return scorer.score_candidates(users, items)

    nothing = Sequences(
        indptr=np.zeros_like(history.indptr), items=np.zeros(0, dtype=history.items.dtype)
    )
    assert scored(history).abs().max() > 1e-2
    torch.testing.assert_close(scored(nothing), torch.zeros(2, 4), atol=1e-5, rtol=0)


def test_quantisation_needs_a_gpu(fit: Fit, tiny_data: Prepared, tiny_split: Split) -> None:
    with pytest.raises(PaddockError, match="quantisation=8bit needs a GPU"):
        fit(resolved("model.llm.quantisation=8bit"), tiny_data, tiny_split)


def test_who_is_scored_changes_no_stage_that_keeps_its_last_epoch(
    tiny_data: Prepared, tmp_path: Path
) -> None:
    def identity(keep: str, scored_users: int | None) -> str:
        protocol = replace(typed(compose(["dataset=tiny"])).protocol, scored_users=scored_users)
        values = {**resolved().stages["align"], "keep": keep, "stopping_step": 0}
        context = TrainingContext(
            data=tiny_data,
            split=split_interactions(tiny_data, protocol),
            seed=1,
            device=torch.device("cpu"),
            folder=tmp_path,
        )
        return product_of(values, context, selection=str(scored_users)).identity

    assert identity("last", None) == identity("last", 5)
    assert identity("best", None) != identity("best", 5)


def test_a_pass_over_a_part_of_the_users(train: Any, tiny_split: Split) -> None:
    """Drawn anew for every pass; the alignment, which reads no such key, is shared as before."""
    seen: list[set[int]] = []
    own = LLMPrompts.__dict__["_batches"]

    def noted(self: LLMPrompts, users: torch.Tensor, *rest: torch.Tensor) -> Any:
        seen.append(set(users.tolist()))
        return own(self, users, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LLMPrompts, "_batches", noted)
        words = (
            "model.epoch_samples=30",
            "model.stages.llm.epochs=2",
            "model.stages.llm.eval_step=2",
        )
        _, stages = train(*words, seed=1)
    assert stages == ["llm"]
    assert [len(users) for users in seen] == [30, 30]
    assert seen[0] != seen[1]
