"""SASRec over text vectors: RecBole's own SASRec over the same item vectors must score alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import SASRec as RecBoleSASRec
from sklearn.decomposition import PCA

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.language_keys import TextEncoderConfig
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.language.embeddings import item_embeddings
from experiments.protocol.split import Split
from experiments.training.build import build
from experiments.training.context import TrainingContext
from models._texts import text_directions

LENGTH, WIDTH = 7, 8
ENCODER = {"name": "tiny", "width": 32}
VALUES = {
    "name": "SASRecText",
    "strategy": "windows",
    "text_encoder": ENCODER,
    "MAX_ITEM_LIST_LENGTH": LENGTH,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_size": WIDTH,
    "inner_size": 16,
    "hidden_dropout_prob": 0.1,
}
Make = Callable[..., tuple[Any, Any, Any]]


@pytest.fixture
def make(tiny_data: Prepared, tiny_split: Split, tmp_path: Path) -> Make:
    """A model with weights that no symmetry hides, its data set and RecBole's configuration."""

    def made(role: str, **values: Any) -> tuple[Any, Any, Any]:
        context = TrainingContext(
            data=tiny_data,
            split=tiny_split,
            seed=3,
            device=torch.device("cpu"),
            folder=tmp_path,
        )
        resolved = resolve_model({**VALUES, "text_role": role, **values})
        model, dataset, config = build(resolved.last, context)
        if role != "start":
            generator = torch.Generator().manual_seed(0)
            with torch.no_grad():
                for value in model.parameters():
                    value.add_(0.3 * torch.randn(value.shape, generator=generator))
        return model.eval(), dataset, config

    return made


@pytest.fixture
def texts(tiny_data: Prepared) -> torch.Tensor:
    return text_directions(item_embeddings(TextEncoderConfig.of(ENCODER), tiny_data))


@pytest.fixture
def histories(tiny_data: Prepared) -> Interaction:
    generator = torch.Generator().manual_seed(1)
    lengths_B = torch.arange(1, LENGTH + 1).repeat(2)
    items_BL = torch.randint(
        1, tiny_data.n_items + 1, (len(lengths_B), LENGTH), generator=generator
    )
    items_BL[torch.arange(LENGTH) >= lengths_B[:, None]] = 0
    return Interaction({"item_id_list": items_BL, "item_length": lengths_B})


def recboles(config: Any, dataset: Any, table_ND: torch.Tensor, rest: dict[str, Any]) -> Any:
    """RecBole's SASRec with an item table and, for all else, other weights."""
    theirs = RecBoleSASRec(config, dataset)
    theirs.load_state_dict({**rest, "item_embedding.weight": table_ND})
    return theirs.eval()


@torch.no_grad()
@pytest.mark.parametrize("role", ["sum", "only"])
def test_one_tower_is_recboles_sasrec_over_the_items_vectors(
    make: Make, texts: torch.Tensor, histories: Interaction, role: str
) -> None:
    model, dataset, config = make(role)
    state = model.state_dict()
    table_ND = texts @ state.pop("item_embedding.of_text.weight").T
    if role == "sum":
        table_ND = table_ND + state.pop("item_embedding.ids.weight")
    assert not [name for name in state if name.startswith("item_embedding")]
    expected = recboles(config, dataset, table_ND, state).full_sort_predict(histories)
    assert expected.std() > 0.3
    torch.testing.assert_close(model.full_sort_predict(histories), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_scores_of_two_towers_are_added(
    make: Make, texts: torch.Tensor, histories: Interaction
) -> None:
    model, dataset, config = make("late")
    state = model.state_dict()
    text_table_ND = texts @ state.pop("item_embedding.of_text.weight").T
    ids_ND = state.pop("item_embedding.ids.weight")
    tower = {name: state.pop(name) for name in list(state) if name.startswith("text_")}
    names = {
        "text_position_embedding": "position_embedding",
        "text_norm": "LayerNorm",
        "text_encoder": "trm_encoder",
    }
    text_state = {
        new + name.removeprefix(old): value
        for name, value in tower.items()
        for old, new in names.items()
        if name.startswith(f"{old}.")
    }
    both = [(ids_ND, state), (text_table_ND, text_state)]
    expected = sum(recboles(config, dataset, *each).full_sort_predict(histories) for each in both)
    torch.testing.assert_close(model.full_sort_predict(histories), expected, atol=1e-4, rtol=1e-4)


def test_all_of_a_model_is_trained_but_the_texts(make: Make, tiny_split: Split) -> None:
    from experiments.training.losses import full_softmax

    model, *_ = make("late")
    model.train()
    states = model.states(torch.tensor([[1, 2, 3]]))
    full_softmax(states[0], model.item_embedding.weight, torch.tensor([2, 3, 4])).backward()
    without = [name for name, value in model.named_parameters() if value.grad is None]
    assert without == []
    assert not any("texts_NW" in name for name in model.state_dict())


@torch.no_grad()
def test_ids_start_as_the_texts_principal_components(make: Make, texts: torch.Tensor) -> None:
    model, *_ = make("start")
    found_ND = model.item_embedding.weight[1:].numpy()
    expected_ND = PCA(WIDTH, svd_solver="full").fit_transform(texts[1:].double().numpy())
    signs_D = np.sign((found_ND * expected_ND).sum(0))
    np.testing.assert_allclose(
        found_ND, expected_ND * signs_D / expected_ND.std() * 0.02, rtol=1e-2, atol=1e-5
    )


@torch.no_grad()
def test_more_width_than_texts_have_components_is_filled_with_zeros(make: Make) -> None:
    model, *_ = make("start", hidden_size=64)
    assert model.item_embedding.weight[1:, 32:].abs().max() == 0
    assert model.item_embedding.weight[1:, :16].std(0).min() > 0


@torch.no_grad()
def test_an_item_without_interactions_is_ranked_by_its_text(
    make: Make, texts: torch.Tensor, tiny_split: Split
) -> None:
    model, dataset, _ = make("only")
    other = texts.clone()
    other[7] = other[3]
    model.item_embedding.texts_NW = other
    history = tiny_split.history("test")
    scores = RecBoleScorer(model, dataset=dataset, history=history).score(np.arange(1, 20))
    torch.testing.assert_close(scores[:, 7], scores[:, 3], atol=1e-5, rtol=1e-5)
    assert (scores[:, 7] - scores[:, 4]).abs().max() > 0.01
