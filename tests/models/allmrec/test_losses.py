"""A second opinion on A-LLMRec's mathematics: both losses in plain torch, from the paper's formulas."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn
from transformers import OPTConfig, OPTForCausalLM

from experiments.language.tiny import tokenizer_of
from models.allmrec import ALLMRec
from models.allmrec.backbone import Backbone
from models.allmrec.frozen_llm import FrozenLLM
from models.allmrec.parts import Autoencoder, Parts, projection

D, T, J, H, N = 6, 10, 5, 16, 9
TITLES = ["", "Alien", "Heat", "", "Fargo (1996)", "말아톤", "Big", "Jaws", "It"]
WORDS = {"noun": "movie", "verb": "watch", "past": "watched"}
VALUES: dict[str, Any] = {
    "train_stage": "align",
    "item_route": "item",
    "item_weight": 0.5,
    "text_weight": 0.2,
    "similarity": "mean",
    "alignment": True,
    "history_items": 3,
    "likelihood": "sum",
    "lift_weight": 1.0,
    "list_candidates": True,
    "rerank": 4,
    "words": WORDS,
    "title_tokens": 30,
    "probes": [],
    "user_token": True,
    "item_tokens": True,
    "gate_interactions": 5.0,
    "profile_weight": 0.5,
    "profile_decay": 0.8,
    "text_scale": "own",
    "joint_size": J,
    "projections": "trained",
    "order_check": False,
    "generation_users": 0,
}


class Product(nn.Module):
    """A backbone whose user states are given by a table of users."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.user_embedding = nn.Embedding(4, D)
        self.item_embedding = nn.Embedding(N, D)
        for table in (self.user_embedding, self.item_embedding):
            table.weight.data = torch.randn(table.weight.shape, generator=generator)


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    tokenizer = tokenizer_of([*TITLES, "This user has watched movie set"], size=300)
    torch.manual_seed(2)
    config = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=H,
        word_embed_proj_dim=H,
        ffn_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        init_std=0.3,
    )
    return FrozenLLM(
        OPTForCausalLM(config),
        tokenizer,
        name="opt",
        revision=None,
        config_hash="1" * 64,
        context=900,
    )


@pytest.fixture
def made(llm: FrozenLLM) -> Any:
    def make(*, text_encoder: nn.Module | None = None, **values: Any) -> ALLMRec:
        generator = torch.Generator().manual_seed(5)
        parts = Parts(
            backbone=Backbone(Product(), load=lambda identity: None),
            texts_NT=torch.randn((N, T), generator=generator) * (torch.arange(N) > 0)[:, None],
            titles=TITLES,
            interactions_N=torch.arange(N),
            llm=lambda: llm,
            llm_width=H,
            text_encoder=text_encoder,
        )
        config = Config({**VALUES, **values, "parts": parts})
        torch.manual_seed(7)
        return ALLMRec(config, DATASET)

    return make


class Config(dict):
    """What RecBole's models read of a configuration."""

    def __init__(self, values: dict[str, Any]) -> None:
        fields = {
            "USER_ID_FIELD": "user",
            "ITEM_ID_FIELD": "item",
            "LIST_SUFFIX": "_list",
            "ITEM_LIST_LENGTH_FIELD": "length",
            "NEG_PREFIX": "neg_",
            "MAX_ITEM_LIST_LENGTH": 4,
            "device": torch.device("cpu"),
        }
        super().__init__({**fields, **values})


DATASET = SimpleNamespace(num=lambda field: N)

BATCH = {
    "user": torch.tensor([1, 2, 3]),
    "item_list": torch.tensor([[1, 2, 0, 0], [3, 4, 5, 6], [7, 0, 0, 0]]),
    "length": torch.tensor([2, 4, 1]),
    "item": torch.tensor([3, 8, 4]),
    "neg_item": torch.tensor([5, 1, 6]),
    "candidates": torch.tensor([[5, 3, 7], [8, 1, 2], [6, 3, 4]]),
}


def linear(layer: nn.Linear, value: Tensor) -> Tensor:
    return value @ layer.weight.T + layer.bias


def sigmoid(value: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-value))


