"""Products of training that runs share: a backbone, and stages that a later stage does not change.

Each lies beside the prepared data under the hash of everything that made it, so that changing a
language model trains neither the backbone nor the alignment again, and changing the backbone does.
A finished run of the backbone's own model is such a product too: its run.json says of which hash.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recbole.model.abstract_recommender import AbstractRecommender

from experiments import checkpoint
from experiments.components.registry import strategies
from experiments.config.models import model
from experiments.config.resolve import BACKBONE
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.files import hash_of, lock
from experiments.runs.folder import find_runs
from experiments.training.context import TrainingContext
from experiments.training.loop import StageProgress
from experiments.training.state import load_model_state, model_state
from paddock import EVALUATION

FORMAT = 1
"""Raise it when the engine's arithmetic changes, so that kept products are not taken for equal."""

FOLDER = "stages"


@dataclass(frozen=True, kw_only=True)
class Product:
    """A file that may hold the weights, and which of a model's they are.

    `identity` is the hash of what makes them.
    """

    path: Path
    identity: str
    learned: tuple[str, ...] = ("",)

    @property
    def shared(self) -> bool:
        """Whether other runs than this one may make it, or take it."""
        return self.path.parent.name == FOLDER

    def held(self) -> AbstractContextManager[Any]:
        """Keeps other processes from training the same, where runs share it."""
        return lock(self.path.with_suffix(".lock")) if self.shared else nullcontext()

    def load(self, recommender: AbstractRecommender) -> StageProgress | None:
        """Put the weights into the model, if the file is there."""
        if not self.path.exists():
            return None
        sections, notes = checkpoint.load(self.path)
        if notes["identity"] != self.identity:
            return None
        tensors, plain = sections["model"]
        if self.learned != ("",):
            own, plain = model_state(recommender)
            tensors = own | tensors
        load_model_state(recommender, tensors, plain)
        return StageProgress(**notes["progress"])

    def take(
        self, recommender: AbstractRecommender, *, runs_dir: Path, dataset: str
    ) -> StageProgress | None:
        """Put the weights of a finished run into the model and keep them, if one has trained them."""
        for run in find_runs(runs_dir, dataset=dataset, finished=True):
            weights = run.path / "model" / "model.safetensors"
            if run.run.get("weights") == self.identity and weights.exists():
                sections, _ = checkpoint.load(weights)
                load_model_state(recommender, *sections["model"])
                curve = run.curve
                progress = StageProgress(
                    epoch=curve[-1]["epoch"],
                    step=curve[-1]["step"],
                    seconds=sum(record["seconds"] for record in curve),
                )
                self.save(recommender, progress)
                return progress
        return None

    def save(self, recommender: AbstractRecommender, progress: StageProgress) -> None:
        tensors, plain = model_state(recommender)
        kept = {
            name: value
            for name, value in tensors.items()
            if name.removeprefix("weight/").startswith(self.learned)
        }
        notes = {"identity": self.identity, "progress": vars(progress)}
        checkpoint.save(self.path, {"model": (kept, plain)}, notes=notes)


def is_shared(values: Mapping[str, Any]) -> bool:
    """Whether what the stage learns is shared by the runs that would train the same."""
    config = model(values["name"]).config
    return config is not None and values["strategy"] in config.learns


def product_of(
    values: Mapping[str, Any],
    context: TrainingContext,
    *,
    selection: str,
    before: str | None = None,
) -> Product:
    """The shared product of a stage.

    Parameters
    ----------
    values : mapping
        Resolved values of the stage.
    context : TrainingContext
    selection : str
        Names what selects epochs; it matters where the best one is kept.
    before : str, optional
        The identity of the backbone.
    """
    strategy, config = values["strategy"], model(values["name"]).config
    validated = values["keep"] == "best" or values["stopping_step"] > 0
    content: dict[str, Any] = {
        "format": FORMAT,
        "values": learned_from(values, validated=validated),
        "sources": stage_sources(values),
        "data": context.data.hash,
        "split": context.split.parts_hash,
        "seed": context.seed,
        "device": context.device.type,
        "threads": torch.get_num_threads(),
        "selection": selection if validated else None,
        "before": before,
    }
    if context.precision != torch.float32:
        content["precision"] = str(context.precision)
    identity = hash_of(content)
    return Product(
        path=product_path(context.data, identity),
        identity=identity,
        learned=("",) if config is None else config.learns.get(strategy, ("",)),
    )


def learned_from(values: Mapping[str, Any], *, validated: bool) -> dict[str, Any]:
    """The values that matter to what a stage learns.

    Keys of later stages do not, nor do keys of the evaluation, unless epochs are selected by what
    scores them.
    """
    found = model(values["name"])
    order = found.config.stages if found.config is not None else ()
    if values["strategy"] not in order:
        return dict(values)
    later = set(order[order.index(values["strategy"]) + 1 :])
    if not validated:
        later.add(EVALUATION)
    unread = {name for name, key in found.keys.items() if key.stage in later}
    return {key: value for key, value in values.items() if key not in unread and key != BACKBONE}


def stage_sources(values: Mapping[str, Any]) -> dict[str, str]:
    """The hashes of the sources that a stage is computed by: the model's and the strategy's."""
    component = model(values["name"]).component
    return {
        "model": "" if component is None else component.source,
        "strategy": strategies()[values["strategy"]].source,
    }


def product_path(data: Prepared, identity: str) -> Path:
    return (data.elsewhere or data.path) / FOLDER / f"{identity}.safetensors"


def load_product(recommender: AbstractRecommender, data: Prepared, identity: str) -> None:
    """Put a whole product's weights into the model.

    Raises
    ------
    PaddockError
        If the product is gone.
    """
    product = Product(path=product_path(data, identity), identity=identity)
    if product.load(recommender) is None:
        raise PaddockError(
            f"{product.path} is missing, the backbone that the run was trained on: "
            "run its command again with force=true"
        )
