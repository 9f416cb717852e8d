"""Training steps in bfloat16: near those in float32, on weights that stay float32."""

from typing import Any

import pytest
import torch

from experiments.config.compose import compose, typed
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.runs.identity import config_hash
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.device import precision_of
from experiments.training.losses import full_softmax
from experiments.training.stages import make_strategy

CPU = torch.device("cpu")
MODELS = ("sasrec", "gru4rec", "bert4rec", "multivae", "ract")


def first_pass(
    name: str, precision: torch.dtype, data: Prepared, split: Split, folder: Any
) -> tuple[float, dict[str, torch.Tensor], Any]:
    """The loss of a pass over the data, what it changed, and the strategy."""
    model = resolve_model(typed(compose([f"model={name}", "dataset=tiny"])).model)
    values = next(iter(model.stages.values()))
    context = TrainingContext(
        data=data, split=split, seed=1, device=CPU, folder=folder, precision=precision
    )
    built = build(values, context)
    before = {key: value.clone() for key, value in built.model.named_parameters()}
    trained = make_strategy(values["strategy"], built, context)
    loss = trained.train_epoch(0, lambda done, total: None)
    changes = {key: value.detach() - before[key] for key, value in built.model.named_parameters()}
    return loss, changes, trained


@pytest.mark.parametrize("name", MODELS)
def test_a_pass_is_near_that_in_float32(
    name: str, tiny_data: Prepared, tiny_split: Split, tmp_path: Any
) -> None:
    exact, moves, _ = first_pass(name, torch.float32, tiny_data, tiny_split, tmp_path)
    found, near, trained = first_pass(name, torch.bfloat16, tiny_data, tiny_split, tmp_path)
    assert found != exact
    assert found == pytest.approx(exact, rel=0.01)
    assert {change.dtype for change in near.values()} == {torch.float32}
    for state in trained.optimizers["optimizer"].state.values():
        assert state["exp_avg"].dtype == torch.float32
    # Adam's first steps are of the gradient's sign, so that the way is alike, not each step.
    ours = torch.cat([change.flatten() for change in near.values()])
    theirs = torch.cat([change.flatten() for change in moves.values()])
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.9


def test_full_softmax_and_its_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    states = torch.randn((50, 8), generator=generator).bfloat16().requires_grad_()
    weight = torch.randn((30, 8), generator=generator, requires_grad=True)
    targets = torch.randint(0, 30, (50,), generator=generator)
    loss = full_softmax(states, weight, targets)
    assert loss.dtype == torch.float32
    found = torch.autograd.grad(loss, [states, weight])
    assert [gradient.dtype for gradient in found] == [torch.bfloat16, torch.float32]
    exact = states.detach().float().requires_grad_()
    expected = torch.nn.functional.cross_entropy(exact @ weight.T, targets)
    assert loss.item() == pytest.approx(expected.item(), rel=5e-3)
    wanted = torch.autograd.grad(expected, [exact, weight])
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours.float(), theirs, atol=2e-3, rtol=5e-2)


def test_what_auto_means(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(name: str, asked: str, device: str) -> torch.dtype:
        model = resolve_model(typed(compose([f"model={name}", "dataset=tiny"])).model)
        return precision_of(asked, device=torch.device(device), resolved=model)

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert chosen("sasrec", "auto", "cpu") is torch.float32
    assert chosen("sasrec", "bfloat16", "cpu") is torch.bfloat16
    assert chosen("sasrec", "auto", "cuda") is torch.bfloat16
    assert chosen("sasrec", "float32", "cuda") is torch.float32
    assert chosen("ract", "auto", "cuda") is torch.bfloat16
    assert chosen("lightgcn", "auto", "cuda") is torch.float32
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert chosen("sasrec", "auto", "cuda") is torch.float32


def test_a_run_in_bfloat16_is_another_run() -> None:
    def hashed(**precision: str) -> str:
        return config_hash(
            model={}, sources={}, hashes={}, protocol={}, device="cpu", threads=1, **precision
        )

    assert hashed() == hashed(precision="float32") != hashed(precision="bfloat16")
