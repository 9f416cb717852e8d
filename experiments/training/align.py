"""The strategy `align`: A-LLMRec's stage 1, the item and text embeddings meet in a joint space."""

from recbole.data.interaction import Interaction

from experiments.training.state import seed_everything
from experiments.training.strategy import Task, Tick
from experiments.training.targets import AdamSteps, Targets


class Align:
    """Batches of one (user state, positive, negative) a user, the last training item by default."""

    def __init__(self, task: Task) -> None:
        # What was drawn before depends on networks that this stage does not read.
        seed_everything(task.seed)
        self._model = task.model
        self._device = task.config["device"]
        self._batch_size = int(task.config["train_batch_size"])
        self._targets = Targets(task, positions=task.config["positions"])
        self._steps = AdamSteps(task)
        self.generators = self._targets.generators
        self.optimizers = self._steps.optimizers

    def train_epoch(self, epoch: int, tick: Tick) -> float:
        self._model.train()
        users, places = self._targets.drawn()
        negatives = self._targets.negatives(users, 1)[:, 0]
        starts = range(0, len(users), self._batch_size)
        total = 0.0
        for done, start in enumerate(starts):
            rows = slice(start, start + self._batch_size)
            batch = self._targets.batch(users[rows], places[rows])
            batch.update(Interaction({self._model.NEG_ITEM_ID: negatives[rows]}))
            loss = self._model.calculate_loss(batch.to(self._device))
            total += self._steps.step(loss, epoch=epoch, done=done, batches=len(starts))
            tick(done + 1, len(starts))
        return total / len(starts)
