"""Which keys a model reads, found in its source without importing it.

RecBole takes any key and reads those it knows; a misspelt one changes nothing and says nothing.
Here a key counts as known if the model's class, a class it inherits from, or a RecBole layer it uses
reads config["key"].
"""

import ast
import importlib.util
from functools import cache
from pathlib import Path

import yaml

from experiments.llm.keys import OWN_DEFAULTS, OWN_STRATEGIES

PADDOCK_KEYS = ("name", "strategy", "stages", "keep")
"""Keys of a model's YAML that RecBole never sees."""

LOOP_KEYS = ("epochs", "stopping_step", "eval_step")
OPTIMIZER_KEYS = ("learner", "learning_rate", "weight_decay", "clip_grad_norm")
STEP_KEYS = (*OPTIMIZER_KEYS, "learning_rate_schedule")

STRATEGY_KEYS: dict[str, tuple[str, ...]] = {
    **OWN_STRATEGIES,
    "recbole": (
        *LOOP_KEYS,
        *OPTIMIZER_KEYS,
        "train_batch_size",
        "train_neg_sample_args",
        "shuffle",
        "transform",
    ),
    "masked": (*LOOP_KEYS, *STEP_KEYS, "train_batch_size", "MAX_ITEM_LIST_LENGTH", "ft_ratio"),
    "pairs": (*LOOP_KEYS, *STEP_KEYS, "train_batch_size", "train_neg_sample_args"),
    "rows": (*LOOP_KEYS, *STEP_KEYS, "train_batch_size"),
    "windows": (
        *LOOP_KEYS,
        *STEP_KEYS,
        "train_batch_size",
        "MAX_ITEM_LIST_LENGTH",
        "loss",
        "negatives",
        "calibration",
    ),
}
"""Strategy -> the training keys that it reads, under RecBole's names."""

_STEPS: dict[str, object] = {"learning_rate_schedule": "constant"}

STRATEGY_DEFAULTS: dict[str, dict[str, object]] = {
    **dict.fromkeys(("masked", "pairs", "rows"), _STEPS),
    "windows": {**_STEPS, "loss": "softmax", "negatives": 256, "calibration": 0.75},
}
"""Strategy -> values of the keys that are not RecBole's."""

CLOSED_FORM_KEYS = ("train_batch_size",)
"""What is read when a model that counts or solves (Pop, ItemKNN, EASE) passes over the data once."""

NOT_A_CHOICE = frozenset(
    (
        "device",
        "seed",
        "checkpoint_dir",
        "USER_ID_FIELD",
        "ITEM_ID_FIELD",
        "NEG_PREFIX",
        "LIST_SUFFIX",
        "ITEM_LIST_LENGTH_FIELD",
        "LABEL_FIELD",
        "RATING_FIELD",
        "TIME_FIELD",
        "ENTITY_ID_FIELD",
        "RELATION_ID_FIELD",
        "HEAD_ENTITY_ID_FIELD",
        "TAIL_ENTITY_ID_FIELD",
        "pre_model_path",
        "pretrain_epochs",
        "save_step",
        "eval_args",
        "metrics",
        "topk",
        "valid_metric",
        "eval_batch_size",
        "single_spec",
    )
)
"""Keys that RecBole's models read and that the engine sets, or whose work the engine does."""

LIKELY_FAMILIES = (
    "general_recommender",
    "sequential_recommender",
    "context_aware_recommender",
    "knowledge_aware_recommender",
    "exlib_recommender",
)

REFUSED_FAMILIES = {
    "knowledge_aware_recommender": "it reads a knowledge graph, which no data set here provides",
    "exlib_recommender": "it is a decision tree over labelled pairs, which RecBole trains elsewhere",
}
"""Folder of RecBole's models -> why none of them can be trained."""

REFUSED = {
    "S3Rec": "it starts from weights of a pre-training that only RecBole's own trainer runs",
    "DIEN": "it reads sampled negative histories, which RecBole's own data set class draws",
    "GRU4RecKG": "it reads embeddings of a knowledge graph, which no data set here provides",
    "KSR": "it reads embeddings of a knowledge graph, which no data set here provides",
}
"""Class name -> why that model cannot be trained."""

NEEDED_PACKAGES = {"NCL": "faiss"}
"""Class name -> the package that RecBole imports in the middle of training and does not require."""


@cache
def recbole_folder() -> Path:
    """Where the recbole package is installed; finding it imports nothing."""
    spec = importlib.util.find_spec("recbole")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def own_folder() -> Path:
    return Path(__file__).resolve().parent.parent / "models"


@cache
def model_files() -> dict[str, Path]:
    """Class name -> source file, of every model that can be named."""
    found: dict[str, Path] = {}
    folders = [recbole_folder() / "model" / family for family in LIKELY_FAMILIES]
    for folder in [*folders, own_folder()]:
        for path in sorted(folder.glob("*.py")):
            for node in _tree(path).body:
                if isinstance(node, ast.ClassDef) and node.name.lower() == path.stem:
                    found[node.name] = path
    return found


