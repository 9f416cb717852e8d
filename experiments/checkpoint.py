"""Checkpoints: one safetensors file, written whole or not at all.

The tensors carry their names, everything else is JSON in the file's header, so that reading a
checkpoint executes nothing. A state with its sections flattened reads "section/name". The header
holds the SHA-256 of all of it, which is compared when the file is read.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from experiments.files import atomic_path
from experiments.integrity import Damaged, say_unchecked

Sections = Mapping[str, tuple[Mapping[str, Tensor], Any]]


def save(path: Path, sections: Sections, *, notes: Any) -> None:
    """Write a checkpoint: named sections and notes.

    Parameters
    ----------
    path : Path
        The file to write; an existing one is replaced as a whole.
    sections : mapping of str to tuple
        Section -> its tensors by name, and its plain values (JSON).
    notes : object
        Plain values (JSON) beside the sections.
    """
    tensors = {
        f"{section}/{name}": value.contiguous()
        for section, (values, _) in sections.items()
        for name, value in values.items()
    }
    plain = {section: values for section, (_, values) in sections.items()}
    content = {"plain": plain, "notes": notes}
    header = json.dumps({**content, "sha256": _digest(json.dumps(content), tensors)})
    with atomic_path(path) as temporary:
        # One key: safetensors writes several in an order that differs from file to file.
        save_file(tensors, temporary, metadata={"paddock": header})


def load(path: Path) -> tuple[dict[str, tuple[dict[str, Tensor], Any]], Any]:
    """Read what `save` wrote: the sections and the notes.

    Parameters
    ----------
    path : Path
        A file that `save` wrote.

    Returns
    -------
    sections : dict of str to tuple
        Section -> its tensors by name, and its plain values.
    notes : object
        The plain values beside them.

    Raises
    ------
    Damaged
        If the file is no whole checkpoint, or holds another content than was written.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads(stream.metadata()["paddock"])
            plain, notes, expected = (
                header.pop("plain"),
                header.pop("notes"),
                header.pop("sha256", None),
            )
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(
            f"{path} is not a checkpoint of Paddock ({error}); delete it and it is made again"
        ) from error
    if header:
        raise Damaged(f"{path} is damaged: its header is another; delete it and it is made again")
    if expected is None:
        say_unchecked("a checkpoint")
    elif _digest(json.dumps({"plain": plain, "notes": notes}), tensors) != expected:
        raise Damaged(
            f"{path} is damaged: its content is not what was written; delete it and it is made again"
        )
    sections: dict[str, tuple[dict[str, Tensor], Any]] = {
        section: ({}, values) for section, values in plain.items()
    }
    for name, value in tensors.items():
        section, _, rest = name.partition("/")
        sections[section][0][rest] = value
    return sections, notes


def _digest(content: str, tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of the header's text and of the tensors: names, types, shapes and bytes."""
    digest = hashlib.sha256(content.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