@pytest.mark.parametrize("similarity", ["mean", "dot"])
@pytest.mark.parametrize(
    ("alignment", "scale"), [(True, "own"), (True, "standard"), (False, "own")]
)
def test_stage_1(similarity: str, alignment: bool, scale: str, made: Any) -> None:
    model = made(similarity=similarity, alignment=alignment, text_scale=scale)
    backbone = model._parts.backbone.model
    texts = model._parts.texts_NT
    if scale == "standard":
        items = texts[1:].double().numpy()
        centred = items - items.mean(0)
        texts = torch.tensor(np.vstack([items[:1] * 0, centred / centred.std()])).float()
    total = 0.0
    B = 3
    for b in range(B):
        state = backbone.user_embedding.weight[BATCH["user"][b]]
        for item, label in ((BATCH["item"][b], 1), (BATCH["neg_item"][b], 0)):
            e = backbone.item_embedding.weight[item]
            q = texts[item]
            joint = sigmoid(linear(model.item_autoencoder.encoder, e))
            back = linear(model.item_autoencoder.decoder, joint)
            told = sigmoid(linear(model.text_autoencoder.encoder, q))
            retold = linear(model.text_autoencoder.decoder, told)
            logit = (state * back).sum() / (D if similarity == "mean" else 1)
            p = sigmoid(logit).item()
            recommendation = -math.log(p) if label else -math.log(1 - p)
            total += recommendation / B + 0.5 * ((back - e) ** 2).sum().item() / (B * D)
            if alignment:
                total += ((joint - told) ** 2).sum().item() / (B * J)
                total += 0.2 * ((retold - q) ** 2).sum().item() / (B * T)
    assert model.calculate_loss(Interaction(BATCH)).item() == pytest.approx(total, abs=1e-5)


def test_stage_1_trains_the_text_encoder_but_not_as_a_target(made: Any) -> None:
    """Matching and reconstruction reach it through its own autoencoder; what is rebuilt stands."""
    fixed = made()._parts.texts_NT
    model = made(text_encoder=nn.Embedding.from_pretrained(fixed.clone(), freeze=False))
    loss = model.calculate_loss(Interaction(BATCH))
    assert loss.item() == pytest.approx(made().calculate_loss(Interaction(BATCH)).item())
    (found,) = torch.autograd.grad(loss, model.texts.encoder.weight)
    q = fixed.clone().requires_grad_()
    items = torch.cat([BATCH["item"], BATCH["neg_item"]])
    joint = sigmoid(linear(model.item_autoencoder.encoder, model._parts.backbone.items()[items]))
    told = sigmoid(linear(model.text_autoencoder.encoder, q[items]))
    retold = linear(model.text_autoencoder.decoder, told)
    terms = ((joint - told) ** 2).sum() / (3 * J)
    terms = terms + 0.2 * ((retold - fixed[items]) ** 2).sum() / (3 * T)
    (expected,) = torch.autograd.grad(terms, q)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def norm(layer: nn.LayerNorm, value: Tensor) -> Tensor:
    centred = value - value.mean()
    return centred / torch.sqrt((centred**2).mean() + layer.eps) * layer.weight + layer.bias


