"""A language model tuned by adapters: its losses against whole texts in plain torch, and what it shares."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from experiments.bridge.candidates import CandidateScorer
from experiments.config.compose import compose, typed
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import Split
from experiments.training.build import Built, build
from experiments.training.context import TrainingContext
from experiments.training.stages import Trained
from experiments.training.state import load_model_state, model_state
from models.llmrec.model import REJECTED, LLMRec, softmax_dpo

SMALL = (
    "model.backbone.epochs=1",
    "model.backbone.hidden_size=8",
    "model.backbone.inner_size=8",
    "model.llm.layers=2",
    "model.llm.width=32",
    "model.llm.heads=2",
    "model.llm.steps=20",
    "model.title_tokens=6",
    "model.history_items=4",
    "model.train_candidates=5",
    "model.stages.sft.epochs=1",
    "model.stages.sft.eval_step=1",
    "model.stages.sft.learning_rate=1e-2",
)
Make = Callable[..., Built]


def resolved(*words: str) -> Any:
    return resolve_model(
        typed(compose(["dataset=tiny", "model=llm_rec-dpo", *SMALL, *words])).model
    )


@pytest.fixture(scope="module")
def make(tiny_data: Prepared, tiny_split: Split, tmp_path_factory: pytest.TempPathFactory) -> Make:
    def made(*words: str, seed: int = 1, stage: str = "sft") -> Built:
        context = TrainingContext(
            data=tiny_data,
            split=tiny_split,
            seed=seed,
            device=torch.device("cpu"),
            folder=tmp_path_factory.mktemp("llmrec"),
        )
        return build(resolved(*words).stages[stage], context)

    return made


def perturbed(model: LLMRec, seed: int) -> None:
    """Adapters that do something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.adapters.values():
            weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))


def batch_of(model: LLMRec) -> Interaction:
    return Interaction(
        {
            model.USER_ID: torch.tensor([1, 2, 3]),
            model.ITEM_SEQ: torch.tensor([[5, 6, 7], [8, 0, 0], [9, 10, 0]]),
            model.ITEM_SEQ_LEN: torch.tensor([3, 1, 2]),
            model.POS_ITEM_ID: torch.tensor([1, 2, 3]),
            "candidates": torch.tensor([[1, 11, 12, 13, 14], [15, 2, 16, 17, 18], [19, 20, 21, 22, 3]]),
            REJECTED: torch.tensor([[11, 12, 13], [15, 16, 17], [19, 20, 21]]),
        }
    )  # fmt: skip


def whole_texts(model: LLMRec, batch: Interaction, items_BK: Tensor) -> list[list[Tensor]]:
    """The log-probabilities of the tokens of each answer after its prompt, one plain forward each."""
    rows = model.prompts.build(model._latest(batch), batch["candidates"], batch[model.POS_ITEM_ID])
    made = []
    for row, items in enumerate(items_BK.tolist()):
        prompt = rows.tokens_BL[row, : rows.prompt_B[row]].tolist()
        told = []
        for item in items:
            answer = model.prompts.answer(item, candidates=batch["candidates"].shape[1])
            logs = model.llm.model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
            places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
            told.append(logs[list(places), answer])
        made.append(told)
    return made


