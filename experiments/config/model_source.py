"""What the source of a model's class says, read without importing it.

RecBole's models import torch and more; a configuration is checked before that is paid for.
"""

import ast
import importlib.util
from functools import cache
from pathlib import Path

from experiments.paths import MODELS

LIKELY_FAMILIES = (
    "general_recommender",
    "sequential_recommender",
    "context_aware_recommender",
    "knowledge_aware_recommender",
    "exlib_recommender",
)


@cache
def recbole_folder() -> Path:
    """Where the recbole package is installed; finding it imports nothing."""
    spec = importlib.util.find_spec("recbole")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def own_folder() -> Path:
    return MODELS


@cache
def model_files() -> dict[str, Path]:
    """Class name -> source file, of every model that can be named."""
    found: dict[str, Path] = {}
    folders = [recbole_folder() / "model" / family for family in LIKELY_FAMILIES]
    for folder in [*folders, own_folder()]:
        for path in sorted([*folder.glob("*.py"), *folder.glob("*/model.py")]):
            name = path.parent.name if path.name == "model.py" else path.stem
            for node in syntax_tree(path).body:
                if isinstance(node, ast.ClassDef) and node.name.lower() == name:
                    found[node.name] = path
    return found


@cache
def is_closed_form(model: str) -> bool:
    """Whether RecBole marks the model as trained by one pass (ModelType.TRADITIONAL)."""
    return any(
        isinstance(node, ast.Attribute) and node.attr == "TRADITIONAL"
        for node in ast.walk(syntax_tree(model_files()[model]))
    )


@cache
def is_pairwise(model: str) -> bool:
    """Whether the model learns from (user, item, negative), and not from rows or sequences.

    RecBole calls its autoencoders pairwise too, and feeds them users alone.
    """
    names = _names(model)
    return "PAIRWISE" in names and not names & {"AutoEncoderMixin", "SequentialRecommender"}


@cache
def is_autoencoder(model: str) -> bool:
    """Whether the model learns from the items of a user (RecBole's AutoEncoderMixin)."""
    return "AutoEncoderMixin" in _names(model)


@cache
def has_own_epoch(model: str) -> bool:
    """Whether RecBole has a trainer for the model that passes over the data in its own way."""
    trainer = trainers().get(f"{model}Trainer")
    return trainer is not None and any(
        isinstance(node, ast.FunctionDef) and node.name == "_train_epoch" for node in trainer.body
    )


@cache
def offers(model: str, method: str) -> bool:
    """Whether the model, or a model of this project that it is made from, defines the method."""
    path = model_files()[model]
    if not path.is_relative_to(own_folder()):
        return False
    tree = syntax_tree(path)
    if any(isinstance(node, ast.FunctionDef) and node.name == method for node in ast.walk(tree)):
        return True
    return any(
        alias.name in model_files() and alias.name != model and offers(alias.name, method)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("models.")
        for alias in node.names
    )


def predicts_ratings(model: str) -> bool:
    """Whether the model learns ratings, and gives them by `predict_ratings`."""
    return offers(model, "predict_ratings")


@cache
def trainers() -> dict[str, ast.ClassDef]:
    """RecBole's trainers by class name."""
    return classes(recbole_folder() / "trainer" / "trainer.py")


def _names(model: str) -> set[str | None]:
    """Every name in the model's file, and in that of a RecBole class of the same name it extends."""
    path = model_files()[model]
    bases = [base for base, _ in imports(path).values() if base.stem == path.stem]
    return {
        getattr(node, "attr", getattr(node, "id", None))
        for source in (path, *bases)
        for node in ast.walk(syntax_tree(source))
    }


def classes(path: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in syntax_tree(path).body if isinstance(node, ast.ClassDef)}


@cache
def imports(path: Path) -> dict[str, tuple[Path, str]]:
    """Local name -> (file, class name), of everything a file imports from models and from RecBole's."""
    found: dict[str, tuple[Path, str]] = {}
    for node in syntax_tree(path).body:
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        for alias in node.names:
            source = _source(node.module, alias.name)
            if source is not None:
                found[alias.asname or alias.name] = (source, alias.name)
    return found


def _source(module: str, name: str) -> Path | None:
    if module.startswith("models."):
        return own_folder().joinpath(*module.split(".")[1:]).with_suffix(".py")
    if not module.startswith("recbole.model"):
        return None
    base = recbole_folder().joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".py"), base / f"{name.lower()}.py"):
        if path.exists():
            return path
    return None


@cache
def syntax_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
