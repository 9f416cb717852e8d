"""Which files a data set is made of, and its name."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin, urlsplit

from omegaconf import DictConfig, OmegaConf

from experiments.data.sources.locate import (
    CARRIED,
    carried_folder,
    content,
    files_of_rows,
    find_file,
    is_url,
    is_web,
    local,
    parquet_parts,
    path_of,
)
from experiments.data.sources.unpack import is_archive, unpack
from experiments.errors import PaddockError
from experiments.passwords import revealed


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files of one data set.

    Attributes
    ----------
    inter : Path
        The file of the interactions, or the folder of its Parquet files.
    item, user : Path or None
        The files of the items and users, where there are such.
    item_name : str
        What the file of items is called, or would be, as an error message names it.
    texts : Path, optional
        The table of texts on items, where the configuration names one.
    """

    inter: Path
    item: Path | None
    user: Path | None
    item_name: str
    texts: Path | None = None

    @property
    def present(self) -> list[Path]:
        """The files that there are: of interactions, items, users."""
        return [path for path in (self.inter, self.item, self.user) if path is not None]

    @property
    def files(self) -> list[tuple[str, Path]]:
        """Every file with its name, those of a folder by their paths in it, in the order they are read."""
        found = []
        for path in self.present:
            if path.is_dir():
                parts = parquet_parts(path)
                found += [(part.relative_to(path).as_posix(), part) for part in parts]
            else:
                found.append((path.name, path))
        return found


def dataset_name(dataset: Any) -> str:
    """The data set's name, by default the last part of its source.

    Parameters
    ----------
    dataset : DatasetConfig
        Or an OmegaConf node of that type.

    Raises
    ------
    PaddockError
        When the name that is set cannot name a folder.
    """
    name = setting(dataset, "name")
    if name:
        name = _filled(dataset, name)
        if re.search(r"[^\w.-]", name) or name.startswith("."):
            raise PaddockError(
                f"dataset.name: {name!r} names folders; write letters, digits, '.', '_' and '-'"
            )
        return name
    source = _source(dataset)
    if is_url(source):
        last = Path(_url_path(source))
    elif source.startswith(CARRIED):
        last = Path(source.removeprefix(CARRIED))
    else:
        last = path_of(source)
    stem = re.sub(r"(\.(tar|zip|gz|tgz|csv|tsv|jsonl?|parquet))+$", "", last.name)
    return re.sub(r"[^\w.-]+", "-", stem).strip(".-") or "dataset"


def find_sources(dataset: Any, *, data_dir: Path, progress: bool = True) -> Sources:
    """Find the files that `dataset.source`, `dataset.files` and `dataset.prefix` name.

    What a URL names is downloaded into `data_dir`, once, and archives are unpacked there.

    Parameters
    ----------
    dataset : DatasetConfig
        Or an OmegaConf node of that type.
    data_dir : Path
    progress : bool
        Whether downloads show a bar on the terminal.

    Raises
    ------
    PaddockError
        When a file is not there, naming what is, or cannot be downloaded.
    """
    found = _found(dataset, data_dir, progress)
    name = _filled(dataset, setting(dataset.files, "texts") or "")
    return (
        replace(found, texts=_texts_file(dataset, found, name, data_dir, progress))
        if name
        else found
    )


def _found(dataset: Any, data_dir: Path, progress: bool) -> Sources:
    """The files of interactions, items and users."""
    source = _source(dataset)
    names = _file_names(dataset)
    if is_url(source):
        place = _downloaded(dataset, source, names, data_dir / "downloads", progress)
        if isinstance(place, Sources):
            return place
    elif source.startswith(CARRIED):
        place = carried_folder(source.removeprefix(CARRIED))
    else:
        place = local(source, files=dataset.format != "atomic")
    if place.is_file() and is_archive(place.name):
        place = unpack(place, data_dir / "unpacked")
    if dataset.format == "atomic":
        return _atomic(place, setting(dataset, "prefix"))
    return _named(place, names)


def _texts_file(dataset: Any, found: Sources, name: str, data_dir: Path, progress: bool) -> Path:
    """The table of texts: a file of the source, or else a path."""
    source = _source(dataset)
    apart = path_of(name)
    if is_url(source) and not is_archive(_url_path(source)):
        if apart.is_file():
            return apart
        from experiments.data.sources.fetch import fetch

        return fetch(_beside(source, name), folder=data_dir / "downloads", progress=progress)
    folder = found.inter if found.inter.is_dir() else found.inter.parent
    place = find_file(folder, name) or (apart if apart.is_file() else None)
    if place is None:
        raise PaddockError(
            f"dataset.files.texts={name}: there is no such file in {folder}, nor is {apart}; "
            f"{content(folder)}"
        )
    return place


