"""Ways in which a file comes to hold another content than was written."""

import json
from pathlib import Path

import polars as pl

from experiments import checkpoint

WAYS = ("flip", "truncate", "delete", "edit")


def damage(path: Path, way: str) -> None:
    """Damage a file.

    A flip changes one bit in its middle; an edit leaves a valid file of its kind.
    """
    raw = path.read_bytes()
    if way == "delete":
        path.unlink()
    elif way == "truncate":
        path.write_bytes(raw[: len(raw) // 2])
    elif way == "flip":
        path.write_bytes(flipped(raw, len(raw) // 2))
    elif path.suffix == ".json":
        path.write_text(json.dumps(json.loads(raw) | {"note": "by hand"}, indent=2, sort_keys=True))
    elif path.suffix == ".parquet":
        frame = pl.read_parquet(path, memory_map=False)
        frame.with_columns(frame.to_series(-1).reverse()).write_parquet(path)
    elif path.suffix == ".safetensors":
        sections, notes = checkpoint.load(path)
        for tensors, _ in sections.values():
            for value in tensors.values():
                value += 1
        checkpoint.save(path, sections, notes=notes)
    else:
        path.write_bytes(raw + b"\n")


def flipped(raw: bytes, place: int) -> bytes:
    """The bytes with the lowest bit of one of them turned."""
    return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
