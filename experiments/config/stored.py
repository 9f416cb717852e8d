"""The configuration of a run as it was written down, with every value."""

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.config.schema import Config
from experiments.errors import PaddockError


def stored_config(run: Mapping[str, Any], *, place: str) -> Config:
    """The configuration of a run.

    Parameters
    ----------
    run : mapping of str to object
        The content of run.json.
    place : str
        Where it was read, for the message.

    Raises
    ------
    PaddockError
        It has a key that this code does not know.
    """
    try:
        # Another store may hold it by now, and the address is not logged.
        # How it is talked to is no part of a run, and was said by other keys.
        content = _literal({**run["config"], "tracking": {"uri": None}, "talk": {}})
        made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), content))
    except OmegaConfBaseException as error:
        line = str(error).splitlines()[0]
        raise PaddockError(
            f"the configuration in {place} is not one of this code ({line}): "
            f"check out the commit of the run, {(run.get('git') or {}).get('commit')}"
        ) from error
    assert isinstance(made, Config)
    return made


def _literal(content: Any) -> Any:
    """The content with "${" escaped in every text, which OmegaConf would interpolate."""
    if isinstance(content, Mapping):
        return {key: _literal(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_literal(value) for value in content]
    return content.replace("${", "\\${") if isinstance(content, str) else content