def test_the_supervised_loss_is_that_of_whole_texts(make: Make) -> None:
    model = make().model
    perturbed(model, 1)
    batch = batch_of(model)
    tokens = whole_texts(model, batch, batch[model.POS_ITEM_ID][:, None])
    expected = -torch.cat([each for row in tokens for each in row]).mean()
    found = model.calculate_loss(batch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    gradients = torch.autograd.grad(found, list(model.adapters.values()))
    plain = torch.autograd.grad(expected, list(model.adapters.values()))
    for one, other in zip(gradients, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_the_preference_loss_is_that_of_whole_texts(make: Make, beta: float) -> None:
    """S-DPO written out over every answer's whole text, its gradients too."""
    model = make(stage="dpo").model
    batch = batch_of(model)
    items_BK = torch.cat([batch[model.POS_ITEM_ID][:, None], batch[REJECTED]], dim=1)

    def sums() -> list[Tensor]:
        return [
            torch.stack([each.sum() for each in row]) for row in whole_texts(model, batch, items_BK)
        ]

    perturbed(model, 1)
    model.keep_reference()
    with torch.no_grad():
        reference = sums()
    perturbed(model, 2)
    losses = []
    for policy_K, reference_K in zip(sums(), reference, strict=True):
        ratio_K = policy_K - reference_K
        terms = [torch.exp(beta * (ratio_K[k] - ratio_K[0])) for k in range(1, len(ratio_K))]
        losses.append(-torch.log(torch.sigmoid(-torch.log(sum(terms)))))
    expected = torch.stack(losses).mean()
    found = model.preference_loss(batch, beta=beta)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    gradients = torch.autograd.grad(found, list(model.adapters.values()))
    plain = torch.autograd.grad(expected, list(model.adapters.values()))
    assert max(float(each.abs().max()) for each in plain) > 1e-3
    for one, other in zip(gradients, plain, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-3)


def test_with_one_rejected_answer_it_is_dpo() -> None:
    policy, reference = torch.tensor([[-3.0, -4.0]]), torch.tensor([[-3.5, -3.0]])
    margin = 0.5 * ((-3.0 + 3.5) - (-4.0 + 3.0))
    expected = -np.log(1 / (1 + np.exp(-margin)))
    assert float(softmax_dpo(policy, reference, beta=0.5)) == pytest.approx(expected, abs=1e-6)
    # What the reference prefers already is worth log 2, as in DPO's paper.
    assert float(softmax_dpo(policy, policy, beta=0.5)) == pytest.approx(np.log(2), abs=1e-6)


def test_fresh_adapters_change_nothing_and_the_model_below_never_changes(make: Make) -> None:
    one, other = make().model, make().model
    base, tuned = other.llm.model, one.llm.model
    shared = {id(each) for each in base.parameters()} & {id(each) for each in tuned.parameters()}
    frozen = [each for each in tuned.parameters() if not each.requires_grad]
    assert {id(each) for each in frozen} == shared, "both have the same frozen weights in memory"
    batch = batch_of(one)
    before = other.prompt_loss(batch, slice(None))[0]
    torch.testing.assert_close(one.prompt_loss(batch, slice(None))[0], before, atol=0, rtol=0)
    perturbed(one, 3)
    assert one.prompt_loss(batch, slice(None))[0] != before
    assert other.prompt_loss(batch, slice(None))[0] == before


def test_adapters_alone_are_saved(make: Make) -> None:
    model = make().model
    tensors, _ = model_state(model)
    names = {name.removeprefix("weight/").partition(".")[0] for name in tensors}
    assert names == {"adapters", "backbone_id", "llm_id"}
    rank, width = 8, 32
    sizes = {"q": width, "k": width, "v": width, "o": width}
    linear = sum(rank * (width + out) for out in sizes.values())
    linear += 3 * rank * (width + 3 * width)  # gate, up and down
    assert sum(each.numel() for each in model.adapters.values()) == 2 * linear
    narrow = make("model.lora_targets=[q_proj,v_proj]", "model.lora_rank=2").model
    assert sum(each.numel() for each in narrow.adapters.values()) == 2 * 2 * 2 * (width + width)


def test_adapters_are_drawn_by_the_seed(make: Make) -> None:
    def first(seed: int) -> Tensor:
        return next(iter(make(seed=seed).model.adapters.values()))

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_adapters_of_another_language_model_are_refused(make: Make) -> None:
    tensors, plain = model_state(make("model.llm.seed=7").model)
    with pytest.raises(ValueError, match="trained on another language model than tiny"):
        load_model_state(make().model, tensors, plain)


def test_layers_that_the_model_lacks_are_told(make: Make) -> None:
    with pytest.raises(
        PaddockError, match=r"no layers of these names; it has down_proj, gate_proj"
    ):
        make("model.lora_targets=[c_attn]")


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("model.lora_targets=[]", "leaves nothing to learn"),
        ("model.stages.dpo.negatives=5", "negatives=5 must be below train_candidates=5"),
        ("model.lora_rank=0", "lora_rank=0 must be at least 1"),
    ],
)
def test_mistakes_are_told(word: str, told: str) -> None:
    with pytest.raises(PaddockError, match=told):
        resolved(word)