@cache
def keys_read(model: str) -> frozenset[str]:
    """The keys that the model of this class name reads from its configuration."""
    keys = _keys_in(model_files()[model], model, set())
    trainers = _classes(recbole_folder() / "trainer" / "trainer.py")
    if (trainer := trainers.get(f"{model}Trainer")) is not None:
        # RecVAE's and NCL's epochs are their trainers' (utils.py:118); ours runs those.
        keys |= {key for node in ast.walk(trainer) if (key := _key(node)) is not None}
    return frozenset(keys) - NOT_A_CHOICE


@cache
def is_closed_form(model: str) -> bool:
    """Whether RecBole marks the model as trained by one pass (ModelType.TRADITIONAL)."""
    return any(
        isinstance(node, ast.Attribute) and node.attr == "TRADITIONAL"
        for node in ast.walk(_tree(model_files()[model]))
    )


@cache
def is_pairwise(model: str) -> bool:
    """Whether the model learns from (user, item, negative), and not from rows or sequences.

    RecBole calls its autoencoders pairwise too, and feeds them users alone.
    """
    path = model_files()[model]
    bases = [base for base, _ in _imports(path).values() if base.stem == path.stem]
    names = {
        getattr(node, "attr", getattr(node, "id", None))
        for source in (path, *bases)
        for node in ast.walk(_tree(source))
    }
    return "PAIRWISE" in names and "AutoEncoderMixin" not in names and not is_sequential(model)


def training_keys(model: str, strategy: str) -> tuple[str, ...]:
    """The training keys that a strategy reads for a model."""
    return CLOSED_FORM_KEYS if is_closed_form(model) else STRATEGY_KEYS[strategy]


@cache
def defaults(model: str, strategy: str) -> dict[str, object]:
    """RecBole's values for the training keys and for the model's own keys."""
    properties = recbole_folder() / "properties"
    found: dict[str, object] = {}
    for path in (properties / "overall.yaml", properties / "model" / f"{model}.yaml"):
        if path.exists():
            found |= yaml.load(path.read_text(encoding="utf-8"), Loader=_loader()) or {}
    if is_sequential(model):
        found["MAX_ITEM_LIST_LENGTH"] = 50
        if found.get("loss_type") == "CE":
            del found["train_neg_sample_args"]
    found |= STRATEGY_DEFAULTS.get(strategy, {}) | OWN_DEFAULTS.get(model, {})
    known = keys_read(model) | set(training_keys(model, strategy))
    return {key: value for key, value in found.items() if key in known}


@cache
def is_sequential(model: str) -> bool:
    """Whether the model reads the order of a history."""
    return "MAX_ITEM_LIST_LENGTH" in keys_read(model)


def _keys_in(path: Path, name: str, seen: set[tuple[Path, str]]) -> set[str]:
    """Keys read in the class `name` of a file, in its bases, and in RecBole classes that it uses."""
    if (path, name) in seen:
        return set()
    seen.add((path, name))
    classes = _classes(path)
    if name not in classes:
        return set()
    imported = _imports(path)
    keys: set[str] = set()
    for node in ast.walk(classes[name]):
        if (key := _key(node)) is not None:
            keys.add(key)
        match node:
            case ast.Name(id=used) if used in classes:
                keys |= _keys_in(path, used, seen)
            case ast.Name(id=used) if used in imported:
                keys |= _keys_in(*imported[used], seen)
    return keys


def _key(node: ast.AST) -> str | None:
    """The key of an expression config["key"] or config.key."""
    match node:
        case ast.Subscript(
            value=ast.Name(id="config") | ast.Attribute(attr="config"),
            slice=ast.Constant(value=str() as key),
        ):
            return key
        case ast.Attribute(value=ast.Name(id="config"), attr=key):
            return key
    return None


def _classes(path: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _tree(path).body if isinstance(node, ast.ClassDef)}


@cache
def refusal(model: str) -> str | None:
    """Why no strategy here can train the model of this class name, or None."""
    if model in REFUSED:
        return REFUSED[model]
    package = NEEDED_PACKAGES.get(model)
    if package is not None and importlib.util.find_spec(package) is None:
        return f"it needs the package {package}, which is not installed"
    return REFUSED_FAMILIES.get(model_files()[model].parent.name)


@cache
def _imports(path: Path) -> dict[str, tuple[Path, str]]:
    """Local name -> (file, class name), of everything a file imports from models and from RecBole's."""
    found: dict[str, tuple[Path, str]] = {}
    for node in _tree(path).body:
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        for alias in node.names:
            source = _source(node.module, alias.name)
            if source is not None:
                found[alias.asname or alias.name] = (source, alias.name)
    return found


def _source(module: str, name: str) -> Path | None:
    if module.startswith("models."):
        return own_folder() / f"{module.partition('.')[2]}.py"
    if not module.startswith("recbole.model"):
        return None
    base = recbole_folder().joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / f"{name.lower()}.py"):
        if path.exists():
            return path
    return None


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _loader() -> type[yaml.SafeLoader]:
    """A safe loader that reads 1e-05 as a number, as RecBole does (configurator.py:107)."""
    import re

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )
    return Loader
