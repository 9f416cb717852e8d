"""Each work-round in `models._compat`: what breaks without it, and that it mends just that.

RecBole keeps what it read when it was imported, so that every case runs in a process of its own,
forked from one that has imported what RecBole builds on.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recbole.config import Config

from experiments.bridge.config import TypedConfig, recbole_config
from models import _compat

ROOT = Path(__file__).parents[2]

PREAMBLE = """
import importlib.util, pathlib, sys, types, warnings

# models/__init__.py would apply every work-round.
spec = importlib.util.spec_from_file_location("compat", sys.argv[1])
compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compat)
compat.apply(skip=frozenset({sys.argv[2]}))
mend = compat.WORKAROUNDS[sys.argv[2]]
sys.argv[1:] = []

def config(model):
    from recbole.config import Config
    return Config(model=model, dataset="none")
"""

CASES = {
    "numpy_aliases": """
import numpy as np

assert not hasattr(np, "float_"), "numpy has the names again"
try:
    config("BPR")
    raise SystemExit("the Config was made")
except AttributeError as error:
    assert "float_" in str(error), error
mend()
config("BPR")
assert (np.float_, np.complex_, np.unicode_) == (np.float64, np.complex128, np.str_)
assert np.float is np.float64
""",
    "late_imports": """
import subprocess, textwrap

late = ("sklearn", "scipy.stats", "tensorboard")
assert not set(late) - set(sys.modules), "RecBole imports them no more"
# What the work-rounds import, imported them: the mend is seen in a process of its own.
mended = textwrap.dedent('''
    import importlib.util, sys, warnings
    spec = importlib.util.spec_from_file_location("compat", sys.argv[1])
    compat = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compat)
    compat.apply()
    found = [name for name in ("sklearn", "scipy.stats", "tensorboard") if name in sys.modules]
    assert not found, found

    from recbole.evaluator import metrics
    from recbole.model.general_recommender import nceplrec, slimelastic
    from recbole.utils import utils
    assert metrics.mean_squared_error([0.0, 1.0], [0.0, 3.0]) == 2.0
    import sklearn.exceptions, sklearn.linear_model, sklearn.metrics, sklearn.utils.extmath
    assert metrics.sk_auc is sklearn.metrics.auc
    assert slimelastic.ElasticNet is sklearn.linear_model.ElasticNet
    assert slimelastic.ConvergenceWarning is sklearn.exceptions.ConvergenceWarning
    assert nceplrec.randomized_svd is sklearn.utils.extmath.randomized_svd
    from torch.utils.tensorboard import SummaryWriter
    assert utils.SummaryWriter is SummaryWriter
''')
subprocess.run([sys.executable, "-c", mended, compat.__file__], check=True)
""",
    "no_optimizer_of_closed_forms": """
import torch
from recbole.trainer import TraditionalTrainer

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

def optimizer():
    made = config("Pop")
    made["checkpoint_dir"] = "saved"
    return TraditionalTrainer(made, Model()).optimizer

assert "torch._dynamo" not in sys.modules
assert isinstance(optimizer(), torch.optim.Optimizer), "RecBole makes none"
assert "torch._dynamo" in sys.modules, "an optimizer no longer imports the compiler"
mend()
made = optimizer()
assert not isinstance(made, torch.optim.Optimizer)
made.zero_grad()
made.step()
made._model.weight.sum().backward()
try:
    made.step()
    raise SystemExit("a model that learns took no step")
except RuntimeError as error:
    assert "learns" in str(error), error
""",
    "dok_matrix_update": """
import torch
from recbole.model.general_recommender import NGCF
import scipy.sparse as sp

def adjacency():
    ngcf = types.SimpleNamespace(
        n_users=3, n_items=4, interaction_matrix=sp.coo_matrix(([1.0, 1.0], ([1, 2], [3, 3])), (3, 4))
    )
    return NGCF.get_norm_adj_mat(ngcf).to_dense()

try:
    adjacency()
    raise SystemExit("the graph was built")
except AttributeError as error:
    assert "_update" in str(error), error
mend()
dense = adjacency()
# Item 3 (node 6) has two neighbours, users 1 and 2 have one.
expected = torch.zeros(7, 7)
expected[[1, 2, 6, 6], [6, 6, 1, 2]] = 2**-0.5
assert torch.allclose(dense, expected), dense
""",
    "no_tensorboard": """
import torch
from recbole.trainer import Trainer

def trainer():
    made = config("BPR")
    made["checkpoint_dir"] = "saved"
    return Trainer(made, torch.nn.Linear(1, 1))

trainer()
folder = pathlib.Path("log_tensorboard")
assert folder.exists(), "no folder appeared"
logged = len(list(folder.rglob("*")))
mend()
assert trainer().tensorboard is None
assert len(list(folder.rglob("*"))) == logged
""",
    "no_anomaly_detection": """
import torch
import recbole.model.sequential_recommender

assert torch.is_anomaly_enabled(), "RecBole leaves it off"
mend()
assert not torch.is_anomaly_enabled()
""",
    "quiet_deprecations": """
import torch
from recbole.trainer.trainer import amp

