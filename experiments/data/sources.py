"""Where a data set's atomic files are."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.errors import PaddockError

_CARRIED = "recbole:"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The atomic files of one data set; `item` and `user` may be absent."""

    inter: Path
    item: Path | None
    user: Path | None

    @property
    def present(self) -> list[Path]:
        return [path for path in (self.inter, self.item, self.user) if path is not None]


def dataset_name(dataset: Any) -> str:
    """The data set's name, by default the last part of its source.

    Raises
    ------
    PaddockError
        When the name that is set cannot name a folder.
    """
    name = setting(dataset, "name")
    if name:
        if re.search(r"[^\w.-]", name) or name.startswith("."):
            raise PaddockError(
                f"dataset.name: {name!r} names folders; write letters, digits, '.', '_' and '-'"
            )
        return name
    source = _source(dataset)
    last = source.removeprefix(_CARRIED) if source.startswith(_CARRIED) else _folder(source).name
    return re.sub(r"[^\w.-]+", "-", last).strip(".-") or "dataset"


def find_sources(dataset: Any) -> Sources:
    """Find the atomic files that `dataset.source` and `dataset.prefix` name.

    Raises
    ------
    PaddockError
        When the folder or its interaction file is not there, telling what is.
    """
    source = _source(dataset)
    if source.startswith(_CARRIED):
        folder = _carried_folder(source.removeprefix(_CARRIED))
    else:
        folder = _folder(source)
    if not folder.is_dir():
        raise PaddockError(_no_folder(source, folder))
    prefix = setting(dataset, "prefix") or _common_prefix(folder)
    inter, item, user = (folder / f"{prefix}.{kind}" for kind in ("inter", "item", "user"))
    if not inter.is_file():
        raise PaddockError(
            f"dataset.source: {folder} has no file {inter.name!r}; {_content(folder)}; "
            f"dataset.prefix names the files' common name"
        )
    return Sources(
        inter=inter,
        item=item if item.is_file() else None,
        user=user if user.is_file() else None,
    )


def setting(node: Any, key: str) -> Any:
    """The value of a key, None where it is not set."""
    if isinstance(node, DictConfig) and OmegaConf.is_missing(node, key):
        return None
    value = getattr(node, key)
    return None if isinstance(value, str) and value == "???" else value


def _source(dataset: Any) -> str:
    source = setting(dataset, "source")
    if not source:
        raise PaddockError(
            "dataset.source is not set; write dataset.source=FOLDER, a folder of atomic files"
        )
    return str(source)


def _folder(source: str) -> Path:
    return Path(source).expanduser().resolve()


def _carried_folder(name: str) -> Path:
    # The package is only located: importing it would load torch.
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise PaddockError(f"dataset.source: {_CARRIED}{name} needs the package recbole installed")
    examples = Path(spec.submodule_search_locations[0]) / "dataset_example"
    known = sorted(path.name for path in examples.glob("*") if path.is_dir())
    if name not in known:
        raise PaddockError(
            f"dataset.source: recbole carries no data set {name!r}; it carries {', '.join(known)}"
        )
    return examples / name


def _common_prefix(folder: Path) -> str:
    """The folder's name, or that of its only interaction file."""
    found = sorted(folder.glob("*.inter"))
    if len(found) == 1 and not (folder / f"{folder.name}.inter").is_file():
        return found[0].stem
    return folder.name


def _no_folder(source: str, folder: Path) -> str:
    if folder.exists():
        return f"dataset.source: {folder} is a file; name the folder that holds it"
    parent = folder.parent
    around = f"{parent}: {_content(parent)}" if parent.is_dir() else f"nor is {parent}"
    return f"dataset.source: {source!r} is not a folder ({folder} is not there); {around}"


def _content(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if not names:
        return "it is empty"
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"it holds {', '.join(names[:20])}{more}"
