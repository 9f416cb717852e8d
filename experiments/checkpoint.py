"""Checkpoints: one safetensors file, written whole or not at all.

The tensors carry their names, everything else is JSON in the file's header, so that reading a
checkpoint executes nothing. A state with its sections flattened reads "section/name".
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from experiments.errors import FailedError
from experiments.files import atomic_path

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
    header = {"paddock": json.dumps({"plain": plain, "notes": notes})}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=header)


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
    FailedError
        If the file is not a whole checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            header = json.loads(stream.metadata()["paddock"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise FailedError(
            f"{path} is not a checkpoint of Paddock ({error}); delete it to train again"
        ) from error
    sections: dict[str, tuple[dict[str, Tensor], Any]] = {
        section: ({}, plain) for section, plain in header["plain"].items()
    }
    for name, value in tensors.items():
        section, _, rest = name.partition("/")
        sections[section][0][rest] = value
    return sections, header["notes"]
