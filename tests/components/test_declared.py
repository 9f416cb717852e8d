"""What components declare of themselves: read without torch, complete, and checked in one sentence."""

import ast
import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from experiments.components import plugins
from experiments.components.plugins import load_plugins
from experiments.components.registry import STRATEGIES, functions, models, strategies
from experiments.config.models import model
from experiments.config.protocol_keys import splits
from experiments.config.recbole_models import recbole_models
from experiments.config.resolve import SCHEMAS, resolve_model
from experiments.errors import PaddockError
from experiments.paths import MODELS, ROOT
from paddock import Key, ListMeasure, Metric, Reader, Schema

HEAVY = ("torch", "recbole", "transformers", "mlflow", "pandas", "models")


def classes_with(method: str, folder: Path) -> set[str]:
    """The classes of a folder's files that define a method of this name, by reading the files."""
    return {
        node.name
        for path in folder.rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(each, ast.FunctionDef) and each.name == method for each in node.body)
    }


def recommenders() -> set[str]:
    """The classes of models/ that RecBole finds: each is called as its file, or as its folder."""
    files = [*MODELS.glob("*.py"), *MODELS.glob("*/model.py")]
    return {
        node.name
        for path in files
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        and node.name.lower() == (path.parent.name if path.stem == "model" else path.stem)
    }


def test_every_model_declares_its_keys() -> None:
    found = recommenders()
    assert {"SASRec", "RaCT", "BiasedMF", "ALLMRec", "Pop"} <= found
    assert found == set(models())


def test_every_strategy_declares_its_keys() -> None:
    folder = ROOT.joinpath(*STRATEGIES.split("."))
    # Those of `Descent` say what a pass is.
    trained_by = classes_with("train_epoch", folder) | classes_with("_pass", folder)
    declared = {component.attribute for component in strategies().values()}
    assert {"Pairs", "Windows", "RecBoleLoop"} <= trained_by
    assert trained_by <= declared


def test_reading_declarations_imports_nothing_heavy() -> None:
    code = (
        "import json, sys;"
        "from experiments.config.models import model, model_names;"
        "from experiments.components.registry import models, strategies;"
        "from experiments.config.resolve import resolve_model;"
        "resolve_model({'name': 'SASRec', 'strategy': 'windows'});"
        "print(json.dumps(["
        "{name: list(each.declaration.keys) for name, each in {**models(), **strategies()}.items()},"
        "sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    keys, imported = json.loads(done.stdout)
    assert "n_heads" in keys["SASRec"]
    assert "loss" in keys["windows"]
    assert "train_batch_size" in keys["windows"]
    assert "experiments" in imported
    assert not {*HEAVY} & set(imported)


def comparable(keys: Mapping[str, Key]) -> dict[str, dict[str, Any]]:
    """All that is said of keys; of a schema's class its own keys, since every reading makes one."""
    return {
        name: vars(key)
        | {"schema": comparable(key.schema.keys) if isinstance(key.schema, type) else key.schema}
        for name, key in keys.items()
    }


COMPONENTS = [*models().values(), *strategies().values()]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda each: f"{each.kind} {each.name}")
def test_what_is_read_is_what_the_module_holds(component: Any) -> None:
    """A class that is executed alone has the keys that it has in its imported module."""
    declaration = component.declaration
    module = sys.modules.get(declaration.__module__)
    module = module or importlib.import_module(declaration.__module__)
    imported = getattr(module, declaration.__name__)
    assert imported is not declaration
    assert comparable(imported.keys) == comparable(declaration.keys)
    facts = {
        name: value
        for name, value in inspect.getmembers(declaration)
        if not name.startswith("_")
        and name != "keys"
        and not callable(value)
        and not isinstance(value, Key)
    }
    assert {name: getattr(imported, name) for name in facts} == facts
    assert inspect.isclass(component.load())


OWN = [name for name in models() if name in recbole_models()]


@pytest.mark.parametrize("name", OWN)
def test_keys_of_recboles_models_keep_recboles_defaults(name: str) -> None:
    """A class of ours is configured as RecBole's of the same name, beside its own keys."""
    theirs, ours = recbole_models()[name].keys, model(name).keys
    assert set(theirs) <= set(ours)
    for key, found in theirs.items():
        if found.has_default and key != "MAX_ITEM_LIST_LENGTH":
            assert ours[key].default == found.default, key
            assert ours[key].kind in (found.type, None), key


