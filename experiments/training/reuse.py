"""Products of training that runs share: a backbone, and stages that a later stage does not change.

Each lies beside the prepared data under the hash of everything that determines it. Another language
model therefore reuses the backbone and the alignment; another backbone does not. A finished run of the
backbone's own model is such a product too: its run.json holds the hash.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recbole.model.abstract_recommender import AbstractRecommender

from experiments import checkpoint
from experiments.bridge.kept_scores import KeptScores, kept_scores
from experiments.components.registry import strategies
from experiments.config.models import model
from experiments.config.resolve import BACKBONE, ResolvedModel
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.files import hash_of
from experiments.integrity import Damaged, say_once
from experiments.locks import lock
from experiments.runs.folder import RunFolder, find_runs
from experiments.training import ranks
from experiments.training.context import TrainingContext
from experiments.training.loop import StageProgress
from experiments.training.state import load_model_state, model_state
from paddock import EVALUATION

FORMAT = 1
"""Raise it when the engine's arithmetic changes, so that earlier products are not reused."""

FOLDER = "stages"

SCORES = "scores"
"""The folder of the scores that finished models gave to candidates."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """A file of trained weights.

    `identity` is the hash of what makes them.

    Attributes
    ----------
    path : Path
        The file.
    identity : str
        The hash of all that determines the weights.
    learned : tuple of str
        Prefixes of the names of the weights that the file holds; "" holds all.
    """

    path: Path
    identity: str
    learned: tuple[str, ...] = ("",)

    @property
    def shared(self) -> bool:
        """Whether other runs may use the product."""
        return self.path.parent.name == FOLDER

    def held(self) -> AbstractContextManager[Any]:
        """A lock that keeps other processes from training the same product, if it is shared."""
        return lock(self.path.with_suffix(".lock")) if self.shared else nullcontext()

    def load(self, recommender: AbstractRecommender) -> StageProgress | None:
        """Load the weights into a model, if the file exists.

        Parameters
        ----------
        recommender : AbstractRecommender
            The model; its weights are replaced.

        Returns
        -------
        StageProgress or None
            The progress of the training that made the weights; None where there is no such file, or
            it is damaged, which a warning says.
        """
        if not self.path.exists():
            return None
        try:
            sections, notes = checkpoint.load(self.path)
        except Damaged as error:
            say_once(f"{error}. It is not used")
            return None
        if notes["identity"] != self.identity:
            return None
        tensors, plain = sections["model"]
        if self.learned != ("",):
            own, plain = model_state(recommender)
            tensors = own | tensors
        load_model_state(recommender, tensors, plain)
        return StageProgress(**notes["progress"])

    def take(
        self,
        recommender: AbstractRecommender,
        *,
        runs_dir: Path,
        dataset: str,
        run: tuple[str, int] | None = None,
    ) -> StageProgress | None:
        """Load the weights of a finished run into a model, and save them as this product.

        Parameters
        ----------
        recommender : AbstractRecommender
            The model; its weights are replaced.
        runs_dir : Path
            Where finished runs are looked for.
        dataset : str
            Name of the data set of those runs.
        run : tuple of str and int, optional
            Identity and seed of the run that would train the same.

        Returns
        -------
        StageProgress or None
            The run's progress; None where no finished run has these weights.
        """
        for found in find_runs(runs_dir, dataset=dataset, finished=True):
            weights = found.path / "model" / "model.safetensors"
            said = found.run
            same = said.get("weights") == self.identity
            same = same or (said["config_hash"], said["seed"]) == run
            if same and weights.exists() and _whole(found):
                sections, _ = checkpoint.load(weights)
                load_model_state(recommender, *sections["model"])
                curve = found.curve
                progress = StageProgress(
                    epoch=curve[-1]["epoch"],
                    step=curve[-1]["step"],
                    best_epoch=found.result["best_epoch"],
                    seconds=sum(record["seconds"] for record in curve),
                )
                self.save(recommender, progress)
                return progress
        return None

    def save(self, recommender: AbstractRecommender, progress: StageProgress) -> None:
        """Write the model's learned weights.

        Parameters
        ----------
        recommender : AbstractRecommender
            The trained model.
        progress : StageProgress
            The progress of its training.
        """
        tensors, plain = model_state(recommender)
        kept = {
            name: value
            for name, value in tensors.items()
            if name.removeprefix("weight/").startswith(self.learned)
        }
        notes = {"identity": self.identity, "progress": vars(progress)}
        checkpoint.save(self.path, {"model": (kept, plain)}, notes=notes)


def _whole(run: RunFolder) -> bool:
    """Whether a finished run still holds what was written; where not, a warning says so."""
    try:
        run.verify()
    except Damaged as error:
        say_once(f"not used: {error}")
        return False
    return True


def is_shared(values: Mapping[str, Any]) -> bool:
    """Whether runs that would train the same stage share its weights.

    Parameters
    ----------
    values : mapping of str to object
        Resolved values of the stage.
    """
    config = model(values["name"]).config
    return config is not None and values["strategy"] in config.learns


def product_of(
    values: Mapping[str, Any],
    context: TrainingContext,
    *,
    selection: str,
    before: str | None = None,
    epochs: int | None = None,
) -> Product:
    """The shared product of a stage.

    Parameters
    ----------
    values : mapping of str to object
        Resolved values of the stage.
    context : TrainingContext
        The data, the split, the seed and the device.
    selection : str
        Names what selects epochs; it counts only if the best epoch is kept or training stops early.
    before : str, optional
        The identity of the backbone.
    epochs : int, optional
        How many epochs were chosen before; nothing is selected then.
    """
    strategy, config = values["strategy"], model(values["name"]).config
    validated = _validated(values)
    content: dict[str, Any] = {
        "values": learned_from(values, validated=validated),
        "sources": stage_sources(values),
        "selection": selection if validated else None,
        "before": before,
    }
    if epochs is not None:
        content |= {"selection": None, "chosen_epochs": epochs}
    identity = hash_of(content | _circumstances(context))
    return Product(
        path=product_path(context.data, identity),
        identity=identity,
        learned=("",) if config is None else config.learns.get(strategy, ("",)),
    )


def product_of_stages(
    resolved: ResolvedModel, context: TrainingContext, *, selection: str
) -> Product:
    """The shared product of a model of several stages: the weights of the last.

    Parameters
    ----------
    resolved : ResolvedModel
        The model; all its values count, those of the evaluation too.
    context : TrainingContext
        The data, the split, the seed and the device.
    selection : str
        As of `product_of`, of any stage.
    """
    stages = (values for each in resolved.everything for values in each.stages.values())
    content = {
        "values": resolved.content,
        "sources": resolved.sources,
        "selection": selection if any(_validated(values) for values in stages) else None,
    }
    identity = hash_of(content | _circumstances(context))
    return Product(path=product_path(context.data, identity), identity=identity)


def _validated(values: Mapping[str, Any]) -> bool:
    """Whether validation selects or stops a stage's epochs."""
    return bool(values["keep"] == "best" or values["stopping_step"] > 0)


