"""Models of Hugging Face: from a folder, from the local cache, and from the hub where it is reached."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.errors import PaddockError


def loaded(kind: Any, name: str, **options: Any) -> Any:
    """`kind.from_pretrained(name)`, the local cache asked before the hub; remote code never runs."""
    quiet()
    options = {"trust_remote_code": False, **options}
    if Path(name).is_dir():
        return kind.from_pretrained(name, local_files_only=True, **options)
    try:
        return kind.from_pretrained(name, local_files_only=True, **options)
    except OSError:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise
        return kind.from_pretrained(name, **options)


def quiet() -> None:
    """Neither bars nor advice of transformers on the terminal."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


@contextmanager
def one_sentence(path: str, name: str, *, instead: str) -> Iterator[None]:
    """Tell in one sentence that a model is neither here nor can be fetched.

    Parameters
    ----------
    path
        The key that names it.
    instead
        What runs without a network.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0][:200]
        raise PaddockError(
            f"{path}={name} is neither a local folder nor a model that can be fetched here "
            f"({reason}); name a folder, or choose {instead}"
        ) from error
