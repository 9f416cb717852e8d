"""The learning rate's way and the step of a batch, against torch's own scheduler."""

import pytest
import torch

from experiments.errors import PaddockError
from experiments.training.optimizers import Steps
from experiments.training.strategy import Task

EPOCHS, BATCHES = 4, 3


def made(schedule, *, learner="sgd", clip=None, weight_decay=0.0):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    config = {
        "learner": learner,
        "learning_rate": 0.1,
        "learning_rate_schedule": schedule,
        "weight_decay": weight_decay,
        "clip_grad_norm": clip,
        "epochs": EPOCHS,
    }
    return model, Steps(Task(model=model, config=config, dataset=None, split=None, seed=1))


def places():
    return [(epoch, done) for epoch in range(EPOCHS) for done in range(BATCHES)]


def test_cosine_is_torchs_annealing():
    model, steps = made("cosine")
    torch.manual_seed(0)
    other = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS * BATCHES)
    rows = torch.randn(EPOCHS * BATCHES, 5, 3)
    for (epoch, done), batch in zip(places(), rows, strict=True):
        steps.step(model(batch).square().mean(), epoch=epoch, done=done, batches=BATCHES)
        optimizer.zero_grad()
        other(batch).square().mean().backward()
        optimizer.step()
        annealing.step()
    torch.testing.assert_close(model.weight, other.weight)


def test_the_rate_depends_on_the_place_alone():
    """So that a run that goes on from a checkpoint needs no state of it."""
    weights = []
    for first in (0, 7):
        model, steps = made("cosine")
        for epoch, done in places()[first:]:
            model.load_state_dict({"weight": torch.ones(1, 3), "bias": torch.zeros(1)})
            steps.step(model(torch.ones(1, 3)).sum(), epoch=epoch, done=done, batches=BATCHES)
        weights.append(model.weight.detach().clone())
    assert torch.equal(*weights)


def test_constant_keeps_the_rate():
    model, steps = made("constant")
    for epoch, done in places():
        steps.step(model(torch.ones(1, 3)).sum(), epoch=epoch, done=done, batches=BATCHES)
        assert steps.optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("decay", [0.0, 0.25])
def test_weights_decay_by_their_share_of_the_rate(decay):
    """The gradient is that of the loss plus decay / 2 times the squared weights."""
    model, steps = made("constant", weight_decay=decay)
    before = [weight.detach().clone() for weight in model.parameters()]
    x_D = torch.tensor([[1.0, 2.0, 3.0]])
    steps.step(model(x_D).sum(), epoch=0, done=0, batches=1)
    for weight, start, gradient in zip(model.parameters(), before, (x_D, 1.0), strict=True):
        torch.testing.assert_close(weight.detach(), start - 0.1 * (gradient + decay * start))


def test_clipping_bounds_the_step():
    model, steps = made("constant", clip={"max_norm": 0.5, "norm_type": 2})
    before = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    steps.step(1000 * model(torch.ones(1, 3)).sum(), epoch=0, done=0, batches=1)
    after = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    assert (after - before).norm() == pytest.approx(0.1 * 0.5, rel=1e-3)


def test_a_loss_that_is_no_number_changes_no_weight():
    model, steps = made("constant")
    before = model.weight.detach().clone()
    with pytest.raises(PaddockError, match="loss of Linear is nan in epoch 2"):
        steps.step(model(torch.ones(1, 3)).sum() * float("nan"), epoch=1, done=0, batches=1)
    assert torch.equal(model.weight, before)
