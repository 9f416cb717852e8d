"""The strategy `dpo`: a tuned language model learns to prefer the next item's title to others.

The loss is S-DPO's (Chen et al., NeurIPS 2024): one preferred answer and several rejected ones, against the model as
it was before the stage. The loop is this project's own: trl's trainer knows pairs alone, brings its
own data sets, checkpoints and generators, and would not resume bit for bit.

B rows of a batch, C candidates, K negatives.
"""

from recbole.data.interaction import Interaction
from torch import Tensor

from experiments.training.strategies.sft import Sft, SftConfig
from experiments.training.strategy import Task
from models.llmrec.model import REJECTED
from paddock import choices, key, log_uniform


class DpoConfig(SftConfig):
    """Prompts with the target and some of the candidates as preferred and rejected answers."""

    name = "dpo"
    needs = "preferences"

    learning_rate: float = key(1e-5, "Adam's step size.", above=0, search=log_uniform(1e-6, 1e-4))
    beta: float = key(
        1.0,
        "Scale of the preferences; the smaller, the farther from the reference.",
        above=0,
        search=choices(0.1, 0.5, 1.0),
    )
    negatives: int = key(3, "Rejected answers of a prompt.", least=1)


class Dpo(Sft):
    """Batches of prompts with K rejected answers.

    Parameters
    ----------
    task : Task
        The model, as the stage before left it, its configuration and the training data.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._beta = float(task.config["beta"])
        self._negatives = int(task.config["negatives"])
        # A checkpoint is read later: the reference is what this stage began from.
        self._model.keep_reference()

    def _fields(self, candidates_BC: Tensor, negatives: Tensor) -> dict[str, Tensor]:
        rejected_BK = negatives[:, : self._negatives]
        return {**super()._fields(candidates_BC, negatives), REJECTED: rejected_BK}

    def _batch_loss(self, batch: Interaction) -> Tensor:
        loss: Tensor = self._model.preference_loss(batch, beta=self._beta)
        return loss
