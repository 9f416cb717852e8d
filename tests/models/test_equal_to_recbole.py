"""Our classes against RecBole's own of the same name, with the same weights and the same batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import ItemKNN as RecBoleItemKNN
from recbole.model.general_recommender import LightGCN as RecBoleLightGCN
from recbole.model.general_recommender import Pop as RecBolePop
from recbole.model.general_recommender import RaCT as RecBoleRaCT
from recbole.model.sequential_recommender import GRU4Rec as RecBoleGRU4Rec
from recbole.model.sequential_recommender import SASRec as RecBoleSASRec
from sklearn.metrics import ndcg_score
from torch import nn

from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import Split
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.strategies.recbole_loop import training_loader
from models.gru4rec import GRU4Rec
from models.itemknn import ItemKNN, cosines
from models.lightgcn import LightGCN, SymmetricProduct
from models.pop import Pop
from models.ract import STAGES, RaCT
from models.sasrec import SASRec

Built = tuple[Any, Any, Any]
Build = Callable[[dict[str, Any]], Built]


@pytest.fixture
def both(tiny_data: Prepared, tiny_split: Split, tmp_path: Path) -> Callable[..., tuple[Any, Any]]:
    """Our model and RecBole's, in evaluation mode and with equal weights."""

    def make(theirs: type[nn.Module], **values: Any) -> tuple[Any, Any]:
        ours, dataset, config = build(
            resolve_model({"name": theirs.__name__, **values}).last,
            TrainingContext(
                data=tiny_data,
                split=tiny_split,
                seed=3,
                device=torch.device("cpu"),
                folder=tmp_path,
            ),
        )
        other = theirs(config, dataset)
        other.load_state_dict(ours.state_dict())
        return ours.eval(), other.eval()

    return make


def gradients(model: nn.Module, batch: Interaction) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model.calculate_loss(batch).backward()
    return {name: w.grad for name, w in model.named_parameters() if w.grad is not None}


class TestSASRec:
    LENGTH = 12

    @pytest.fixture
    def batch(self, tiny_data: Prepared) -> Interaction:
        """Histories of every length, three of each, with targets and negatives."""
        generator = torch.Generator().manual_seed(0)
        lengths_B = torch.arange(1, self.LENGTH + 1).repeat(3)

        def items(*shape: int) -> torch.Tensor:
            return torch.randint(1, tiny_data.n_items + 1, shape, generator=generator)

        history_BL = items(len(lengths_B), self.LENGTH)
        history_BL[torch.arange(self.LENGTH) >= lengths_B[:, None]] = 0
        return Interaction(
            {
                "item_id_list": history_BL,
                "item_length": lengths_B,
                "item_id": items(len(lengths_B)),
                "neg_item_id": items(len(lengths_B)),
            }
        )

    @pytest.fixture(params=[(2, 2), (1, 1), (3, 4)], ids=lambda p: f"layers{p[0]}-heads{p[1]}")
    def pair(self, both: Any, request: Any) -> tuple[Any, Any]:
        layers, heads = request.param
        ours, theirs = both(
            RecBoleSASRec,
            MAX_ITEM_LIST_LENGTH=self.LENGTH,
            n_layers=layers,
            n_heads=heads,
            hidden_size=16,
            inner_size=32,
        )
        assert type(ours) is SASRec
        assert type(theirs) is RecBoleSASRec
        # Untrained biases are 0, norms are 1 and attention is even, which would hide a missing one.
        generator = torch.Generator().manual_seed(0)
        for value in ours.state_dict().values():
            if value.ndim == 1:
                value.add_(0.3 * torch.randn(value.shape, generator=generator))
            else:
                value.mul_(10)
        theirs.load_state_dict(ours.state_dict())
        return ours, theirs

    @torch.no_grad()
    def test_scores(self, pair: tuple[Any, Any], batch: Interaction) -> None:
        ours, theirs = pair
        expected = theirs.full_sort_predict(batch)
        assert expected.std() > 0.5
        torch.testing.assert_close(ours.full_sort_predict(batch), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(ours.predict(batch), theirs.predict(batch), atol=1e-5, rtol=0)

    def test_gradients_of_the_loss(self, pair: tuple[Any, Any], batch: Interaction) -> None:
        ours, theirs = pair
        found, expected = gradients(ours, batch), gradients(theirs, batch)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)

    @torch.no_grad()
    def test_the_state_after_each_position_is_that_of_the_prefix(
        self, pair: tuple[Any, Any], batch: Interaction
    ) -> None:
        ours, theirs = pair
        full = batch["item_length"] == self.LENGTH
        history_BL = batch["item_id_list"][full]
        states_BLD = ours.states(history_BL)
        for length in range(1, self.LENGTH + 1):
            prefix_BL = history_BL.clone()
            prefix_BL[:, length:] = 0
            expected = theirs.forward(prefix_BL, torch.full((len(prefix_BL),), length))
            torch.testing.assert_close(states_BLD[:, length - 1], expected, atol=1e-5, rtol=0)

    def test_the_bpr_loss(self, both: Any, batch: Interaction) -> None:
        ours, theirs = both(RecBoleSASRec, MAX_ITEM_LIST_LENGTH=self.LENGTH, loss_type="BPR")
        torch.testing.assert_close(ours.calculate_loss(batch), theirs.calculate_loss(batch))

    def test_dropout_is_at_work_in_training(self, both: Any, batch: Interaction) -> None:
        for which in ("hidden_dropout_prob", "attn_dropout_prob"):
            off = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
            ours, _ = both(RecBoleSASRec, MAX_ITEM_LIST_LENGTH=self.LENGTH, **{**off, which: 0.5})
            still = ours.calculate_loss(batch)
            assert torch.equal(ours.calculate_loss(batch), still)
            ours.train()
            assert not torch.equal(ours.calculate_loss(batch), still)


