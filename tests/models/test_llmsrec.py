"""LLM-SRec: its losses from whole texts in plain torch, what it keeps, and what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.compose import compose, typed
from experiments.config.resolve import ResolvedModel, resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.training.build import Built, build
from experiments.training.context import TrainingContext
from experiments.training.stages import Trained
from experiments.training.state import load_model_state, model_state
from models.llmsrec.model import LLMSRec
from models.llmsrec.reading import joined

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
    "model.inner_size=24",
    "model.embedding_size=16",
    "model.epochs=2",
)
Make = Callable[..., Built]


def resolved(*words: str) -> ResolvedModel:
    return resolve_model(typed(compose(["dataset=tiny", "model=llm_srec", *SMALL, *words])).model)


@pytest.fixture(scope="module")
def make(tiny_data: Prepared, tiny_split: Split, tmp_path_factory: pytest.TempPathFactory) -> Make:
    def made(*words: str) -> Built:
        context = TrainingContext(
            data=tiny_data,
            split=tiny_split,
            seed=1,
            device=torch.device("cpu"),
            folder=tmp_path_factory.mktemp("llmsrec"),
        )
        return build(resolved(*words).last, context)

    return made


def batch_of(model: LLMSRec) -> Interaction:
    return Interaction(
        {
            model.USER_ID: torch.tensor([1, 2, 3]),
            model.ITEM_SEQ: torch.tensor([[5, 6, 7, 4, 2], [8, 0, 0, 0, 0], [9, 10, 0, 0, 0]]),
            model.ITEM_SEQ_LEN: torch.tensor([5, 1, 2]),
            model.POS_ITEM_ID: torch.tensor([1, 2, 3]),
            model.NEG_ITEM_ID: torch.tensor([[11, 12], [3, 13], [11, 14]]),
        }
    )


def state_after(model: LLMSRec, text: list[int], out_H: Tensor) -> Tensor:
    """The state of the out token after one text, in one plain pass with gradients everywhere."""
    tokens = model.llm.embed(torch.tensor(text))
    whole = torch.cat([tokens, out_H[None]])[None]
    return model.llm.model.base_model(inputs_embeds=whole).last_hidden_state[0, -1]


def mapped(layers: nn.Sequential, state: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
    first, norm, _, last = layers
    inner = state @ first.weight.T + first.bias
    centred = inner - inner.mean()
    scaled = centred / (centred.square().mean() + norm.eps).sqrt() * norm.weight + norm.bias
    return activation(scaled) @ last.weight.T + last.bias


def item_text(model: LLMSRec, item: int, titles: Any) -> list[int]:
    llm = model.llm
    title = llm.tokens([" ".join(titles[item].split())])[0][:6]
    before, after = llm.tokens(
        ['The item title is as follows: "', '", then generate item representation token:']
    )
    return [*(llm.opening() or [llm.eos]), *before, *title, *after]


def user_text(model: LLMSRec, items: list[int], titles: Any) -> list[int]:
    llm = model.llm
    opening, closing, left, right = llm.tokens(
        [
            "This user has read items in the following order:",
            " then generate user representation token:",
            ' "',
            '",',
        ]
    )
    named = llm.tokens([" ".join(titles[item].split()) for item in items])
    entries = [token for title in named for token in [*left, *title[:6], *right]]
    return [*(llm.opening() or [llm.eos]), *opening, *entries, *closing]


def test_the_losses_are_those_of_whole_texts(make: Make, tiny_data: Prepared) -> None:
    model: LLMSRec = make("model.distillation=0.7", "model.uniformity=0.4").model
    titles = tiny_data.item_titles
    batch = batch_of(model)
    leaky = lambda values: torch.where(values > 0, values, 0.01 * values)  # noqa: E731
    histories = [[6, 7, 4, 2], [8], [9, 10]]  # the last four
    users = [
        mapped(
            model.user_vector,
            state_after(model, user_text(model, own, titles), model.user_out),
            leaky,
        )
        for own in histories
    ]
    items = {
        item: mapped(
            model.item_vector,
            state_after(model, item_text(model, item, titles), model.item_out),
            leaky,
        )
        for item in (1, 2, 3, 11, 12, 13, 14)
    }
    read = (batch[model.USER_ID], batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN])
    states = [
        mapped(model.state_vector, state, F.gelu)
        for state in model._backbone.users(*read, train=False)
    ]
    whole = [5, 6, 7, 4, 2], [8], [9, 10]
    retrieval = []
    for user, (target, had) in enumerate(zip((1, 2, 3), whole, strict=True)):
        among = [item for item in items if item == target or item not in had]
        assert (2 in among) == (user != 0), "what a user had is none of his negatives"
        scores = torch.stack([users[user] @ items[item] for item in among])
        retrieval.append(scores.exp().sum().log() - users[user] @ items[target])
    unit = [[each / each.norm() for each in kind] for kind in (users, states)]
    distance = torch.stack(
        [(one - other).square().mean() for one, other in zip(*unit, strict=True)]
    ).mean()
    spread = sum(
        torch.stack(
            [(-2 * (kind[a] - kind[b]).square().sum()).exp() for a, b in ((0, 1), (0, 2), (1, 2))]
        ).mean()
        for kind in unit
    )
    expected = torch.stack(retrieval).mean() + 0.7 * distance + 0.4 * spread
    found = model.calculate_loss(batch)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weights = [each for each in model.parameters() if each.requires_grad]
    ours = torch.autograd.grad(found, weights)
    theirs = torch.autograd.grad(expected, weights)
    assert float(ours[0].abs().max()) > 1e-6, "the user's out token learns"
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_what_is_kept_of_items_changes_nothing(make: Make) -> None:
    kept, read = make().model, make("model.kept_megabytes=0").model
    items = torch.tensor([3, 40, 7, 7])
    torch.testing.assert_close(
        kept._item_states(items), read._item_states(items), atol=1e-5, rtol=1e-5
    )
    assert kept._items._kept is not None
    assert read._items._kept is None


def test_only_out_tokens_and_networks_are_weights(make: Make) -> None:
    tensors, _ = model_state(make().model)
    names = {name.removeprefix("weight/").partition(".")[0] for name in tensors}
    learnt = {"user_out", "item_out", "user_vector", "item_vector", "state_vector"}
    assert names == {*learnt, "backbone_id", "llm_id"}


def test_weights_for_another_language_model_are_refused(make: Make) -> None:
    tensors, plain = model_state(make("model.llm.seed=7").model)
    with pytest.raises(ValueError, match="trained on another language model than tiny"):
        load_model_state(make().model, tensors, plain)


def test_a_context_that_is_too_short_is_told(make: Make) -> None:
    with pytest.raises(ValueError, match="a history of 40 titles of 32 tokens does not fit"):
        make("model.history_items=40", "model.title_tokens=32", "model.llm.context=512")


def test_pieces_are_joined_without_gaps() -> None:
    tokens = torch.tensor([[[1, 2, 0], [3, 0, 0], [4, 5, 6]], [[1, 2, 0], [0, 0, 0], [4, 5, 6]]])
    made, lengths = joined(tokens, torch.tensor([[2, 1, 3], [2, 0, 3]]))
    assert made.tolist() == [[1, 2, 3, 4, 5, 6], [1, 2, 4, 5, 6, 0]]
    assert lengths.tolist() == [6, 5]


def test_training_learns_and_a_full_ranking_is_the_product_of_vectors(
    fit: Callable[..., Trained], tiny_data: Prepared, tiny_split: Split
) -> None:
    losses: list[float] = []
    made = fit(
        resolved("model.epochs=6", "model.learning_rate=3e-3"),
        tiny_data,
        tiny_split,
        on_epoch=lambda record: losses.append(record["metrics"]["train/loss"]),
    )
    assert losses[-1] < losses[-6] - 0.2
    history = tiny_split.history("test")
    users = tiny_split.users("test")[:5]
    scorer = RecBoleScorer(made.model, dataset=made.dataset, history=history)
    found = scorer.score(users)
    for row, user in enumerate(users):
        text = user_text(made.model, history.of(user)[-4:].tolist(), tiny_data.item_titles)
        with torch.no_grad():
            user_W = made.model.user_vector(state_after(made.model, text, made.model.user_out))
            item = item_text(made.model, 17, tiny_data.item_titles)
            item_W = made.model.item_vector(state_after(made.model, item, made.model.item_out))
        torch.testing.assert_close(found[row, 17], user_W @ item_W, atol=1e-3, rtol=1e-3)
