"""Language models by name or folder, with their dtype, device and quantisation said."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import torch

from experiments.config.language_keys import LLMConfig
from experiments.errors import PaddockError
from experiments.files import hash_of
from experiments.language.pretrained import from_pretrained, loading
from experiments.memory import check_fits
from models.allmrec.frozen_llm import FrozenLLM

INSTEAD = "llm=tiny"
NOT_THE_NETWORK = frozenset(
    ("_name_or_path", "name_or_path", "transformers_version", "torch_dtype", "dtype")
)
"""Keys of a model's config that name a place, a version or a precision."""


def load_llm(keys: LLMConfig, *, folder: Path | None, device: torch.device) -> FrozenLLM:
    """The frozen language model.

    Parameters
    ----------
    keys : LLMConfig
    folder : Path or None
        Where tiny or a GGUF file's copy lies; None: the model that `keys.name` names.
    device : torch.device
        Where it computes, unless `keys.device_map` spreads it.

    Raises
    ------
    PaddockError
        It is neither here nor can be fetched, is too large for the memory that is free, needs a
        package that is missing, or has a tokenizer without an end-of-sequence token.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = str(folder) if folder is not None else keys.name
    options: dict[str, Any] = {"dtype": dtype_of(keys, device)}
    if keys.quantisation is not None:
        options["quantization_config"] = _quantisation(keys, device)
    if keys.device_map is not None:
        _require("accelerate", f"model.llm.device_map={keys.device_map}")
        options["device_map"] = keys.device_map
    if keys.quantisation is None and keys.device_map is None:
        _check_memory(keys, folder, device)
    with loading("model.llm.name", keys.label, instead=INSTEAD):
        tokenizer = from_pretrained(AutoTokenizer, name, **_revision(keys))
        model = from_pretrained(AutoModelForCausalLM, name, **options, **_revision(keys))
    if keys.quantisation is None and keys.device_map is None:
        model.to(device)
    if tokenizer.eos_token_id is None:
        raise PaddockError(
            f"model.llm.name={keys.label} has a tokenizer without an end-of-sequence token, which "
            "ends every answer: choose another model"
        )
    config = llm_config(keys, folder)
    return FrozenLLM(
        model,
        tokenizer,
        name=keys.label,
        revision=keys.revision,
        # The folders of tiny and of GGUF files are named by what their weights were made from.
        config_hash=hash_of([config_hash(config), folder.name if folder is not None else None]),
        context=context_of(keys, config),
    )


def llm_config(keys: LLMConfig, folder: Path | None) -> Any:
    """The language model's config of transformers, read without its weights.

    Parameters
    ----------
    keys : LLMConfig
    folder : Path or None
        As for `load_llm`.

    Raises
    ------
    PaddockError
        It is neither here nor can be fetched.
    """
    return _config(str(folder) if folder is not None else keys.name, keys)


@cache
def _config(name: str, keys: LLMConfig) -> Any:
    from transformers import AutoConfig

    with loading("model.llm.name", keys.label, instead=INSTEAD):
        return from_pretrained(AutoConfig, name, **_revision(keys))


def _check_memory(keys: LLMConfig, folder: Path | None, device: torch.device) -> None:
    """Say how much memory the weights need, where there is less, before they are read."""
    from transformers import AutoModelForCausalLM

    config = llm_config(keys, folder)
    with loading("model.llm.name", keys.label, instead=INSTEAD), torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    weights = sum(each.numel() for each in network.parameters())
    check_fits(
        weights * dtype_of(keys, device).itemsize,
        what=f"the language model {keys.label} ({weights / 1e6:,.0f} million weights)",
        instead="choose a smaller one, as in llm=smollm2, or a larger machine",
        free=torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None,
    )


def width_of(config: Any) -> int:
    """The width of an input embedding, which OPT-350M projects before its first layer."""
    text = config.get_text_config()
    return int(getattr(text, "word_embed_proj_dim", None) or text.hidden_size)


def context_of(keys: LLMConfig, config: Any) -> int:
    """How many positions a prompt with its answer may have: the model's, or fewer if asked.

    Raises
    ------
    PaddockError
        Neither the keys nor the model's config name a number.
    """
    own = getattr(config.get_text_config(), "max_position_embeddings", None)
    known = [each for each in (keys.context, own) if each is not None]
    if not known:
        raise PaddockError(
            f"model.llm.name={keys.name} does not say how many positions it reads: "
            "set model.llm.context"
        )
    return int(min(known))


def config_hash(config: Any) -> str:
    """The hash of a network's architecture, whatever folder it came from."""
    content = {key: value for key, value in config.to_dict().items() if key not in NOT_THE_NETWORK}
    return hash_of({key: _plain(value) for key, value in content.items()})


def dtype_of(keys: LLMConfig, device: torch.device) -> torch.dtype:
    """The dtype of the weights; "auto" is bfloat16 on a GPU and float32 elsewhere."""
    if keys.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    found = getattr(torch, keys.dtype)
    assert isinstance(found, torch.dtype)
    return found


def _revision(keys: LLMConfig) -> dict[str, str]:
    return {"revision": keys.revision} if keys.revision else {}


def _quantisation(keys: LLMConfig, device: torch.device) -> Any:
    from transformers import BitsAndBytesConfig

    path = f"model.llm.quantisation={keys.quantisation}"
    if device.type != "cuda":
        raise PaddockError(f"{path} needs a GPU: set it to null, or choose device=cuda")
    _require("bitsandbytes", path)
    _require("accelerate", path)
    dtype = dtype_of(keys, device)
    if keys.quantisation == "4bit":
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=dtype)
    return BitsAndBytesConfig(load_in_8bit=True)


def _require(package: str, path: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise PaddockError(f"{path} needs the package {package}: pip install {package}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