class TestGRU4Rec:
    def test_states_of_all_positions_are_recboles_of_the_prefixes(self, both: Any) -> None:
        ours, theirs = both(RecBoleGRU4Rec, MAX_ITEM_LIST_LENGTH=7, hidden_size=8, num_layers=2)
        assert type(ours) is GRU4Rec
        assert type(theirs) is RecBoleGRU4Rec
        items_BL = torch.randint(1, 100, (5, 7), generator=torch.Generator().manual_seed(1))
        states_BLD = ours.states(items_BL)
        for length in range(1, 8):
            prefix_BL = items_BL.clone()
            prefix_BL[:, length:] = 0
            lengths_B = torch.full((5,), length)
            expected = theirs.forward(prefix_BL, lengths_B)
            torch.testing.assert_close(states_BLD[:, length - 1], expected)
            torch.testing.assert_close(ours.forward(prefix_BL, lengths_B), expected)


class TestLightGCN:
    @pytest.fixture
    def repeated(self, prepared: Any, tmp_path: Path) -> Callable[..., tuple[Any, Any]]:
        """A small graph with repeated interactions, and items that no training row holds."""
        histories = [[1, 2, 1, 3, 9, 8], [2, 2, 4, 1, 7], [5, 1, 6, 2, 5, 10, 3], [6, 11, 12]]
        data, split = prepared(histories)
        assert len(data.items) == 21, "repeated interactions are kept"

        def make(require_pow: bool) -> tuple[Any, Any]:
            values = {"embedding_size": 4, "n_layers": 3, "reg_weight": 0.5}
            ours, dataset, config = build(
                resolve_model({"name": "LightGCN", "require_pow": require_pow, **values}).last,
                TrainingContext(
                    data=data, split=split, seed=3, device=torch.device("cpu"), folder=tmp_path
                ),
            )
            theirs = RecBoleLightGCN(config, dataset)
            theirs.load_state_dict(ours.state_dict())
            assert type(ours) is LightGCN
            return ours, theirs

        return make

    def test_the_adjacency_matrix(self, repeated: Any) -> None:
        ours, theirs = repeated(True)
        found = ours.norm_adj_matrix
        assert found.layout == torch.sparse_csr
        expected = theirs.norm_adj_matrix.to_dense()
        assert (expected.sum(dim=1) == 0).sum() > 2, "some nodes are isolated"
        torch.testing.assert_close(found.to_dense(), expected, atol=0, rtol=1e-6)
        assert torch.equal(found.to_dense(), found.to_dense().T)

    def test_by_hand(self, repeated: Any, prepared: Any) -> None:
        ours, _ = repeated(True)
        users, items = ours.interaction_matrix.row, ours.interaction_matrix.col
        edges = {(int(u), int(i)) for u, i in zip(users, items, strict=True)}
        degree = np.zeros(ours.n_users + ours.n_items)
        for user, item in edges:
            degree[user] += 1
            degree[ours.n_users + item] += 1
        dense = ours.norm_adj_matrix.to_dense().numpy()
        assert np.count_nonzero(dense) == 2 * len(edges)
        for user, item in edges:
            node = ours.n_users + item
            assert dense[user, node] == pytest.approx((degree[user] * degree[node]) ** -0.5)

    @pytest.mark.parametrize("require_pow", [True, False])
    def test_forward_loss_and_gradients(self, repeated: Any, require_pow: bool) -> None:
        ours, theirs = repeated(require_pow)
        for found, expected in zip(ours.forward(), theirs.forward(), strict=True):
            torch.testing.assert_close(found, expected)
        batch = Interaction(
            {
                "user_id": torch.tensor([1, 1, 2, 3, 4, 3]),
                "item_id": torch.tensor([1, 2, 1, 5, 6, 5]),
                "neg_item_id": torch.tensor([4, 5, 5, 4, 1, 9]),
            }
        )
        torch.testing.assert_close(ours.calculate_loss(batch), theirs.calculate_loss(batch))
        found, expected = gradients(ours, batch), gradients(theirs, batch)
        for name, gradient in expected.items():
            assert gradient.abs().max() > 1e-4
            torch.testing.assert_close(found[name], gradient, msg=name)
        torch.testing.assert_close(ours.full_sort_predict(batch), theirs.full_sort_predict(batch))

    def test_require_pow_is_the_squared_norm(self, repeated: Any) -> None:
        losses = []
        batch = Interaction({name: torch.tensor([1]) for name in ("user_id", "item_id")})
        batch["neg_item_id"] = torch.tensor([2])
        for require_pow in (True, False):
            ours, _ = repeated(require_pow)
            weights = ours.state_dict()
            rows = [("user", 1), ("item", 1), ("item", 2)]
            norms = torch.stack([weights[f"{s}_embedding.weight"][i].norm() for s, i in rows])
            regulariser = (norms**2).sum() / 2 if require_pow else norms.sum()
            losses.append(ours.calculate_loss(batch) - 0.5 * regulariser)
        torch.testing.assert_close(losses[0], losses[1])

    def test_the_gradient_of_the_product(self) -> None:
        random = sp.random(6, 6, density=0.4, random_state=1)
        symmetric = (random + random.T).tocsr()
        matrix = torch.sparse_csr_tensor(
            torch.from_numpy(symmetric.indptr.astype(np.int64)),
            torch.from_numpy(symmetric.indices.astype(np.int64)),
            torch.from_numpy(symmetric.data),
            size=(6, 6),
        )
        dense = torch.randn(6, 3, dtype=torch.double, requires_grad=True)
        assert torch.autograd.gradcheck(lambda x: SymmetricProduct.apply(matrix, x), (dense,))


