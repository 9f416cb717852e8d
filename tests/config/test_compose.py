"""Every YAML under conf/ composes, is valid, and says how it is launched."""

import functools
import shlex
import subprocess
import sys
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from experiments.config.check import check
from experiments.config.compose import PARTS, compose, typed
from experiments.config.groups import choices, groups
from experiments.config.models import model as model_of
from experiments.config.resolve import ENGINE_KEYS, resolve_model
from experiments.errors import PaddockError
from experiments.paths import CONF
from tests.commands.command_line import ROOT

GIVEN = {
    "dataset.source": "datasets/tiny",
    "model.name": "NARM",
    "tracking.uri": "http://localhost:5000",
}
"""Key -> a value for where a file leaves it to the command."""

OPTIONS = [f"{group}={choice}" for group in groups() for choice in choices(group)]
LAUNCHED = [
    path
    for group in ("model", "dataset", "experiment", "search")
    for path in sorted((CONF / group).glob("*.yaml"))
]


@functools.cache
def composed(*words: str) -> DictConfig:
    """Composed once for all tests, which only read it."""
    return compose([*words])


BESIDE = {"model=a_llmrec-fusion": ["protocol=loo-c20"]}
"""Option -> what its own launch command names beside it: the fusion ranks candidates alone."""


def mandatory(option: str) -> list[str]:
    """What must stand beside an option for it to compose."""
    # The server's address may also come from the environment, so that it is no plain ???.
    server = option == "tracking=server"
    whole = ["model=a_llmrec"] if option.partition("=")[0] in PARTS else []
    whole += BESIDE.get(option, [])
    keys = {"tracking.uri"} if server else OmegaConf.missing_keys(composed(option, *whole))
    return [*whole, *(f"{key}={GIVEN[key]}" for key in sorted(keys))]


def test_every_group_has_options() -> None:
    assert {"dataset", "protocol", "model", "tracking", "experiment"} <= set(groups())
    for group in groups():
        assert choices(group), group


@pytest.mark.parametrize("option", OPTIONS)
def test_option_composes_and_is_valid(option: str) -> None:
    check(typed(composed(option, *mandatory(option))))


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("dataset=atomic", "dataset.source"),
        ("model=recbole", "model.name"),
        ("tracking=server", "tracking.uri"),
    ],
)
def test_mandatory_value_is_left_to_the_command(
    option: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(PaddockError, match=key):
        typed(compose([option]))


@pytest.mark.parametrize("model", choices("model"))
def test_model_reads_every_key_of_its_yaml(model: str) -> None:
    option = f"model={model}"
    content = typed(composed(option, *mandatory(option))).model
    resolved = resolve_model(content).values
    name, strategy = resolved["name"], resolved["strategy"]
    read = {*model_of(name).keys, *model_of(name).training_keys(strategy), *ENGINE_KEYS}
    assert set(content) <= read
    for stage, own in (content.get("stages") or {}).items():
        theirs = model_of(name).training_keys(own.get("strategy", strategy))
        assert set(own) <= {*read, *theirs}, stage
    # Nothing is lost or altered on the way to the model, but for keys that say nothing by default.
    content = _telling(content)
    assert _only(resolved, content) == content


def _telling(content: dict[str, Any]) -> dict[str, Any]:
    """A model's values without those that resolved values leave out."""
    quiet = {key for key, own in model_of(content["name"]).keys.items() if own.quiet}
    left = {key: value for key, value in content.items() if key not in quiet}
    if members := content.get("members"):
        left["members"] = {name: _telling(own) for name, own in members.items()}
    return left


def _only(resolved: Any, given: Any) -> Any:
    """Of resolved values those that were given: the keys of a backbone or an LLM are completed."""
    if isinstance(given, dict) and isinstance(resolved, dict):
        return {key: _only(resolved.get(key), value) for key, value in given.items()}
    return resolved


def _launch_command(path: str) -> list[str]:
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#") and "@package" not in line]
    first, *_ = comments
    return shlex.split(first.removeprefix("#").strip())


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in LAUNCHED])
def test_first_comment_is_a_launch_command(path: str) -> None:
    python, script, *overrides = _launch_command(path)
    assert python == "python"
    assert (ROOT / script).name in ("run.py", "tune.py")
    group, _, file = path.removeprefix("conf/").removesuffix(".yaml").partition("/")
    # The search of a model's name is searched without being named.
    launching = {f"{group}={file}", *([f"model={file}"] if group == "search" else [])}
    assert launching & set(overrides), "the command must launch the file that it stands in"
    if script == "run.py":
        check(typed(compose([word for word in overrides if word != "-m"])))


def test_the_schema_of_a_comment_is_the_one_that_runs() -> None:
    """A wrong launch command would be noticed: the composition above refuses it."""
    with pytest.raises(PaddockError, match="n_hidden"):
        check(typed(compose(["model=recbole", "model.name=NARM", "model.n_hidden=64"])))


@pytest.fixture(scope="module")
def help_text() -> str:
    done = subprocess.run(
        [sys.executable, "run.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_help_lists_every_option(help_text: str) -> None:
    listed = {}
    for line in help_text.splitlines():
        group, colon, options = line.partition(": ")
        if colon and group in groups():
            listed.setdefault(group, [option.strip() for option in options.split(",")])
    assert listed == {group: choices(group) for group in groups()}


def test_examples_of_help_compose(help_text: str) -> None:
    examples = [
        shlex.split(line.partition("python run.py ")[2])
        for line in help_text.splitlines()
        if "python run.py " in line
    ]
    assert len(examples) >= 6
    for words in examples:
        swept = [word for word in words if word not in ("-m", "--cfg", "job", "--help")]
        # One job of a grid stands for all: the grid itself is tested elsewhere.
        overrides = [f"{key}={value.split(',')[0]}" for key, _, value in map(_parted, swept)]
        check(typed(compose(overrides)))


def _parted(word: str) -> tuple[str, str, str]:
    return word.partition("=")


@pytest.mark.parametrize(
    "model", ["bpr", "lightgcn", "multivae", "ract", "sasrec", "gru4rec", "bert4rec"]
)
def test_recboles_own_loop_takes_the_models_that_have_a_strategy_here(model: str) -> None:
    check(typed(compose([f"model={model}", "model.strategy=recbole"])))


def test_members_of_a_fusion_take_the_values_that_were_tuned_for_them() -> None:
    asked = ["dataset=ml-100k", "+tuned=any"]
    tuned = compose(["model=sasrec", *asked]).model
    assert tuned != compose(["model=sasrec", "dataset=ml-100k"]).model
    fusion = ["model=fusion-text", *asked]
    assert compose(fusion).model.members.sasrec == tuned
    said = compose([*fusion, "model.members.sasrec.epochs=3"]).model.members.sasrec
    assert said == {**tuned, "epochs": 3}
