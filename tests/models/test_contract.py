"""What every model promises to the engine: those with a YAML in conf/model, and RecBole's by name.

A YAML added to conf/model is tested here by itself.
"""

import copy
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import models
from experiments import checkpoint
from experiments.bridge.config import recbole_config
from experiments.bridge.inputs import reads_histories
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.compose import compose, typed
from experiments.config.models import model, model_names
from experiments.config.recbole_models import refusal
from experiments.config.resolve import ResolvedModel, resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.paths import CONF
from experiments.protocol.split import Sequences, Split
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.stages import Trained
from experiments.training.state import load_model_state, model_state
from paddock.testing import differs_by_history

# What `models._compat.quiet_deprecations` keeps from users, pytest shows.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

KEYS = sorted(path.stem for path in (CONF / "model").glob("*.yaml") if path.stem != "recbole")
USERS = np.arange(1, 201)
SMALL = {
    "embedding_size": 8,
    "hidden_size": 8,
    "inner_size": 16,
    "mlp_hidden_size": [8],
    "MAX_ITEM_LIST_LENGTH": 8,
}

# What differs between the families: one pass, autoencoders with an epoch of their own, graphs, a
# random walk, pairs, negatives for sequences, masked and reversed sequences, labels, features.
BY_NAME: dict[str, dict[str, Any]] = {
    "Pop": {},
    "ItemKNN": {},
    "EASE": {},
    "SLIMElastic": {},
    "MultiVAE": {},
    "RecVAE": {"n_enc_epochs": 1},
    "CDAE": {},
    "DiffRec": {"dims_dnn": [8]},
    "ENMF": {},
    "SimpleX": {},
    "NeuMF": {},
    "NGCF": {},
    "SGL": {},
    "LINE": {},
    "DMF": {},
    "BERT4Rec": {},
    "SHAN": {},
    "CORE": {},
    "GRU4Rec": {},
    "GRU4RecCPR": {},
    "GRU4RecF": {"selected_features": ["genres", "title"]},
    "Caser": {},
    "NARM": {},
    "SRGNN": {},
    "NextItNet": {},
    "STAMP": {},
    "FPMC": {},
    "SASRec": {"loss_type": "BPR"},
    "DIN": {},
    "FM": {"numerical_features": ["year", "age"]},
    "DeepFM": {},
    "DSSM": {},
}

Fit = Callable[..., Trained]


@functools.cache
def _configured(key: str) -> dict[str, Any]:
    return dict(typed(compose(["dataset=tiny", f"model={key}"])).model)


def configured(key: str) -> dict[str, Any]:
    return copy.deepcopy(_configured(key))


@functools.cache
def one_epoch(key: str) -> ResolvedModel:
    """The model of a YAML with one epoch for each of its stages and for its backbone, an LLM small."""
    return shortened(resolve_model(configured(key)).values)


def shortened(values: dict[str, Any]) -> ResolvedModel:
    """A model of one epoch a stage, with an LLM that is small, and the same of its members."""
    if values.get("llm"):
        tiny = {"layers": 1, "width": 16, "heads": 2, "steps": 3}
        values["llm"] = {**values["llm"], **tiny}
    if "rerank" in values:
        values["rerank"] = 4
    short = {"epochs": 1, "eval_step": 1}
    batch = {"train_batch_size": 64}
    stages = {name: {**own, **short, **batch} for name, own in (values.get("stages") or {}).items()}
    backbone = {"backbone": {**values["backbone"], **short}} if "backbone" in values else {}
    members = {name: shortened(own).values for name, own in values.get("members", {}).items()}
    made = {"stages": stages} if stages else {"members": members} if members else {}
    return resolve_model({**values, **short, **backbone, **made})


def scores(trained: Trained, split: Split, users: np.ndarray = USERS) -> Tensor:
    scorer = RecBoleScorer(trained.model, dataset=trained.dataset, history=split.history("test"))
    return scorer.score(users)


def check_scores(scores_BN: Tensor, data: Prepared, split: Split) -> None:
    assert scores_BN.shape == (len(USERS), data.n_items + 1)
    assert torch.isfinite(scores_BN[:, 1:]).all()
    history = split.history("test")
    for user, scores_N in zip(USERS, scores_BN, strict=True):
        seen = torch.zeros(data.n_items + 1, dtype=torch.bool)
        seen[torch.from_numpy(history.of(user).astype(np.int64))] = True
        unseen = ~seen
        unseen[0] = False
        # A model that pushed the history down by itself would put all of it below all others.
        assert scores_N[seen].max() >= scores_N[unseen].min()