class TestRaCT:
    SMALL = {"mlp_hidden_size": [16], "latent_dimension": 8, "critic_layers": [5]}
    USERS = Interaction({"user_id": torch.arange(1, 21)})

    @pytest.fixture
    def at(self, tiny_data: Prepared, tiny_split: Split, tmp_path: Path) -> Callable[[str], RaCT]:
        values = resolve_model({"name": "RaCT", "train_stage": STAGES[0], **self.SMALL}).last

        def make(stage: str) -> RaCT:
            model, _, config = build(
                # As it is, for a stage that no configuration may name.
                {**values, "train_stage": stage},
                TrainingContext(
                    data=tiny_data,
                    split=tiny_split,
                    seed=1,
                    device=torch.device("cpu"),
                    folder=tmp_path,
                ),
            )
            assert model.train_stage == config["train_stage"] == stage
            return model.train()

        return make

    @pytest.mark.parametrize("k", [1, 5, 40])
    def test_the_critics_target_is_the_ndcg_of_the_held_out_part(self, at: Any, k: int) -> None:
        rng = np.random.default_rng(0)
        predicted = rng.normal(size=(30, 20)).astype(np.float32)
        row = rng.random((30, 20)) < 0.5
        fed = row & (rng.random((30, 20)) < 0.5)
        held_out = row & ~fed
        assert held_out.any(axis=1).all()
        normalised = row / np.sqrt(row.sum(axis=1, keepdims=True))
        found = at("critic_pretrain").calculate_ndcg(
            torch.from_numpy(predicted),
            torch.from_numpy(normalised * held_out),
            torch.from_numpy(normalised * fed),
            min(k, 20),
        )
        for user in range(30):
            rest = ~fed[user]
            expected = ndcg_score([held_out[user, rest]], [predicted[user, rest]], k=k)
            assert found[user].item() == pytest.approx(expected, abs=1e-5)

    def test_the_prediction_is_left_alone(self, at: Any) -> None:
        model = at("critic_pretrain")
        scores = torch.randn(4, 9)
        before = scores.clone()
        fed = torch.rand(4, 9).round()
        model.calculate_ndcg(scores, 1 - fed, fed, 3)
        assert torch.equal(scores, before)
        RecBoleRaCT.calculate_ndcg(model, scores, 1 - fed, fed, 3)
        assert not torch.equal(scores, before), "RecBole's own writes into it"

    def test_a_user_without_held_out_items(self, at: Any) -> None:
        nothing = torch.zeros(1, 5)
        found = at("critic_pretrain").calculate_ndcg(torch.randn(1, 5), nothing, nothing, 3)
        assert found.tolist() == [0.0]

    @pytest.mark.parametrize("stage", STAGES)
    def test_which_part_learns(self, at: Any, stage: str) -> None:
        model = at(stage)
        model.calculate_loss(self.USERS).backward()
        moved = {
            part: any(
                w.grad is not None and w.grad.abs().max() > 0
                for w in getattr(model, part).parameters()
            )
            for part in ("encoder", "decoder", "critic_net")
        }
        actor = stage != "critic_pretrain"
        assert moved == {"encoder": actor, "decoder": actor, "critic_net": not actor}
        trainable = {
            name.partition(".")[0] for name, w in model.named_parameters() if w.requires_grad
        }
        assert trainable == ({"encoder", "decoder"} if actor else {"critic_net"})

    def test_an_unknown_stage(self, at: Any) -> None:
        with pytest.raises(ValueError, match=r"must be one of actor_pretrain, .* not 'pretrain'"):
            at("pretrain")
        with pytest.raises(PaddockError, match=r"model\.train_stage=pretrain is unknown"):
            resolve_model({"name": "RaCT", "train_stage": "pretrain"})

    def test_the_actors_loss_and_scores_are_recboles(self, both: Any) -> None:
        # Without dropout, which draws for every item in one and for those of the row in the other.
        keys = {**self.SMALL, "dropout_prob": 0.0, "train_stage": "actor_pretrain"}
        ours, theirs = both(RecBoleRaCT, **keys)
        assert type(theirs) is RecBoleRaCT
        losses = []
        for model in (ours.train(), theirs.train()):
            torch.manual_seed(5)
            losses.append(model.calculate_loss(self.USERS))
        torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)
        scores = [model.eval().full_sort_predict(self.USERS) for model in (ours, theirs)]
        torch.testing.assert_close(*scores, atol=1e-5, rtol=1e-5)


