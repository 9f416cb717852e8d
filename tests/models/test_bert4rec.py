"""Our BERT4Rec against RecBole's own, with the same weights and the same histories."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import BERT4Rec as RecBoleBERT4Rec

from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.training.build import build
from experiments.training.context import TrainingContext
from models.bert4rec import BERT4Rec

LENGTH = 9
Make = Callable[..., tuple[Any, Any, Any]]


@pytest.fixture
def both(tiny_data: Prepared, tiny_split: Split, tmp_path: Path) -> Make:
    """Our model and RecBole's in evaluation mode, with equal weights, and our data set."""

    def make(**own: Any) -> tuple[Any, Any, Any]:
        values = {"MAX_ITEM_LIST_LENGTH": LENGTH, "hidden_size": 16, "inner_size": 32, **own}
        ours, dataset, config = build(
            resolve_model({"name": "BERT4Rec", "strategy": "masked", **values}).last,
            TrainingContext(
                data=tiny_data,
                split=tiny_split,
                seed=3,
                device=torch.device("cpu"),
                folder=tmp_path,
            ),
        )
        theirs = RecBoleBERT4Rec(config, dataset)
        assert (type(ours), type(theirs)) == (BERT4Rec, RecBoleBERT4Rec)
        # Untrained biases are 0, norms are 1 and attention is even, which would hide a missing one.
        generator = torch.Generator().manual_seed(0)
        for value in ours.state_dict().values():
            noise = torch.randn(value.shape, generator=generator)
            value.add_(0.3 * noise) if value.ndim == 1 else value.mul_(8.0)
        theirs.load_state_dict(ours.state_dict())
        return ours.eval(), theirs.eval(), dataset

    return make


def histories(n_items: int, *, longest: int = LENGTH) -> Interaction:
    """Histories of every length up to `longest`, three of each, padded to LENGTH, with an item."""
    generator = torch.Generator().manual_seed(0)
    lengths_B = torch.arange(1, longest + 1).repeat(3)
    items_BL = torch.randint(1, n_items, (len(lengths_B), LENGTH), generator=generator)
    items_BL[torch.arange(LENGTH) >= lengths_B[:, None]] = 0
    wanted_B = torch.randint(1, n_items, (len(lengths_B),), generator=generator)
    return Interaction({"item_id_list": items_BL, "item_length": lengths_B, "item_id": wanted_B})


@pytest.mark.parametrize("longest", [1, 4, LENGTH])
@pytest.mark.parametrize(("layers", "heads"), [(2, 2), (1, 1), (3, 4)])
def test_scores(layers: int, heads: int, longest: int, both: Make) -> None:
    ours, theirs, _ = both(n_layers=layers, n_heads=heads)
    batch = histories(ours.n_items, longest=longest)
    before = batch["item_id_list"].clone()
    found, expected = (model.full_sort_predict(batch) for model in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.predict(batch), theirs.predict(batch), rtol=1e-5, atol=1e-5)
    assert torch.equal(batch["item_id_list"], before)
    if longest > 1:
        assert expected.std(dim=0).min() > 1e-3, "histories differ"


def test_the_mask_stands_after_the_last_item_and_the_oldest_goes(both: Make) -> None:
    ours, theirs, _ = both()
    items_BL = torch.tensor([[7, 8, 9, 0], [5, 0, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]])
    lengths_B = torch.tensor([3, 1, 4, 1])
    mask = ours.n_items
    found = ours.reconstruct_test_data(items_BL, lengths_B)
    assert found.tolist() == [[8, 9, mask, 0], [mask, 0, 0, 0], [2, 3, 4, mask], [mask, 0, 0, 0]]
    assert torch.equal(found, theirs.reconstruct_test_data(items_BL, lengths_B))
    narrow = ours.reconstruct_test_data(items_BL[:2], lengths_B[:2])
    assert narrow.tolist() == [[8, 9, mask], [mask, 0, 0]]


def test_states_of_all_positions_read_both_ways(both: Make) -> None:
    ours, theirs, _ = both()
    items_BL = histories(ours.n_items)["item_id_list"]
    inside_BL = items_BL != 0
    found, expected = ours(items_BL), theirs(items_BL)
    torch.testing.assert_close(found[inside_BL], expected[inside_BL], rtol=1e-5, atol=1e-5)
    other_BL = items_BL.clone()
    other_BL[LENGTH - 1, LENGTH - 1] = items_BL[LENGTH - 1, LENGTH - 1] % 50 + 1
    changed = (ours(other_BL) - found)[LENGTH - 1].abs().amax(dim=1)
    assert changed.min() > 1e-4, "the last item reaches the first position"


def test_loss_and_gradients_at_masked_positions(both: Make) -> None:
    """RecBole's loss takes the positions padded with 0, which it then leaves out."""
    ours, theirs, _ = both(n_layers=1)
    items_BL = histories(ours.n_items)["item_id_list"][4:]
    masked_BL = torch.zeros_like(items_BL, dtype=torch.bool)
    masked_BL[:, 1::3] = items_BL[:, 1::3] != 0
    positions = [row.nonzero().flatten().tolist() for row in masked_BL]
    width = max(map(len, positions))
    index_BP = torch.tensor([[0] * (width - len(row)) + row for row in positions])
    batch = Interaction(
        {
            theirs.MASK_ITEM_SEQ: items_BL.masked_fill(masked_BL, ours.mask_token),
            theirs.POS_ITEMS: items_BL.gather(1, index_BP),
            theirs.NEG_ITEMS: torch.ones_like(index_BP),
            theirs.MASK_INDEX: index_BP,
        }
    )
    expected = theirs.calculate_loss(batch)
    expected.backward()
    shown_BL = batch[theirs.MASK_ITEM_SEQ]
    states_PE, weight_NE = ours.logit_factors(ours.encode(shown_BL)[masked_BL])
    found = F.cross_entropy(states_PE @ weight_NE.T, items_BL[masked_BL])
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    wanted = {name: w.grad for name, w in theirs.named_parameters()}
    for name, weight in ours.named_parameters():
        # A bias of all keys moves all scores of a query alike.
        assert name.endswith("key.bias") or wanted[name].abs().max() > 1e-5, name
        torch.testing.assert_close(weight.grad, wanted[name], rtol=1e-4, atol=1e-5, msg=name)
    torch.testing.assert_close(ours.calculate_loss(batch), expected, rtol=1e-5, atol=1e-5)


def test_users_are_scored_as_recbole_scores_them(both: Make, tiny_split: Split) -> None:
    longest = 20
    ours, theirs, dataset = both(MAX_ITEM_LIST_LENGTH=longest)
    history = tiny_split.history("test")
    users_B = torch.arange(1, 60).numpy()
    assert history.lengths[users_B].max() > longest > history.lengths[users_B].min()
    found, expected = (
        RecBoleScorer(model, dataset=dataset, history=history).score(users_B)
        for model in (ours, theirs)
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("which", ["hidden_dropout_prob", "attn_dropout_prob"])
def test_dropout_is_at_work_in_training(which: str, both: Make) -> None:
    off = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    ours, _, _ = both(**{**off, which: 0.5})
    items_BL = histories(ours.n_items)["item_id_list"]
    still = ours(items_BL)
    assert torch.equal(ours(items_BL), still)
    ours.train()
    assert not torch.equal(ours(items_BL), still)