@pytest.mark.parametrize("key", KEYS, scope="class")
class TestContract:
    @pytest.fixture(scope="class")
    def trained(self, key: str, fit: Fit, tiny_data: Prepared, tiny_split: Split) -> Trained:
        return fit(one_epoch(key), tiny_data, tiny_split)

    @pytest.fixture(scope="class")
    def scored(self, trained: Trained, tiny_split: Split) -> Tensor:
        return scores(trained, tiny_split)

    def test_it_scores_every_item_and_masks_none(
        self, scored: Tensor, tiny_data: Prepared, tiny_split: Split
    ) -> None:
        check_scores(scored, tiny_data, tiny_split)

    def test_scores_are_the_same_in_any_batch(
        self, trained: Trained, scored: Tensor, tiny_split: Split
    ) -> None:
        some = np.array([7, 3, 120])
        alone = torch.cat([scores(trained, tiny_split, some[[i]]) for i in range(3)])
        # A language model's states pass through many sums that a batch's shape orders.
        exact = {"rtol": 1e-4, "atol": 1e-4} if "llm" in vars(trained.model) else {}
        torch.testing.assert_close(alone, scored[some - 1], **exact)

    def test_same_seed_same_numbers(
        self, key: str, scored: Tensor, fit: Fit, tiny_data: Prepared, tiny_split: Split
    ) -> None:
        again = fit(one_epoch(key), tiny_data, tiny_split)
        assert torch.equal(scores(again, tiny_split), scored)

    def test_other_seed_other_numbers(
        self, key: str, scored: Tensor, fit: Fit, tiny_data: Prepared, tiny_split: Split
    ) -> None:
        other = fit(one_epoch(key), tiny_data, tiny_split, seed=2)
        equal = torch.equal(scores(other, tiny_split), scored)
        assert equal == model(configured(key)["name"]).closed_form

    def test_training_changes_the_model(
        self, key: str, trained: Trained, tiny_data: Prepared, tiny_split: Split, tmp_path: Path
    ) -> None:
        fresh = fresh_model(key, tiny_data, tiny_split, tmp_path, seed=1)
        before, after = model_state(fresh["model"])[0], model_state(trained.model)[0]
        changed = any(not torch.equal(before[name], after[name]) for name in before)
        # What solves, solves while it is made.
        assert changed or model(configured(key)["name"]).closed_form

    def test_saved_and_loaded_it_scores_the_same(
        self,
        key: str,
        trained: Trained,
        scored: Tensor,
        tiny_data: Prepared,
        tiny_split: Split,
        tmp_path: Path,
    ) -> None:
        path = tmp_path / "model.safetensors"
        checkpoint.save(path, {"model": model_state(trained.model)}, notes=None)
        fresh = fresh_model(key, tiny_data, tiny_split, tmp_path, seed=99, stage=-1)
        sections, _ = checkpoint.load(path)
        load_model_state(fresh["model"], *sections["model"])
        loaded = Trained(model=fresh["model"], dataset=fresh["dataset"], progress=trained.progress)
        assert torch.equal(scores(loaded, tiny_split), scored)

    def test_the_valid_item_counts_where_it_is_read(
        self, trained: Trained, tiny_split: Split
    ) -> None:
        changed = differs_by_history(trained, tiny_split)
        assert changed == reads_histories(trained.model)

    def test_an_empty_history_is_scored(self, trained: Trained, tiny_data: Prepared) -> None:
        nothing = Sequences(
            indptr=np.zeros(tiny_data.n_users + 2, dtype=np.int64),
            items=np.zeros(0, dtype=np.int32),
        )
        scorer = RecBoleScorer(trained.model, dataset=trained.dataset, history=nothing)
        # User 0 has no training rows either.
        assert torch.isfinite(scorer.score(np.array([0, 1]))[:, 1:]).all()

    def test_every_key_of_its_yaml_is_read(self, key: str) -> None:
        values = configured(key)
        resolve_model(values)
        name = values["name"]
        with pytest.raises(PaddockError, match=rf"model\.no_such_key: {name} reads no such key"):
            resolve_model({**values, "no_such_key": 1})

    def test_parameters_are_named_as_recboles(
        self, key: str, tiny_data: Prepared, tiny_split: Split, tmp_path: Path
    ) -> None:
        ours = fresh_model(key, tiny_data, tiny_split, tmp_path, seed=1)
        name = configured(key)["name"]
        if name not in models.REGISTERED:
            pytest.skip("RecBole's own class")
        theirs = next(
            (base for base in type(ours["model"]).__mro__[1:] if base.__name__ == name), None
        )
        if theirs is None:
            pytest.skip("RecBole has no model of this name")
        expected = theirs(ours["config"], ours["dataset"]).state_dict()
        shapes = {name: value.shape for name, value in ours["model"].state_dict().items()}
        assert shapes == {name: value.shape for name, value in expected.items()}