class TestPop:
    def test_every_training_interaction_counts(
        self, tiny_data: Prepared, tiny_split: Split, tmp_path: Path
    ) -> None:
        ours, dataset, config = build(
            resolve_model({"name": "Pop", "train_batch_size": 700}).last,
            TrainingContext(
                data=tiny_data,
                split=tiny_split,
                seed=1,
                device=torch.device("cpu"),
                folder=tmp_path,
            ),
        )
        theirs = RecBolePop(config, dataset)
        for batch in training_loader(config, dataset):
            ours.calculate_loss(batch)
            theirs.calculate_loss(batch)
        expected = np.bincount(tiny_split.train_items, minlength=tiny_data.n_items + 1)
        assert type(ours) is Pop
        assert ours.item_cnt.squeeze(1).tolist() == expected.tolist()
        assert theirs.item_cnt.max() <= 8, "RecBole's counts an item once a batch"
        scores = ours.full_sort_predict(Interaction({"user_id": torch.tensor([1, 2])})).view(2, -1)
        np.testing.assert_allclose(scores, np.tile(expected / expected.max(), (2, 1)))


class TestItemKNN:
    @pytest.mark.parametrize(
        "values",
        [{"k": 500}, {"k": 10}, {"k": 10, "shrink": 20.0}, {"k": 10, "knn_method": "user"}],
    )
    def test_similarities_and_scores(
        self, both: Callable[..., tuple[Any, Any]], values: dict[str, Any]
    ) -> None:
        ours, theirs = both(RecBoleItemKNN, **values)
        assert isinstance(ours, ItemKNN)
        own, other = ours.w.toarray(), theirs.w.toarray()
        assert ((own > 0).sum(axis=0) <= values["k"]).all() or ours.method == "user"
        # Of equally similar items at the end of a list either may be kept.
        np.testing.assert_allclose(np.sort(own, 0), np.sort(other, 0), rtol=1e-5, atol=1e-7)
        users = Interaction({"user_id": torch.arange(ours.n_users)})
        expected = (
            theirs.interaction_matrix @ own
            if ours.method == "item"
            else own @ theirs.interaction_matrix
        )
        found_UN = ours.full_sort_predict(users)
        np.testing.assert_allclose(found_UN.numpy(), expected, rtol=1e-5, atol=1e-6)
        if values["k"] == 500:
            theirs_UN = theirs.full_sort_predict(users).view(found_UN.shape)
            torch.testing.assert_close(found_UN, theirs_UN, rtol=1e-5, atol=1e-5)
        pairs = Interaction({"user_id": torch.tensor([3, 7]), "item_id": torch.tensor([5, 9])})
        assert ours.predict(pairs).tolist() == [found_UN[3, 5], found_UN[7, 9]]

    def test_items_of_the_same_users_leave_a_list_of_k(self) -> None:
        """Six items of the same two users, so that an item need not be in its own list of three."""
        rows = sp.csr_matrix(np.array([[0] * 7, [0] + [1] * 6, [0] + [1] * 6], dtype=np.float32))
        own = cosines(rows, 2).toarray()
        assert (own.diagonal() == 0).all()
        assert ((own > 0).sum(axis=0)[1:] == 2).all()
