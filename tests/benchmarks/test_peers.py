"""RecBole's side of a benchmark is RecBole's: its class, its loader, its epoch, its evaluation."""

import json
from pathlib import Path

import pytest
import torch
from recbole.data.dataloader.general_dataloader import TrainDataLoader
from recbole.data.dataloader.user_dataloader import UserDataLoader
from recbole.trainer import Trainer

from benchmarks.evaluation import METRICS, our_evaluation, recboles_evaluation
from benchmarks.pair import Side
from benchmarks.passes import CASES
from benchmarks.setup_model import recbole_class, untrained, untrained_peer
from experiments.training.strategies.recbole_loop import RecBoleLoop
from models import REGISTERED

AUTOENCODERS = ("MultiVAE", "RaCT")


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    return ["dataset=tiny", f"data_dir={tmp_path}"]


@pytest.mark.parametrize("name", CASES)
class TestPeer:
    def test_is_recboles_class_with_its_loader_and_epoch(
        self, name: str, tiny: list[str], tmp_path: Path
    ) -> None:
        peer = untrained_peer([*tiny, f"model={CASES[name].yaml}"], tmp_path)
        assert type(peer.model) is recbole_class(name)
        assert type(peer.model) is not REGISTERED.get(name)
        assert type(peer.model).__module__.startswith("recbole.model.")
        loop = peer.strategy()
        assert isinstance(loop, RecBoleLoop)
        expected = UserDataLoader if name in AUTOENCODERS else TrainDataLoader
        assert type(loop._loader) is expected
        assert type(loop._trainer)._train_epoch is Trainer._train_epoch

    def test_has_the_hyperparameters_of_ours(
        self, name: str, tiny: list[str], tmp_path: Path
    ) -> None:
        chosen = [*tiny, f"model={CASES[name].yaml}"]
        ours, theirs = untrained(chosen, tmp_path), untrained_peer(chosen, tmp_path)
        shapes = [
            {key: tuple(value.shape) for key, value in made.model.state_dict().items()}
            for made in (ours, theirs)
        ]
        assert shapes[0] == shapes[1]
        for key in ("learning_rate", "weight_decay", "embedding_size", "dropout_prob"):
            assert ours.recbole[key] == theirs.recbole[key]


def test_a_class_that_recbole_does_not_ship_is_refused() -> None:
    with pytest.raises(LookupError, match="NoSuchModel"):
        recbole_class("NoSuchModel")


def test_lightgcn_of_recbole_multiplies_uncoalesced_coordinates(
    tiny: list[str], tmp_path: Path
) -> None:
    theirs = untrained_peer([*tiny, "model=lightgcn"], tmp_path).model.norm_adj_matrix
    ours = untrained([*tiny, "model=lightgcn"], tmp_path).model.norm_adj_matrix
    assert theirs.layout == torch.sparse_coo
    assert not theirs.is_coalesced()
    torch.testing.assert_close(ours.to_dense(), theirs.to_dense())


@pytest.mark.parametrize("users_at_once", [None, 7])
def test_both_evaluations_agree(tiny: list[str], tmp_path: Path, users_at_once: int | None) -> None:
    made = untrained_peer([*tiny, "model=bpr"], tmp_path)
    theirs, ours = recboles_evaluation(made, users_at_once)(), our_evaluation(made)()
    assert ours["full/ndcg_at_10"] > 0
    for our, their in METRICS.items():
        expected = theirs[f"{their.lower()}@10"]
        assert ours[f"full/{our}_at_10"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_two_processes_take_turns(tiny: list[str]) -> None:
    chosen = [*tiny, "model=bpr", "model.train_batch_size=512"]
    with Side("recbole", chosen) as recbole, Side("paddock", chosen) as paddock:
        assert recbole.facts["model"] == "recbole.model.general_recommender.bpr.BPR"
        assert paddock.facts["hyperparameters"]["strategy"] == "pairs"
        theirs, ours = recbole.turn(None), paddock.turn(None)
        part = recbole.turn(0.0)
    assert theirs["share"] == ours["share"] == 1.0
    assert theirs["batches"] == ours["batches"] > 2
    assert part["share"] == 1 / theirs["batches"]
    assert json.dumps(part)


def test_a_side_that_fails_says_so() -> None:
    with pytest.raises(RuntimeError, match="recbole ended with 1"):
        Side("recbole", ["model=bpr", "no_such_key=1"])