def test_stage_2(made: Any, llm: FrozenLLM) -> None:
    model = made(train_stage="llm")
    backbone = model._parts.backbone.model
    embedding = llm.model.get_input_embeddings().weight

    def words(text: str) -> list[Tensor]:
        return [embedding[t] for t in llm.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def user(row: int) -> Tensor:
        first, normed, _, last = model.user_projection
        value = norm(normed, linear(first, backbone.user_embedding.weight[BATCH["user"][row]]))
        return linear(last, torch.where(value > 0, value, 0.01 * value))

    def item(number: int) -> Tensor:
        first, normed, _, last = model.item_projection
        joint = sigmoid(
            linear(model.item_autoencoder.encoder, backbone.item_embedding.weight[number])
        )
        value = norm(normed, linear(first, joint))
        gelu = value * 0.5 * (1 + torch.erf(value / math.sqrt(2)))
        return linear(last, gelu)

    def named(number: int) -> str:
        return f'"{TITLES[number] or "No Title"}"'

    losses: list[float] = []
    for row in range(3):
        seen = BATCH["item_list"][row, : BATCH["length"][row]].tolist()[-3:]
        vectors = [user(row), *words(" is a user representation.This user has watched ")]
        for place, number in enumerate(seen):
            vectors += [*(words(",") if place else []), *words(named(number)), item(number)]
        vectors += words(
            " in the previous. Recommend one next movie for this user to watch next from the "
            "following movie title set, "
        )
        for place, number in enumerate(BATCH["candidates"][row].tolist()):
            vectors += [*(words(",") if place else []), *words(named(number)), item(number)]
        vectors += words(". The recommendation is ")
        answer = llm.tokenizer(named(int(BATCH["item"][row])), add_special_tokens=False)
        for token in [*answer["input_ids"], llm.tokenizer.eos_token_id]:
            with torch.no_grad():
                logits = llm.model(inputs_embeds=torch.stack(vectors)[None]).logits[0, -1]
            losses.append(float(torch.logsumexp(logits, 0) - logits[token]))
            vectors.append(embedding[token])
    expected = sum(losses) / len(losses)
    assert model.calculate_loss(Interaction(BATCH)).item() == pytest.approx(expected, abs=1e-5)


def test_only_the_projections_learn_in_stage_2(made: Any, llm: FrozenLLM) -> None:
    model = made(train_stage="llm")
    before = {name: value.clone() for name, value in llm.model.state_dict().items()}
    steps = torch.optim.Adam([w for w in model.parameters() if w.requires_grad], lr=0.1)
    for _ in range(2):
        model.train()
        loss = model.calculate_loss(Interaction(BATCH))
        steps.zero_grad()
        loss.backward()
        assert all(weight.grad is None for weight in llm.model.parameters())
        assert all(w.grad is None for w in model._parts.backbone.model.parameters())
        assert not llm.model.training
        assert not model._parts.backbone.model.training
        learning = {name for name, w in model.named_parameters() if w.grad is not None}
        assert {name.partition(".")[0] for name in learning} == {
            "user_projection",
            "item_projection",
        }
        assert all(w.grad.abs().sum() > 0 for w in model.parameters() if w.grad is not None)
        steps.step()
    for name, value in llm.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_nothing_frozen_is_among_the_weights(made: Any) -> None:
    names = {name.partition(".")[0] for name in made().state_dict()}
    assert names == {
        "item_autoencoder",
        "text_autoencoder",
        "user_projection",
        "item_projection",
        "average_user",
        "backbone_id",
        "llm_id",
    }


def test_weights_of_another_language_model_are_refused(made: Any) -> None:
    model = made(train_stage="llm")
    model.llm_id.fill_(7)
    with pytest.raises(ValueError, match="another language model than opt"):
        model.calculate_loss(Interaction(BATCH))


def test_sizes_are_the_papers() -> None:
    """Parameters at the paper's widths: SASRec of 50, sentences of 768, OPT-6.7B of 4096."""

    def count(module: nn.Module) -> int:
        return sum(weight.numel() for weight in module.parameters())

    assert count(Autoencoder(50, 128)) == 12_978
    assert count(Autoencoder(768, 128)) == 197_504
    assert count(projection(50, 4096, nn.LeakyReLU())) == 16_998_400
    assert count(projection(128, 4096, nn.GELU())) == 17_317_888


def test_candidates_are_scored_as_they_are_given(made: Any) -> None:
    """The same candidates in another order of the prompt are other prompts with the same answers."""
    model = made(train_stage="llm").eval()
    items = BATCH["candidates"]
    scores = model.predict_candidates(Interaction(BATCH), items)
    again = model.predict_candidates(Interaction(BATCH), items)
    assert torch.equal(scores, again)
    mean = made(train_stage="llm", likelihood="mean").eval()
    lengths = model.prompts.answers(items).lengths_BC
    by_length = mean.predict_candidates(Interaction(BATCH), items)
    torch.testing.assert_close(by_length, scores / lengths, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_the_lift_is_over_the_average_of_the_users_learned_from(made: Any, weight: float) -> None:
    """Of two unequal batches: the mean is over users, not over batches."""
    plain = made(train_stage="llm", likelihood="sum")
    lift = made(train_stage="llm", likelihood="lift", lift_weight=weight)
    first = {name: value[:1] for name, value in BATCH.items()}
    for model in (plain, lift):
        model.calculate_loss(Interaction(first))
        model.calculate_loss(Interaction(BATCH))
        model.eval()
    table = plain._parts.backbone.model.user_embedding.weight.detach()
    mean = table[[1, 1, 2, 3]].mean(0)
    scores = plain.predict_candidates(Interaction(BATCH), BATCH["candidates"])
    found = lift.predict_candidates(Interaction(BATCH), BATCH["candidates"])
    table[1:4] = mean
    average = plain.predict_candidates(Interaction(BATCH), BATCH["candidates"])
    assert not torch.allclose(scores, average)
    torch.testing.assert_close(found, scores - weight * average, atol=1e-5, rtol=1e-5)


def test_ranking_again_keeps_the_backbones_order_below(made: Any) -> None:
    model = made(train_stage="llm", rerank=3).eval()
    interaction = Interaction(BATCH)
    scores = model.full_sort_predict(interaction)
    backbone = model._parts.backbone.model
    plain = backbone.user_embedding.weight[BATCH["user"]] @ backbone.item_embedding.weight.T
    for row in range(3):
        read = set(BATCH["item_list"][row].tolist())
        order = [i for i in plain[row].argsort(descending=True).tolist() if i not in read and i]
        best = order[:3]
        likely = model.predict_candidates(
            Interaction({name: value[[row]] for name, value in BATCH.items()}),
            torch.tensor([best]),
        )[0]
        expected = [best[place] for place in likely.argsort(descending=True).tolist()]
        others = [i for i in plain[row].argsort(descending=True).tolist() if i not in best]
        assert scores[row].argsort(descending=True).tolist() == expected + others


def test_routes(made: Any) -> None:
    """The text stands in for an item: by text wholly, by gated the more the rarer the item is."""
    interaction = Interaction(BATCH)
    item, text, gated = (made(item_route=route).eval() for route in ("item", "text", "gated"))
    states = item._parts.backbone.model.user_embedding.weight[BATCH["user"]]
    e, q = item._parts.backbone.items(), item._parts.texts_NT
    decode, gate = item.item_autoencoder.decode, torch.arange(N) / (torch.arange(N) + 5.0)
    told = decode(item.text_autoencoder.encode(q))
    expected = {
        item: decode(item.item_autoencoder.encode(e)),
        text: told,
        gated: gate[:, None] * e + (1 - gate[:, None]) * told,
    }
    for model, items in expected.items():
        torch.testing.assert_close(model.full_sort_predict(interaction), states @ items.T)


def test_the_profile_is_added_to_the_backbones_score(made: Any) -> None:
    """User by user: both scores standardised over the items, the rarer item's own gated."""
    model = made(item_route="profile").eval()
    found = model.full_sort_predict(Interaction(BATCH)).detach().numpy()
    own = model._parts.backbone.items().double().numpy()
    texts = model.text_autoencoder.encode(model._parts.texts_NT).detach().double().numpy()[1:]
    directions = texts - texts.mean(0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    counts = np.arange(1, N)
    for row in range(3):
        state = model._parts.backbone.model.user_embedding.weight[BATCH["user"][row]]
        trained = own[1:] @ state.double().detach().numpy()
        history = [i for i in BATCH["item_list"][row].tolist() if i]
        profile = np.zeros(J)
        for item in history:
            profile = 0.8 * profile + directions[item - 1]
        near = directions @ profile
        expected = counts / (counts + 5) * (trained - trained.mean()) / trained.std()
        expected += 0.5 * (near - near.mean()) / near.std()
        np.testing.assert_allclose(found[row, 1:], expected, atol=1e-5)
    candidates = model.predict_candidates(Interaction(BATCH), BATCH["candidates"])
    taken = np.take_along_axis(found, BATCH["candidates"].numpy(), axis=1)
    np.testing.assert_allclose(candidates.detach().numpy(), taken, atol=1e-6)


@pytest.mark.parametrize("route", ["item", "text", "gated", "profile"])
def test_the_ranking_follows_the_weights(route: str, made: Any) -> None:
    """After other weights are loaded, and after a training step: as a fresh model with those."""
    batch = Interaction(BATCH)
    model, other = made(item_route=route), made(item_route=route)
    first = model.full_sort_predict(batch)
    assert torch.equal(model.full_sort_predict(batch), first)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(torch.randn_like(weight))
    model.load_state_dict(other.state_dict())
    assert torch.equal(model.full_sort_predict(batch), other.full_sort_predict(batch))
    model.calculate_loss(batch).backward()
    torch.optim.SGD(model.parameters(), lr=10.0).step()
    stepped = model.full_sort_predict(batch)
    assert not torch.equal(stepped, other.full_sort_predict(batch))
    fresh = made(item_route=route)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(stepped, fresh.full_sort_predict(batch))


def test_without_a_history_the_profile_says_nothing(made: Any) -> None:
    empty = {name: value.clone() for name, value in BATCH.items()}
    empty["item_list"][:] = 0
    empty["length"][:] = 1
    scores = made(item_route="profile", gate_interactions=0.0).eval()
    states = scores._parts.backbone.model.user_embedding.weight[BATCH["user"]]
    plain = states @ scores._parts.backbone.items()[1:].T
    found = scores.full_sort_predict(Interaction(empty))[:, 1:]
    torch.testing.assert_close(found.argsort(dim=1), plain.argsort(dim=1))
    assert found.isfinite().all()