@pytest.fixture(scope="module")
def trained(fit: Callable[..., Trained], tiny_data: Prepared, tiny_split: Split) -> Trained:
    return fit(resolved(), tiny_data, tiny_split)


@pytest.mark.parametrize(
    ("kind", "weight"), [("sum", 1.0), ("mean", 1.0), ("lift", 1.0), ("lift", 0.25)]
)
def test_candidates_are_ranked_by_their_likelihood(
    trained: Trained, tiny_split: Split, kind: str, weight: float
) -> None:
    model: LLMRec = trained.model
    history = tiny_split.history("test")
    users, items_BC = np.array([1, 2]), np.array([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5]])
    model._likely, model._lift = kind, weight
    try:
        scorer = CandidateScorer(model, dataset=trained.dataset, history=history)
        found = scorer.score_candidates(users, items_BC)
    finally:
        model._likely, model._lift = "sum", 1.0
    for row, user in enumerate(users):
        known = torch.from_numpy(history.of(user).astype(np.int64))
        batch = Interaction(
            {
                model.ITEM_SEQ: known[None],
                model.ITEM_SEQ_LEN: torch.tensor([len(known)]),
                model.POS_ITEM_ID: torch.from_numpy(items_BC[row, :1]),
                "candidates": torch.from_numpy(items_BC[[row]]),
            }
        )
        with torch.no_grad():
            tokens = whole_texts(model, batch, torch.from_numpy(items_BC[[row]]))[0]
            expected = torch.stack(
                [each.mean() if kind == "mean" else each.sum() for each in tokens]
            )
            if kind == "lift":
                batch.interaction[model.ITEM_SEQ] = torch.zeros_like(known)[None]
                alone = whole_texts(model, batch, torch.from_numpy(items_BC[[row]]))[0]
                expected -= weight * torch.stack([each.sum() for each in alone])
        torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-4)


def test_training_learns(make: Make, trained: Trained) -> None:
    """What was seen in training is answered better than by the model below."""
    before, after = make().model, trained.model
    batch = batch_of(before)
    with torch.no_grad():
        assert after.calculate_loss(batch) < before.calculate_loss(batch)


def test_several_positions_of_a_user(make: Make, tiny_split: Split) -> None:
    from experiments.training.strategies.sft import Sft
    from experiments.training.strategy import Task

    built = make("model.samples_per_user=3")
    task = Task(
        model=built.model, config=built.config, dataset=built.dataset, split=tiny_split, seed=1
    )
    users, places = Sft(task)._drawn()
    lengths = tiny_split.history("valid").lengths
    counted = np.bincount(users, minlength=len(lengths))
    assert np.array_equal(counted, np.where(lengths >= 2, 3, 0))
    assert (places.numpy() >= 1).all()
    assert (places.numpy() < lengths[users.numpy()]).all()
    pairs = set(zip(users.tolist(), places.tolist(), strict=True))
    assert len(pairs) > 1.5 * len(set(users.tolist()))


def test_nothing_of_it_is_written_beside_the_adapters(make: Make, tmp_path: Path) -> None:
    """A module of the language model among the model's own would be saved with every checkpoint."""
    model = make().model
    assert [name for name, _ in model.named_children()] == ["adapters"]
