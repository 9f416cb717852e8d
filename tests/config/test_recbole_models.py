"""The table of RecBole's models against the installed RecBole, its own Config, and models being made."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.config import Config
from recbole.data.transform import construct_transform
from torch import nn

import models
from experiments.bridge.config import TypedConfig
from experiments.bridge.dataset import recbole_dataset
from experiments.config import make_recbole_models
from experiments.config.config_reads import keys_read
from experiments.config.make_recbole_models import NOT_A_CHOICE, changes, recbole_table, text_of
from experiments.config.recbole_models import (
    TABLE,
    recbole_models,
    refusal,
    training_defaults,
)
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split

ROOT = Path(__file__).parents[2]
COMMAND = "python -m experiments.config.make_recbole_models"

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def test_the_table_is_that_of_the_installed_recbole() -> None:
    made = text_of(recbole_table())
    # Not `==` within the assertion: pytest would compare two thousand lines for minutes.
    same = made == TABLE.read_text(encoding="utf-8")
    assert same, f"{TABLE.name} differs from the installed RecBole: run `{COMMAND}`"


def test_a_teachers_key_is_that_with_its_prefix() -> None:
    """KD_DAGFM's teacher reads `depth` and `cin` of a copy that holds t_depth and t_cin as these."""
    keys = set(recbole_models()["KD_DAGFM"].keys)
    assert {"t_depth", "t_cin", "depth", "teacher", "type", "warm_up"} <= keys
    assert not keys & {"cin", "feature_num", "t_", "final_config_dict"}


def test_nothing_is_a_key_that_nobody_chooses() -> None:
    listed = {key for model in recbole_models().values() for key in model.keys}
    assert not listed & {*NOT_A_CHOICE, "final_config_dict", "parameters"}
    assert {"embedding_size", "MAX_ITEM_LIST_LENGTH", "loss_type"} <= listed


class Layer(nn.Module):
    def __init__(self, width: int, settings: Any) -> None:
        super().__init__()
        self.heads = settings["of_layer"]
        self.kept = settings

    def forward(self) -> Any:
        return self.kept["of_layer_later"]


def helper(given: Any) -> Any:
    return given["of_function"]


class Base:
    def __init__(self, c: Any, dataset: Any) -> None:
        self.of_base = c["of_base"]
        self.c = c

    def step(self) -> Any:
        return self.c["overridden"]

    def other_step(self) -> Any:
        return self.c["of_base_later"]


class Toy(Base):
    """Calls its Config cfg, and hands it on in every way that RecBole's models do."""

    def __init__(self, cfg: Any, dataset: Any) -> None:
        super().__init__(cfg, dataset)
        self.width = cfg["width"]
        self.rate = cfg.rate
        self.optional = getattr(cfg, "by_getattr", 1)
        if "by_in" in cfg:
            self.width += 1
        again = cfg
        self.again = again["of_name"]
        self.settings = again
        cfg["entered"] = 3
        self.layer = Layer(3, settings=cfg)
        self.entered = cfg["entered"]
        other = {"no_key": 1}
        self.other = other["no_key"] + dataset["no_key_either"]
        self.value = helper(cfg)
        self.inner = self.inner_of(cfg)["of_copy"]

    def inner_of(self, c: Any) -> Any:
        return copy.deepcopy(c)

    def step(self) -> Any:
        return self.settings["of_step"]


def test_keys_are_found_whatever_the_config_is_called() -> None:
    assert keys_read(Toy, {}) == {
        "of_base",
        "of_base_later",
        "width",
        "rate",
        "by_getattr",
        "by_in",
        "of_name",
        "of_layer",
        "of_layer_later",
        "of_function",
        "of_copy",
        "of_step",
    }


class Lost:
    def __init__(self, cfg: Any, dataset: Any) -> None:
        self.value = cfg[dataset.name]
        dataset.read(cfg)


def test_what_cannot_be_followed_is_said() -> None:
    with pytest.raises(NotImplementedError) as raised:
        keys_read(Lost, {})
    assert str(raised.value) == (
        "Lost's Config cannot be followed: "
        "Lost.__init__: cfg[dataset.name]; Lost.__init__: dataset.read(cfg)"
    )