def _circumstances(context: TrainingContext) -> dict[str, Any]:
    """What determines the weights of any stage beside its model."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "data": context.data.hash,
        "split": context.split.parts_hash,
        "seed": context.seed,
        "device": context.device.type,
        "threads": torch.get_num_threads(),
    }
    if ranks.size() > 1:
        content["processes"] = ranks.size()
    if context.precision != torch.float32:
        content["precision"] = str(context.precision)
    return content


def scores_of(data: Prepared, identity: str) -> KeptScores:
    """The scores that a model gave to candidates, which fusions of it read.

    Parameters
    ----------
    data : Prepared
        The prepared data set, beside which they lie.
    identity : str
        Of the model's weights.
    """
    return kept_scores((data.elsewhere or data.path) / SCORES / f"{identity}.safetensors")


def learned_from(values: Mapping[str, Any], *, validated: bool) -> dict[str, Any]:
    """The values that affect what a stage learns.

    Keys of later stages do not, nor do keys of the evaluation, unless epochs are selected by what
    scores them.

    Keys of the evaluation count only if its scores select epochs. Keys of later stages never count.

    Parameters
    ----------
    values : mapping of str to object
        Resolved values of the stage.
    validated : bool
        Whether validation selects or stops epochs.
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
    """The hashes of the model's and the strategy's source.

    Parameters
    ----------
    values : mapping of str to object
        Resolved values of the stage.
    """
    component = model(values["name"]).component
    return {
        "model": "" if component is None else component.source,
        "strategy": strategies()[values["strategy"]].source,
    }


def product_path(data: Prepared, identity: str) -> Path:
    """The file of a product.

    Parameters
    ----------
    data : Prepared
        The prepared data set, beside which products lie.
    identity : str
        The hash of all that determines the weights.
    """
    return (data.elsewhere or data.path) / FOLDER / f"{identity}.safetensors"


def load_product(recommender: AbstractRecommender, data: Prepared, identity: str) -> None:
    """Load all weights of a product into a model.

    Parameters
    ----------
    recommender : AbstractRecommender
        The model; its weights are replaced.
    data : Prepared
        The prepared data set, beside which products lie.
    identity : str
        The hash of all that determines the weights.

    Raises
    ------
    PaddockError
        If the product is missing or damaged.
    """
    product = Product(path=product_path(data, identity), identity=identity)
    if product.load(recommender) is None:
        raise PaddockError(
            f"{product.path} is missing or damaged, the backbone that the run was trained on: "
            "run its command again with force=true"
        )
