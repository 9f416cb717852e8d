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
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.files import hash_of, lock
from experiments.protocol.split import Split
from experiments.runs.folder import find_runs
from experiments.training.loop import StageProgress
from experiments.training.state import load_model_state, model_state

FORMAT = 1
"""Raise it when the engine's arithmetic changes, so that kept products are not taken for equal."""

FOLDER = "stages"

EVALUATION_KEYS = (
    "item_route",
    "gate_interactions",
    "profile_weight",
    "profile_decay",
    "likelihood",
    "rerank",
    "order_check",
    "generation_users",
)
LLM_KEYS = (
    "llm",
    "words",
    "history_items",
    "title_tokens",
    "user_token",
    "item_tokens",
    "projections",
    "train_candidates",
    "epoch_samples",
    "accumulate",
)
"""Keys that matter from the language model's stage on."""

UNREAD = {"align": (*EVALUATION_KEYS, *LLM_KEYS)}
"""Strategy -> keys that change nothing of what its stage learns; only these strategies are shared."""

LEARNED = {"align": ("item_autoencoder.", "text_autoencoder.", "texts.")}
"""Strategy -> beginnings of the names of the weights that it learns."""


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

    def load(self, model: AbstractRecommender) -> StageProgress | None:
        """Put the weights into the model, if the file is there."""
        if not self.path.exists():
            return None
        sections, notes = checkpoint.load(self.path)
        if notes["identity"] != self.identity:
            return None
        tensors, plain = sections["model"]
        if self.learned != ("",):
            own, plain = model_state(model)
            tensors = own | tensors
        load_model_state(model, tensors, plain)
        return StageProgress(**notes["progress"])

    def take(
        self, model: AbstractRecommender, *, runs_dir: Path, dataset: str
    ) -> StageProgress | None:
        """Put the weights of a finished run into the model and keep them, if one has trained them."""
        for run in find_runs(runs_dir, dataset=dataset, finished=True):
            weights = run.path / "model" / "model.safetensors"
            if run.run.get("weights") == self.identity and weights.exists():
                sections, _ = checkpoint.load(weights)
                load_model_state(model, *sections["model"])
                curve = run.curve
                progress = StageProgress(
                    epoch=curve[-1]["epoch"],
                    step=curve[-1]["step"],
                    seconds=sum(record["seconds"] for record in curve),
                )
                self.save(model, progress)
                return progress
        return None

    def save(self, model: AbstractRecommender, progress: StageProgress) -> None:
        tensors, plain = model_state(model)
        kept = {
            name: value
            for name, value in tensors.items()
            if name.removeprefix("weight/").startswith(self.learned)
        }
        notes = {"identity": self.identity, "progress": vars(progress)}
        checkpoint.save(self.path, {"model": (kept, plain)}, notes=notes)


def product_of(
    values: Mapping[str, Any],
    *,
    data: Prepared,
    split: Split,
    seed: int,
    device: torch.device,
    selection: str,
    precision: torch.dtype = torch.float32,
    before: str | None = None,
) -> Product:
    """The shared product of a stage.

    Parameters
    ----------
    values
        The stage's resolved configuration.
    selection
        Names what selects epochs; it matters where the best one is kept.
    before
        The identity of the backbone.
    """
    strategy = values["strategy"]
    unread: tuple[str, ...] = UNREAD.get(strategy, ())
    validated = values["keep"] == "best" or values["stopping_step"] > 0
    if validated and strategy in UNREAD:
        # The epoch that is kept is the one that scores best, by whatever scores it.
        unread = LLM_KEYS
    content = {
        "format": FORMAT,
        "values": {key: value for key, value in values.items() if key not in unread},
        "data": data.hash,
        "split": split.parts_hash,
        "seed": seed,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "selection": selection if validated else None,
        "before": before,
    }
    if precision != torch.float32:
        content["precision"] = str(precision)
    identity = hash_of(content)
    return Product(
        path=product_path(data, identity),
        identity=identity,
        learned=LEARNED.get(strategy, ("",)),
    )


def product_path(data: Prepared, identity: str) -> Path:
    return (data.elsewhere or data.path) / FOLDER / f"{identity}.safetensors"


def load_product(model: AbstractRecommender, data: Prepared, identity: str) -> None:
    """Put a whole product's weights into the model.

    Raises
    ------
    PaddockError
        If the product is gone.
    """
    product = Product(path=product_path(data, identity), identity=identity)
    if product.load(model) is None:
        raise PaddockError(
            f"{product.path} is missing, the backbone that the run was trained on: "
            "run its command again with force=true"
        )