def setting(node: Any, key: str) -> Any:
    """The value of a key, None where it is not set."""
    if isinstance(node, DictConfig) and OmegaConf.is_missing(node, key):
        return None
    value = getattr(node, key)
    return None if isinstance(value, str) and value == "???" else value


def _downloaded(
    dataset: Any, source: str, names: SimpleNamespace, folder: Path, progress: bool
) -> Path | Sources:
    """The archive that a URL names, or the files beside each other that URLs name."""
    # Its import takes longer than opening a prepared data set.
    from experiments.data.sources.fetch import fetch

    if dataset.format == "atomic" and not is_archive(_url_path(source)):
        raise PaddockError(
            f"dataset.source: {source} is no archive of atomic files (.zip, .tar.gz)"
        )
    if not _url_path(source).endswith("/"):
        checksum = setting(dataset, "checksum")
        first = fetch(source, folder=folder, checksum=checksum, progress=progress)
        if is_archive(first.name):
            return first
    elif names.inter is None:
        raise PaddockError(
            f"dataset.source: {source} is a folder; name a file, or its files by dataset.files.*"
        )
    else:
        first = fetch(_beside(source, names.inter), folder=folder, progress=progress)
    item, user = (
        fetch(_beside(source, name), folder=folder, progress=progress) if name else None
        for name in (names.item, names.user)
    )
    return Sources(inter=first, item=item, user=user, item_name=_item_name(names))


def _beside(source: str, name: str) -> str:
    """The URL of a file beside another one, or in a folder, with the password of that one."""
    if is_web(source):
        return urljoin(revealed(source), name)
    return f"{source.rpartition('/')[0]}/{name}"


def _url_path(url: str) -> str:
    """What a URL calls its file or folder, without a query such as ?token=."""
    return urlsplit(url).path


def _item_name(names: SimpleNamespace) -> str:
    return repr(names.item) if names.item else "of items (dataset.files.item)"


def _atomic(folder: Path, prefix: str | None) -> Sources:
    prefix = prefix or _common_prefix(folder)
    inter, item, user = (folder / f"{prefix}.{kind}" for kind in ("inter", "item", "user"))
    if not inter.is_file():
        raise PaddockError(
            f"dataset.source: {folder} has no file {inter.name!r}; {content(folder)}; "
            f"dataset.prefix names the files' common name"
        )
    return Sources(
        inter=inter,
        item=item if item.is_file() else None,
        user=user if user.is_file() else None,
        item_name=repr(item.name),
    )


def _named(place: Path, names: SimpleNamespace) -> Sources:
    """The files of a folder by their names; a file is that of the interactions."""
    folder = place if place.is_dir() else place.parent
    inter: Path | None = place
    if place.is_dir():
        inter = find_file(folder, names.inter) or _parts_folder(folder, names.inter)
        if inter is None:
            raise PaddockError(
                f"dataset.source: {folder} has no file {names.inter or 'of rows'!r}; "
                f"{content(folder)}; dataset.files.inter names it"
            )
    assert inter is not None
    return Sources(
        inter=inter,
        item=find_file(folder, names.item) if names.item else None,
        user=find_file(folder, names.user) if names.user else None,
        item_name=_item_name(names),
    )


def _parts_folder(folder: Path, name: str | None) -> Path | None:
    """The folder itself, or that of the name in it, where it holds Parquet files and no others of rows."""
    place = folder / (name or "")
    if not place.is_dir() or any(path.suffix != ".parquet" for path in files_of_rows(place)):
        return None
    return place if parquet_parts(place) else None


def _file_names(dataset: Any) -> SimpleNamespace:
    """`dataset.files`, the category filled in."""
    found = {
        key: _filled(dataset, setting(dataset.files, key) or "") or None
        for key in ("inter", "item", "user")
    }
    return SimpleNamespace(**found)


def _filled(dataset: Any, text: str) -> str:
    if "{category}" not in text:
        return text
    category = setting(dataset, "category")
    if not category:
        raise PaddockError("dataset.category is not set; write dataset.category=Beauty")
    if re.search(r"\W", category):
        raise PaddockError(
            f"dataset.category: {category!r} names files; write it as they do, Video_Games"
        )
    return text.replace("{category}", category)


def _source(dataset: Any) -> str:
    source = setting(dataset, "source")
    if not source:
        raise PaddockError(
            "dataset.source is not set; write dataset.source=PATH, a folder, file or archive"
        )
    return str(source)


def _common_prefix(folder: Path) -> str:
    """The folder's name, or that of its only interaction file."""
    found = sorted(folder.glob("*.inter"))
    if len(found) == 1 and not (folder / f"{folder.name}.inter").is_file():
        return found[0].stem
    return folder.name