def fresh_model(
    key: str, data: Prepared, split: Split, folder: Path, *, seed: int, stage: int = 0
) -> dict[str, Any]:
    """The untrained model of one of a YAML's stages, its data set and its config."""
    values = list(one_epoch(key).stages.values())[stage]
    made, dataset, config = build(
        values,
        TrainingContext(
            data=data, split=split, seed=seed, device=torch.device("cpu"), folder=folder
        ),
    )
    return {"model": made, "dataset": dataset, "config": config}


OTHERS = sorted(
    name
    for name in model_names()
    if refusal(name) is None and name not in BY_NAME and name not in models.REGISTERED
)
OTHERS_OWN: dict[str, dict[str, Any]] = {
    "FDSA": {"selected_features": ["genres"]},
    "SASRecF": {"selected_features": ["genres"]},
    "ConvNCF": {"embedding_size": 64},  # its convolutions halve the map of 64 by 64 six times
}


@pytest.mark.parametrize(
    "name", [*BY_NAME, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_a_recbole_model_by_name(
    name: str, fit: Fit, tiny_data: Prepared, tiny_split: Split
) -> None:
    small = {key: value for key, value in SMALL.items() if key in model(name).keys}
    epochs = {} if model(name).closed_form else {"epochs": 1}
    own = BY_NAME.get(name) or OTHERS_OWN.get(name, {})
    trained = fit(resolve_model({"name": name, **small, **epochs, **own}), tiny_data, tiny_split)
    scored = scores(trained, tiny_split)
    check_scores(scored, tiny_data, tiny_split)
    assert scored[:, 1:].std() > 0
    assert differs_by_history(trained, tiny_split) == reads_histories(trained.model)


def test_models_that_nothing_here_can_train_are_refused() -> None:
    for name in ("KGAT", "RippleNet", "MKR"):
        assert "knowledge graph" in str(refusal(name))
    for name in ("XGBoost", "LightGBM"):
        assert "decision tree" in str(refusal(name))
    assert "pre-training" in str(refusal("S3Rec"))
    assert [name for name in BY_NAME if refusal(name)] == []
    assert len([name for name in model_names() if refusal(name) is None]) > 70


def test_a_model_that_needs_a_missing_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "faiss" else find_spec(name)
    )
    refusal.cache_clear()
    assert "faiss" in str(refusal("NCL"))
    refusal.cache_clear()


def test_a_feature_that_the_items_lack_is_named(
    fit: Fit, tiny_data: Prepared, tiny_split: Split
) -> None:
    values = resolve_model({"name": "SASRecF", "epochs": 1})
    with pytest.raises(PaddockError, match=r"holds class, .* choose of title, genres, year"):
        fit(values, tiny_data, tiny_split)


def test_a_model_that_keeps_what_no_tensor_holds_is_told() -> None:
    module = nn.Linear(1, 1)
    module.other_parameter_name = ["words"]
    module.words = {"a"}
    with pytest.raises(TypeError, match=r"Linear\.words is a set"):
        model_state(module)


def test_diverged_training_is_told(fit: Fit, tiny_data: Prepared, tiny_split: Split) -> None:
    values = resolve_model({"name": "BPR", "epochs": 40, "learning_rate": 1e30, "learner": "sgd"})
    with pytest.raises(PaddockError, match="training loss of BPR is"):
        fit(values, tiny_data, tiny_split)


def test_seeds_reach_the_config(tmp_path: Path) -> None:
    config = recbole_config("BPR", {}, seed=7, device=torch.device("cpu"), folder=str(tmp_path))
    assert config["seed"] == 7
