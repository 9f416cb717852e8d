"""What a model is given where a command says nothing, against RecBole's own Config."""

import pytest
import torch

from experiments.bridge.config import recbole_config
from experiments.config.models import model, model_names
from experiments.config.recbole_models import recbole_models, refusal
from experiments.config.resolve import ENGINE_KEYS, resolve_model

OURS = {
    # Items of a history: RecBole cuts them in its data set, where 50 is a default of the class.
    "MAX_ITEM_LIST_LENGTH",
}
NAMES = [
    name
    for name in model_names()
    if name in recbole_models() and refusal(name) is None and not model(name).staged
]


@pytest.mark.parametrize("name", NAMES)
def test_every_default_is_recboles(name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The Config of all resolved values is the one that RecBole makes by itself."""

    def config(values):  # type: ignore[no-untyped-def]
        return recbole_config(
            name, values, seed=1, device=torch.device("cpu"), folder=str(tmp_path)
        )

    resolved = resolve_model({"name": name, "strategy": "recbole"}).values
    given = {key: value for key, value in resolved.items() if key not in ENGINE_KEYS}
    whole, bare = config(given), config({})
    fixed = {"epochs", "stopping_step", "eval_step"} if model(name).closed_form else set()
    own = set(model(name).keys) - set(recbole_models()[name].keys)
    differing = {
        key: (whole[key], bare[key])
        for key in given
        if key not in {*OURS, *fixed, *own} and whole[key] != bare[key]
    }
    assert differing == {}