def every_key() -> Iterator[tuple[str, Key]]:
    for kind in (models(), strategies()):
        for component in kind.values():
            for key in component.declaration.keys.values():
                yield f"{component.kind} {component.name}: {key.name}", key
    for name, schema in SCHEMAS.items():
        for key in schema.keys.values():
            yield f"{name}: {key.name}", key
    for name, split in splits().items():
        for key in split.keys:
            yield f"split {name}: {key.name}", key


def test_every_key_has_a_line_of_doc() -> None:
    assert [name for name, key in every_key() if not key.doc.strip() or "\n" in key.doc] == []


def test_every_default_is_a_value_of_its_key() -> None:
    from experiments.config.values import checked

    for name, key in every_key():
        if not key.required and not key.unset and key.schema is None and key.default is not None:
            assert checked(name, key.default, key) == key.default


def test_every_function_says_what_it_is() -> None:
    for kind in (Metric, ListMeasure, Reader):
        for name, component in functions(kind).items():
            assert component.declaration.doc, name
            assert callable(component.load())


PLUGIN = '''"""A user's model and strategy."""

from recbole.model.general_recommender import BPR

from paddock import ModelConfig, StrategyConfig, choices, key

WIDEST = 512


class OwnBPRConfig(ModelConfig):
    """BPR with keys of its own."""

    extends = "BPR"

    width: int = key(64, "Width of the factors.", least=1, most=WIDEST)
    rate: float = key(0.5, "A share.", above=0, below=1)
    kind: str = key("mean", "How it is joined.", choices=("mean", "last"))
    sizes: list[int] = key([8, 4], "Widths of the layers.", least=1)
    square: bool = key(False, "Whether it is squared.")
    text: str = key(doc="What it is called.")

    @classmethod
    def check(cls, values):
        """Refuse a wide mean."""
        if values["kind"] == "mean" and values["width"] > 100:
            raise ValueError(f"width={values['width']} is too wide for kind=mean: take kind=last")


class OwnBPR(BPR):
    pass


class Nothing(undefined_base):
    pass
'''

Load = Callable[..., Path]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write a plug-in's file and load its folder, for the test alone."""
    monkeypatch.setattr(plugins, "_loaded", {})

    def write_and_load(text: str, name: str = "ownbpr.py") -> Path:
        folder = tmp_path / f"plugin_{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / name).write_text(text, encoding="utf-8")
        load_plugins([str(folder)])
        return folder / name

    return write_and_load


