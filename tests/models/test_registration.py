"""RecBole's own look-ups find the models of this project."""

import subprocess
import sys
from pathlib import Path

import pytest
import recbole.model.general_recommender as general
import recbole.model.sequential_recommender as sequential
from recbole.utils import get_model

import models
from experiments.bridge.config import TypedConfig
from models.bert4rec import BERT4Rec
from models.gru4rec import GRU4Rec
from models.lightgcn import LightGCN
from models.multivae import MultiVAE
from models.pop import Pop
from models.ract import RaCT
from models.sasrec import SASRec

ROOT = Path(__file__).parents[2]
OURS = [BERT4Rec, GRU4Rec, LightGCN, MultiVAE, Pop, RaCT, SASRec]


def _is_own(model: type) -> bool:
    """Whether it is of models/: a plug-in of another test may be registered too."""
    return model.__module__.startswith("models.")


def test_every_file_holds_a_registered_model() -> None:
    files = {path.stem for path in (ROOT / "models").glob("[!_]*.py")}
    files |= {path.parent.name for path in (ROOT / "models").glob("*/model.py")}
    own = {name: made for name, made in models.REGISTERED.items() if _is_own(made)}
    assert {name.lower() for name in own} == files
    assert set(OURS) <= set(models.REGISTERED.values())


@pytest.mark.parametrize("model", models.REGISTERED.values(), ids=models.REGISTERED)
def test_recbole_finds_it_by_name(model: type) -> None:
    assert get_model(model.__name__) is model
    config = TypedConfig(model=model.__name__, values={}, device=None)
    assert config.model_class is model


@pytest.mark.parametrize("model", OURS)
def test_recboles_own_class_stays_reachable(model: type) -> None:
    package = sequential if model in (BERT4Rec, GRU4Rec, SASRec) else general
    theirs = getattr(package, model.__name__)
    assert theirs is not model
    assert issubclass(model, theirs)


def test_it_is_found_by_who_imported_recbole_before() -> None:
    code = """
import numpy as np
from recbole.utils import get_model
from recbole.config import Config
theirs = get_model("SASRec")
assert theirs.__module__.startswith("recbole."), theirs
import models
ours = get_model("SASRec")
assert ours.__module__ == "models.sasrec", ours
assert issubclass(ours, theirs)
assert Config(model="LightGCN", dataset="none").model_class.__module__ == "models.lightgcn"
assert get_model("BPR").__module__ == "recbole.model.general_recommender.bpr"
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_module_of_another_name_is_refused() -> None:
    class Misplaced(SASRec):
        pass

    Misplaced.__module__ = "models.elsewhere"
    with pytest.raises(ValueError, match=r"Misplaced must live in models/misplaced\.py"):
        models.register(Misplaced)
    assert "Misplaced" not in models.REGISTERED