@pytest.mark.parametrize("name", ["BPR", "SASRec", "RaCT", "NARM", "KD_DAGFM", "FEARec", "SimpleX"])
def test_types_and_defaults_are_those_of_recboles_config(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    model = recbole_models()[name]
    negatives = {"train_neg_sample_args": None} if model.type == "SEQUENTIAL" else {}
    config = Config(model=name, dataset="none", config_dict=negatives)
    assert model.type == config["MODEL_TYPE"].name
    assert model.input == config["MODEL_INPUT_TYPE"].name
    assert model.transform == config["transform"]
    for key in {**model.keys, **training_defaults()}.values():
        if key.name == "train_neg_sample_args":
            continue  # which RecBole changes by family and loss
        if not key.has_default:
            # numerical_features is empty there: a property of the data set.
            assert key.default is None
            assert not config[key.name]
            continue
        assert config[key.name] == key.default
        if key.type is not None:
            assert isinstance(config[key.name], (int, float) if key.type is float else key.type)


@pytest.mark.parametrize("key", training_defaults().values(), ids=lambda key: key.name)
def test_training_defaults_are_recboles(key: Any) -> None:
    config = TypedConfig(model="BPR", values={}, device=torch.device("cpu"))
    assert config[key.name] == key.default


class Recording(TypedConfig):
    """A Config that notes what is read of it."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.__dict__["noted"] = set()

    def _note(self, key: str) -> None:
        self.__dict__.get("noted", set()).add(key)

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __getattr__(self, key: str) -> Any:
        value = super().__getattr__(key)
        self._note(key)
        return value

    def __contains__(self, key: str) -> bool:
        self._note(key)
        return super().__contains__(key)


MADE: dict[str, dict[str, Any]] = {
    "SASRec": {},
    "BERT4Rec": {},
    "GRU4Rec": {},
    "LightGCN": {},
    "MultiVAE": {},
    "RaCT": {"train_stage": "actor_pretrain"},
    "Pop": {},
    "BPR": {},
    "NARM": {},
    "FEARec": {},
    "GRU4RecF": {"selected_features": ["genres"]},
    "RecVAE": {},
    "FM": {},
    "EulerNet": {},
    "KD_DAGFM": {},
}
"""Model -> values that it needs; those of models/ are the project's own classes."""

BRANCHES = {
    "KD_DAGFM": {"warm_up"},  # of the phases after the first
    "FEARec": {"spatial_ratio", "use_filter"},  # where dual_domain is on; in a forward pass
    "GRU4RecF": {"numerical_features"},  # where a selected feature is a number
    "RecVAE": {"n_enc_epochs", "n_dec_epochs"},  # of the trainer
    "BERT4Rec": {"mask_ratio", "ft_ratio"},  # of the transform
}
"""Model -> keys of its that no construction of it by RecBole's defaults reads."""


@pytest.mark.parametrize("name", MADE)
def test_a_model_that_is_made_reads_the_keys_of_the_table(
    name: str, tiny_data: Prepared, tiny_split: Split
) -> None:
    config = Recording(model=name, values=MADE[name], device=torch.device("cpu"))
    construct_transform(config)
    dataset = recbole_dataset(config, data=tiny_data, split=tiny_split)
    config.noted.clear()
    model = config.model_class(config, dataset)
    assert isinstance(model, models.REGISTERED.get(name, nn.Module))
    listed = set(recbole_models()[name].keys)
    entered = {"feature_num"} if name == "KD_DAGFM" else set()
    assert config.noted - listed <= {*NOT_A_CHOICE, *entered}
    assert listed - config.noted <= BRANCHES.get(name, set())


def test_what_the_table_says_of_models() -> None:
    table = recbole_models()
    assert [name for name in ("SASRec", "BPR", "Pop") if table[name].sequential] == ["SASRec"]
    assert [name for name in ("EASE", "Pop", "BPR") if table[name].closed_form] == ["EASE", "Pop"]
    # A rowwise and a sequential model are called pairwise by RecBole, and are none.
    pairwise = ("BPR", "LightGCN", "MultiVAE", "FPMC", "FM")
    assert [table[name].input for name in pairwise] == [*4 * ["PAIRWISE"], "POINTWISE"]
    assert [name for name in pairwise if table[name].pairwise] == ["BPR", "LightGCN"]
    autoencoders = ("MultiVAE", "LDiffRec", "NeuMF")
    assert [table[name].autoencoder for name in autoencoders] == [True, True, False]
    own = ("RecVAE", "NCL", "RaCT", "BPR")
    assert [table[name].own_epoch for name in own] == [True, True, False, False]
    assert table["BERT4Rec"].transform == "mask_itemseq"
    assert table["KGAT"].family == "knowledge_aware_recommender"


def test_types_are_those_of_the_defaults() -> None:
    weight = recbole_models()["SimpleX"].keys["negative_weight"]
    assert (weight.type, weight.default) == (float, 10.0)  # which RecBole writes as 10
    assert recbole_models()["BPR"].keys["embedding_size"].type is int
    for model in recbole_models().values():
        for key in model.keys.values():
            assert key.default is None or type(key.default) is key.type


def test_models_that_cannot_be_trained_say_why() -> None:
    assert "knowledge graph" in str(refusal("KGAT"))
    assert "decision tree" in str(refusal("XGBoost"))
    assert "pre-training" in str(refusal("S3Rec"))
    assert refusal("SASRec") is None
    assert refusal("ALLMRec") is None


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    for found, reason in ((None, "it needs the package faiss, which is not installed"), (1, None)):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, found=found: found)
        refusal.cache_clear()
        assert refusal("NCL") == reason
    refusal.cache_clear()


def test_reading_the_table_imports_nothing_heavy() -> None:
    code = (
        "import sys; from experiments.config.recbole_models import *;"
        "recbole_models(); training_defaults(); refusal('NCL');"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stdout.split())
    assert "experiments" in imported
    heavy = {"torch", "recbole", "yaml", "polars", "numpy", "pandas", "hydra", "models", "faiss"}
    assert not imported & heavy


def test_rewriting_prints_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def table(default: int) -> dict[str, Any]:
        key = {"type": "int", "default": default, "has_default": True}
        model = {"family": "f", "keys": {"size": key}}
        return {"recbole": "1", "training": {"epochs": key}, "models": {"A": model}}

    monkeypatch.setattr(make_recbole_models, "TABLE", tmp_path / "table.json")
    for default in (1, 2, 2):
        monkeypatch.setattr(
            make_recbole_models, "recbole_table", lambda default=default: table(default)
        )
        make_recbole_models.main()
    printed = capsys.readouterr().out.splitlines()
    assert printed[-3:] == [
        "  training.epochs.default: 1 -> 2",
        "  models.A.keys.size.default: 1 -> 2",
        "nothing changed",
    ]
    assert changes({"a": 1, "b": 2}, {"b": 2, "c": 3}) == ["- a", "+ c"]