def raised():
    # Not `catch_warnings(record=True)` with a filter of its own, which would hide the work-round's.
    with warnings.catch_warnings(record=True) as caught:
        amp.GradScaler(enabled=False)
        torch.sparse.FloatTensor(torch.zeros(2, 0, dtype=torch.long), torch.zeros(0), (1, 1))
    return caught

warnings.simplefilter("always")
assert any("GradScaler" in str(warning.message) for warning in raised()), "nobody warned"
mend()
assert raised() == [], [str(warning.message) for warning in raised()]
""",
    "quiet_long_histories": """
import logging

messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger().addHandler(handler)

import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureType

def history():
    made = Dataset.__new__(Dataset)
    made.__dict__.update(
        uid_field="u",
        iid_field="i",
        logger=logging.getLogger(),
        field2type={"u": FeatureType.TOKEN, "i": FeatureType.TOKEN},
        field2id_token={"u": [0, 1], "i": [0, 1, 2]},
        inter_feat=Interaction({"u": torch.tensor([1, 1]), "i": torch.tensor([1, 2])}),
    )
    made.history_item_matrix()

history()
assert any("history interaction records" in message for message in messages), "nobody warned"
mend()
messages.clear()
history()
assert messages == []
logging.getLogger().warning("of someone else")
assert messages == ["of someone else"]
""",
}


# Each case in a folder of its name; all that it says goes to a file there.
EVERY_CASE = """
import json, os, sys
import pandas, scipy.sparse, torch

path, folder, cases = sys.argv[1], sys.argv[2], json.load(sys.stdin)
codes = {}
for name, code in cases.items():
    child = os.fork()
    if child:
        codes[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        continue
    os.mkdir(f"{folder}/{name}")
    os.chdir(f"{folder}/{name}")
    said = os.open("../" + name + ".txt", os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv[1:] = [path, name]
    exec(compile(code, name, "exec"), {"__name__": "__main__"})
    sys.exit()
print(json.dumps(codes))
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """The exit code of every case, and what it said."""
    folder = tmp_path_factory.mktemp("cases")
    cases = {name: PREAMBLE + case for name, case in CASES.items()}
    done = python(EVERY_CASE, _compat.__file__, str(folder), folder=folder, input=json.dumps(cases))
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout)
    return {name: (codes[name], (folder / f"{name}.txt").read_text()) for name in cases}


def python(
    code: str, *arguments: str, folder: Path, input: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "3"},
        input=input,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", _compat.WORKAROUNDS)
def test_recbole_breaks_without_the_work_round(
    name: str, ended: dict[str, tuple[int, str]]
) -> None:
    assert name in CASES, f"no case shows what breaks without {name}"
    code, said = ended[name]
    assert code == 0, said


def test_importing_the_engine_leaves_ray_and_the_folder_alone(tmp_path: Path) -> None:
    code = """
import os, sys
import models, experiments.commands.train, experiments.training.strategies.recbole_loop
import numpy as np, torch
print(*[m for m in sys.modules if m.partition(".")[0] == "ray" or m == "recbole.quick_start"])
assert not torch.is_anomaly_enabled()
assert np.float_ is np.float64
assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
"""
    done = python(code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
    assert list(tmp_path.iterdir()) == []


def made(**values: object) -> TypedConfig:
    return TypedConfig(model="BPR", values=values, device=torch.device("cpu"))


@pytest.mark.usefixtures("recboles_own_config")
def test_strings_stay_strings() -> None:
    theirs = Config(model="BPR", dataset="none", config_dict={"note": "2024_01", "off": "False"})
    assert (theirs["note"], theirs["off"]) == (202401, False)
    ours = made(note="2024_01", off="False")
    assert (ours["note"], ours["off"]) == ("2024_01", "False")


@pytest.mark.usefixtures("recboles_own_config")
def test_the_command_line_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--learning_rate=9", "--embedding_size=3"])
    theirs = Config(model="BPR", dataset="none", config_dict={"learning_rate": 0.5})
    assert theirs["learning_rate"] == 9
    ours = made(learning_rate=0.5)
    assert (ours["learning_rate"], ours["embedding_size"]) == (0.5, 64)


@pytest.mark.usefixtures("recboles_own_config")
def test_the_visible_devices_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    made()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,1"
    Config(model="BPR", dataset="none")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"


def test_the_device_is_the_given_one() -> None:
    config = TypedConfig(model="BPR", values={}, device=torch.device("meta"))
    assert config["device"] == torch.device("meta")


@pytest.mark.parametrize(
    ("model", "values", "negatives"),
    [
        ("BPR", {}, "uniform"),
        ("SASRec", {}, "none"),  # RecBole refuses its own default for this loss
        ("SASRec", {"loss_type": "BPR"}, "uniform"),
        ("FM", {}, "uniform"),
        ("Pop", {}, "none"),
        ("EASE", {}, "none"),
        (
            "SASRec",
            {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "popularity"}},
            "popularity",
        ),
    ],
)
def test_negatives_that_a_family_trains_with(
    model: str, values: dict, negatives: str, tmp_path: Path
) -> None:
    config = recbole_config(model, values, seed=1, device=torch.device("cpu"), folder=str(tmp_path))
    assert config["train_neg_sample_args"]["distribution"] == negatives
