"""RecBole's Config, made from typed values and nothing else."""

from typing import Any

import torch
from recbole.config import Config
from recbole.data.transform import construct_transform
from recbole.utils import ModelType

import models  # makes RecBole run on the installed packages
from experiments.components.registry import models as declared_models

UNIFORM = {
    "distribution": "uniform",
    "sample_num": 1,
    "alpha": 1.0,
    "dynamic": False,
    "candidate_num": 0,
}


class TypedConfig(Config):
    """RecBole's Config with nothing but the given values.

    RecBole evaluates every string as Python ('2024_01' becomes 202401; configurator.py:133), prefers
    --key=value of sys.argv to the given values (configurator.py:170), and sets
    CUDA_VISIBLE_DEVICES for the whole process (configurator.py:459). Here values keep their types,
    only the given ones count, and the device is the given one.

    Parameters
    ----------
    model : type or str
        Class of a model, or the name of a RecBole model.
    values : dict of str to object
        RecBole's keys, over RecBole's defaults.
    device : torch.device
        Where the model computes.
    """

    def __init__(self, *, model: type | str, values: dict[str, Any], device: torch.device) -> None:
        self._device = device
        super().__init__(model=model, dataset="paddock", config_dict=values)

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return config_dict

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _init_device(self) -> None:
        self.final_config_dict.update(single_spec=True, local_rank=0, device=self._device)

    def _get_final_config_dict(self) -> dict[str, Any]:
        final = super()._get_final_config_dict()
        if "train_neg_sample_args" not in self.external_config_dict:
            sequential = final["MODEL_TYPE"] == ModelType.SEQUENTIAL
            if sequential and final.get("loss_type") == "CE":
                # RecBole's own default, one negative, is refused by RecBole for this loss.
                final["train_neg_sample_args"] = None
            elif final["MODEL_TYPE"] == ModelType.TRADITIONAL:
                # Closed forms read the interactions alone; Pop would count the negatives.
                final["train_neg_sample_args"] = None
            elif final["MODEL_TYPE"] == ModelType.CONTEXT:
                # RecBole's default reads labels from ratings; every model here learns from
                # interactions against sampled negatives.
                final["train_neg_sample_args"] = dict(UNIFORM)
        return final


def register(model: str) -> None:
    """Make a declared model known to RecBole by its name, where it is not RecBole's own.

    Parameters
    ----------
    model : str
        Class name of the model.
    """
    component = declared_models().get(model)
    if component is not None and model not in models.REGISTERED:
        models.register(component.load())


def recbole_config(
    model: str, hyperparameters: dict[str, Any], *, seed: int, device: torch.device, folder: str
) -> TypedConfig:
    """The Config of one training stage.

    Parameters
    ----------
    model : str
        Class name of a RecBole model or of a declared one.
    hyperparameters : dict of str to object
        RecBole's keys, over RecBole's defaults for that model.
    seed : int
        RecBole's key `seed`.
    device : torch.device
        Where the model computes.
    folder : str
        Where RecBole's trainer may make its checkpoint folder (it makes one even if unused).
    """
    values = {
        **hyperparameters,
        "seed": seed,
        "checkpoint_dir": folder,
        "show_progress": False,
        "use_gpu": device.type == "cuda",
        "state": "WARNING",
    }
    register(model)
    config = TypedConfig(model=model, values=values, device=device)
    # A transform enters the names of its fields into the Config, where the model looks for them when
    # it is made (BERT4Rec); RecBole makes the loaders, and with them the transforms, before the model.
    construct_transform(config)
    return config
