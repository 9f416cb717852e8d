"""Models of Hugging Face: from a folder, from the local cache, and from the hub where it is reached."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.errors import PaddockError


def from_pretrained(kind: Any, name: str, **options: Any) -> Any:
    """A model, a tokenizer or a config; the local cache is asked before the hub.

    Code that comes with a model never runs.

    Parameters
    ----------
    kind : type
        A class of transformers, such as AutoModel.
    name : str
        A folder, or a name that the cache or the hub knows.
    **options
        Passed on to `kind.from_pretrained`.

    Raises
    ------
    OSError
        It is nowhere; HF_HUB_OFFLINE=1 keeps the hub from being asked.
    """
    silence_transformers()
    options = {"trust_remote_code": False, **options}
    if Path(name).is_dir():
        return kind.from_pretrained(name, local_files_only=True, **options)
    try:
        return kind.from_pretrained(name, local_files_only=True, **options)
    except OSError:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise
        return kind.from_pretrained(name, **options)


def silence_transformers() -> None:
    """Keep bars and advice of transformers off the terminal."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


@contextmanager
def loading(key: str, name: str, *, instead: str) -> Iterator[None]:
    """A block that loads a model; what goes wrong in it becomes one sentence.

    Parameters
    ----------
    key : str
        The key of the configuration that names the model.
    name : str
        Its value.
    instead : str
        The override that chooses a model which needs no network.

    Raises
    ------
    PaddockError
        The model is neither here nor can be fetched.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0][:200]
        raise PaddockError(
            f"{key}={name} is neither a local folder nor a model that can be fetched here "
            f"({reason}); name a folder, or choose {instead}"
        ) from error