GIVEN = {"name": "OwnBPR", "text": "x", "epochs": 1}

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a word for a number": (
        {"width": "wide"},
        "model.width=wide is a word: give an integer, such as 64",
    ),
    "a number for a word": ({"text": 3}, "model.text=3 is an integer: give a word"),
    "a fraction for an integer": (
        {"width": 6.5},
        "model.width=6.5 is a number: give an integer, such as 64",
    ),
    "a number for a truth value": (
        {"square": 1},
        "model.square=1 is an integer: give a truth value, such as false",
    ),
    "a number for a list": (
        {"sizes": 8},
        "model.sizes=8 is an integer: give a list, such as [8,4]",
    ),
    "a word in a list": ({"sizes": [8, "x"]}, "model.sizes[1]=x is a word: give an integer"),
    "null": ({"width": None}, "model.width=null is nothing: give an integer, such as 64"),
    "below the bound": ({"width": 0}, "model.width=0 must be at least 1 and at most 512"),
    "above the bound": ({"width": 513}, "model.width=513 must be at least 1 and at most 512"),
    "at an open bound": ({"rate": 1}, "model.rate=1 must be above 0 and below 1"),
    "in a list below the bound": ({"sizes": [8, 0]}, "model.sizes[1]=0 must be at least 1"),
    "no choice": ({"kind": "men"}, "model.kind=men is unknown: did you mean mean?"),
    "an unknown key": (
        {"widht": 3},
        "model.widht: OwnBPR reads no such key; did you mean model.width?",
    ),
    "another's key": ({"n_heads": 3}, "model.n_heads: OwnBPR reads no such key"),
    "impossible beside each other": (
        {"width": 200},
        "model.width=200 is too wide for kind=mean: take kind=last",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_users_key_is_one_sentence(mistake: str, load: Load) -> None:
    load(PLUGIN)
    given, told = MISTAKES[mistake]
    with pytest.raises(PaddockError) as caught:
        resolve_model({**GIVEN, **given})
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_one_sentence(load: Load) -> None:
    load(PLUGIN)
    with pytest.raises(PaddockError, match=r"^model\.text is missing: What it is called\.$"):
        resolve_model({"name": "OwnBPR"})


def test_values_that_are_right_pass_with_their_types(load: Load) -> None:
    load(PLUGIN)
    given = {"width": 8, "rate": 0.25, "kind": "last", "sizes": [3], "square": True}
    resolved = resolve_model({**GIVEN, **given}).values
    assert {key: resolved[key] for key in given} == given
    # Keys and defaults of BPR and of its strategy are there too.
    assert resolved["embedding_size"] == recbole_models()["BPR"].keys["embedding_size"].default
    assert resolved["learning_rate"] == 1e-3


UNREADABLE = {
    "a name of a module that cannot be imported": (
        "from no_such_package import WIDTH\n\n"
        "from paddock import ModelConfig, key\n\n"
        "class OwnBPRConfig(ModelConfig):\n"
        "    width: int = key(WIDTH, 'A width.')\n",
        "ModuleNotFoundError",
    ),
    "an undefined name": (
        "from paddock import ModelConfig, key\n\n"
        "class OwnBPRConfig(ModelConfig):\n"
        "    width: int = key(nn.WIDTH, 'A width.')\n",
        "NameError",
    ),
    "an error of its own": (
        "from paddock import ModelConfig, key\n\n"
        "def width():\n    raise RuntimeError('no width')\n\n"
        "class OwnBPRConfig(ModelConfig):\n"
        "    width: int = key(width(), 'A width.')\n",
        "RuntimeError: no width",
    ),
    "a type that no value has": (
        "from paddock import ModelConfig, key\n\n"
        "class OwnBPRConfig(ModelConfig):\n"
        "    width: set = key(1, 'A width.')\n",
        "the key width has the type",
    ),
    "a syntax error": (
        "from paddock import ModelConfig, key\n\n"
        "class OwnBPRConfig(ModelConfig):\n"
        "    width: int = key(1 'A width.')\n",
        "line 4",
    ),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_configuration_that_cannot_be_read_is_one_sentence(what: str, load: Load) -> None:
    text, told = UNREADABLE[what]
    path = load(text)
    with pytest.raises(PaddockError) as caught:
        models()
    assert str(path) in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_models_of_one_name_are_refused(load: Load) -> None:
    first = load(PLUGIN)
    second = load(PLUGIN)
    with pytest.raises(PaddockError) as caught:
        models()
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)
    assert "rename one of them" in str(caught.value)


def test_a_configuration_extends_that_of_another_file(load: Load) -> None:
    path = load(PLUGIN)
    (path.parent / "wider.py").write_text(
        "from .ownbpr import OwnBPRConfig\n"
        "from paddock import key\n\n"
        "class WiderConfig(OwnBPRConfig):\n"
        "    width: int = key(256, 'Width of the factors.', least=1)\n"
        "    kind: str = key('last', 'How it is joined.', choices=('mean', 'last'))\n\n"
        "class Wider: ...\n",
        encoding="utf-8",
    )
    resolved = resolve_model({"name": "Wider", "text": "x"}).values
    assert (resolved["width"], resolved["rate"]) == (256, 0.5)


def test_a_strategy_may_extend_what_is_no_strategy(load: Load) -> None:
    load(
        "from paddock import StrategyConfig, key\n"
        "from paddock.training_keys import EpochConfig\n\n"
        "class CommonConfig(EpochConfig):\n"
        "    share: float = key(0.5, 'A share.')\n\n"
        "class OneConfig(CommonConfig):\n"
        "    name = 'one'\n\n"
        "class One: ...\n",
        "one.py",
    )
    assert "one" in strategies()
    assert strategies()["one"].declaration.keys["share"].default == 0.5
    assert resolve_model({"name": "BPR", "strategy": "one"}).values["share"] == 0.5


@pytest.mark.parametrize(
    "name", ["BPR", "Pop", "EASE", "SASRec", "BERT4Rec", "RaCT", "NARM", "FM", "RecVAE"]
)
def test_a_resolved_model_resolves_to_itself(name: str) -> None:
    """What run.json keeps is what a reproduction and a tuned configuration resolve again."""
    staged = {"train_stage": "actor_pretrain"} if name == "RaCT" else {}
    resolved = resolve_model({"name": name, **staged})
    again = resolve_model(resolved.values)
    assert again.values == resolved.values
    assert again.stages == resolved.stages


def test_an_unknown_key_of_a_schema_is_refused_when_it_is_made() -> None:
    class Small(Schema):
        """One key."""

    with pytest.raises(TypeError, match="Small has no key width"):
        Small(width=3)
