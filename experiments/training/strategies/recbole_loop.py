"""The strategy `recbole`: RecBole's own loader, sampler and epoch.

It trains any model that RecBole ships, models with an epoch of their own (RecVAE, NCL) included,
since the epoch is that of the trainer class that RecBole would choose.
"""

from collections.abc import Iterator
from typing import Any

import torch
from recbole.config import Config
from recbole.data.utils import get_dataloader
from recbole.sampler import RepeatableSampler, Sampler
from recbole.utils import get_trainer

from experiments.bridge.dataset import TrainingRows
from experiments.errors import PaddockError
from experiments.training.strategy import Task, Tick, check_loss
from paddock import key
from paddock.training_keys import NEGATIVE_SAMPLING, OptimizerConfig


class RecBoleLoopConfig(OptimizerConfig):
    """RecBole's own loader, sampler and epoch."""

    name = "recbole"
    prefixes = True

    train_batch_size: int = key(2048, "Rows of a batch, as RecBole's loader counts them.", least=1)
    train_neg_sample_args: dict | None = key(
        NEGATIVE_SAMPLING, "Negative sampling: distribution, sample_num, alpha, dynamic."
    )
    shuffle: bool = key(True, "Whether the rows are shuffled before each epoch.")
    transform: str | None = key(
        None, "What RecBole does to a batch, by default what the model needs; null: nothing."
    )


class RecBoleLoop:
    """One epoch as RecBole's trainer runs it.

    Parameters
    ----------
    task : Task
        The model, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        self._model = task.model
        trainer_class = get_trainer(task.config["MODEL_TYPE"], task.config["model"])
        self._loader = training_loader(task.config, task.dataset)
        if task.config["train_neg_sample_args"].get("dynamic", False):
            self._loader.get_model(task.model)
        self._trainer = trainer_class(task.config, task.model)
        self.generators = {"loader": self._loader.generator}
        self.optimizers = {
            name: value
            for name, value in vars(self._trainer).items()
            if isinstance(value, torch.optim.Optimizer)
        }

    def train_epoch(self, epoch: int, tick: Tick) -> float:
        """Pass over the training data once and return the mean loss of a batch.

        Parameters
        ----------
        epoch : int
            Finished epochs of the stage.
        tick : Tick
            Called after every batch with (batches done, batches in all).
        """
        self._model.train()
        if hasattr(self._trainer, "num_m_step") and epoch % self._trainer.num_m_step == 0:
            self._model.e_step()  # NCL clusters its embeddings between epochs (trainer.py:1325)
        batches = _Ticking(self._loader, tick)
        try:
            loss: Any = self._trainer._train_epoch(batches, epoch)
        except ValueError as error:
            if "loss is nan" not in str(error):
                raise
            return check_loss(float("nan"), model=self._model, epoch=epoch)
        total = sum(loss) if isinstance(loss, tuple) else loss
        return check_loss(float(total) / max(1, len(self._loader)), model=self._model, epoch=epoch)


def training_loader(config: Config, dataset: TrainingRows) -> Any:
    """RecBole's loader of training batches, with its negative sampler.

    The sampler knows the training part alone. RecBole's counts popularity over valid and test too
    (sampler.py:141) and never draws their items as negatives, which leaks them to the model.

    Parameters
    ----------
    config : Config
        RecBole's Config of the stage.
    dataset : TrainingRows
        The training part.

    Raises
    ------
    PaddockError
        If the model needs negatives and some user interacted with every item.
    """
    arguments = config["train_neg_sample_args"]
    drawn = (arguments["distribution"], arguments["alpha"])
    sampler: Any = None
    if arguments["distribution"] != "none" and config["repeatable"]:
        sampler = RepeatableSampler(["train"], dataset, *drawn).set_phase("train")
    elif arguments["distribution"] != "none":
        try:
            sampler = Sampler(["train"], [dataset], *drawn).set_phase("train")
        except ValueError as error:
            raise PaddockError(
                f"{config['model']} needs negatives, and some user interacted with every item: "
                "filter such users or choose another data set"
            ) from error
    return get_dataloader(config, "train")(config, dataset, sampler, shuffle=config["shuffle"])


class _Ticking:
    """A loader that reports its progress after every batch."""

    def __init__(self, loader: Any, tick: Tick) -> None:
        self._loader = loader
        self._tick = tick

    def __iter__(self) -> Iterator[Any]:
        total = len(self._loader)
        for done, batch in enumerate(self._loader, start=1):
            yield batch
            self._tick(done, total)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
