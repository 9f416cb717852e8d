"""Writing a folder whole or not at all."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from experiments.files import naming


def write_folder(target: Path, files: Mapping[str, str]) -> None:
    """Write the files, by their path within `target`, and put them in the place of what is there.

    A reader finds the old report or the new one, whenever the writer is killed, but for the moment
    between two renames.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        with naming(target):
            for name, text in files.items():
                path = made / "new" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            if target.exists():
                target.rename(made / "old")
            (made / "new").rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
