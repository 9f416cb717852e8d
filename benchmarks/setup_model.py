"""What a benchmark of a model starts from: an untrained model of ours, or RecBole's of the same name."""

import importlib
import pkgutil
from pathlib import Path
from typing import Any, NamedTuple

import recbole.trainer  # noqa: F401  (of the imports, so that no measurement meets it)
import torch
from recbole.model.abstract_recommender import AbstractRecommender

import experiments.training
from experiments.bridge.config import recbole_config
from experiments.bridge.dataset import TrainingRows, recbole_dataset
from experiments.config.compose import compose, typed
from experiments.config.resolve import ENGINE_KEYS, resolve_model
from experiments.config.schema import Config
from experiments.protocol.shared_data import SharedData, shared_data
from experiments.training.build import Built, build
from experiments.training.context import TrainingContext
from experiments.training.device import precision_of
from experiments.training.stages import make_strategy
from experiments.training.state import seed_everything
from experiments.training.strategy import Strategy

CPU = torch.device("cpu")
FAMILIES = ("general_recommender", "sequential_recommender")


class Setup(NamedTuple):
    """An untrained model with everything it was made from."""

    config: Config
    shared: SharedData
    model: AbstractRecommender
    dataset: TrainingRows
    recbole: Any
    values: dict[str, Any]
    context: TrainingContext

    def strategy(self) -> Strategy:
        """The strategy that its configuration names."""
        built = Built(self.model, self.dataset, self.recbole)
        return make_strategy(self.values["strategy"], built, self.context)


def untrained(
    overrides: list[str], folder: Path, *, seed: int = 1, device: torch.device = CPU
) -> Setup:
    """The model that these overrides name; of a model with stages, the first one's."""
    config, shared, values = _start(overrides)
    resolved = resolve_model(config.model)
    context = TrainingContext(
        data=shared.data,
        split=shared.split,
        seed=seed,
        device=device,
        folder=folder,
        precision=precision_of(config.precision, device=device, resolved=resolved),
    )
    return Setup(config, shared, *build(values, context), values, context)


def untrained_peer(
    overrides: list[str], folder: Path, *, seed: int = 1, device: torch.device = CPU
) -> Setup:
    """RecBole's own class for the model that these overrides name, with RecBole's rows and loop.

    The hyper-parameters are ours; those that only a strategy of ours reads say nothing to RecBole.
    """
    config, shared, values = _start(overrides)
    values = values | {"strategy": "recbole"}
    known = {key: value for key, value in values.items() if key not in ENGINE_KEYS}
    seed_everything(seed)
    recbole = recbole_config(values["name"], known, seed=seed, device=device, folder=str(folder))
    dataset = recbole_dataset(recbole, data=shared.data, split=shared.split)
    model = recbole_class(values["name"])(recbole, dataset).to(device)
    context = TrainingContext(
        data=shared.data, split=shared.split, seed=seed, device=device, folder=folder
    )
    return Setup(config, shared, model, dataset, recbole, values, context)


def recbole_class(name: str) -> type[AbstractRecommender]:
    """The class of that name that RecBole ships, whatever is registered under its name."""
    for family in FAMILIES:
        package = importlib.import_module(f"recbole.model.{family}")
        if hasattr(package, name):
            found: type[AbstractRecommender] = getattr(package, name)
            assert found.__module__.startswith("recbole."), found
            return found
    raise LookupError(f"RecBole ships no {name} among {', '.join(FAMILIES)}")


def import_all() -> None:
    """Import now what either side would import within its first pass.

    torch imports its compiler at an optimizer's first step, and strategies are imported by name.
    """
    for module in pkgutil.iter_modules(experiments.training.__path__, "experiments.training."):
        importlib.import_module(module.name)
    weight = torch.zeros(1, requires_grad=True)
    weight.sum().backward()
    torch.optim.Adam([weight]).step()


def _start(overrides: list[str]) -> tuple[Config, SharedData, dict[str, Any]]:
    import_all()
    config = typed(compose(overrides))
    first = next(iter(resolve_model(config.model).stages.values()))
    return config, shared_data(config), first
