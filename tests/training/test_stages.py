"""Stages follow one another: each starts from the weights of the one before."""

from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.config.resolve import ResolvedModel, resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.training.context import TrainingContext
from experiments.training.stages import Training, train
from experiments.training.state import model_state
from paddock import Callback

ACTOR = {"train_stage": "actor_pretrain", "epochs": 2}
CRITIC = {"train_stage": "critic_pretrain", "epochs": 3, "keep": "last"}
FINETUNE = {"train_stage": "finetune", "epochs": 1, "keep": "last"}


def ract(**stages: dict[str, Any]) -> ResolvedModel:
    values = {"name": "RaCT", "mlp_hidden_size": [16], "latent_dimension": 8, "stages": stages}
    return resolve_model(values)


def weights(model: torch.nn.Module, *parts: str) -> dict[str, torch.Tensor]:
    tensors, _ = model_state(model)
    return {name: value for name, value in tensors.items() if name.split("/")[1].startswith(parts)}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_stage_starts_from_the_weights_of_the_one_before(
    fit: Any, tiny_data: Prepared, tiny_split: Split
) -> None:
    actor = fit(ract(actor=ACTOR), tiny_data, tiny_split).model
    critic = fit(ract(actor=ACTOR, critic=CRITIC), tiny_data, tiny_split).model
    finetuned = fit(
        ract(actor=ACTOR, critic=CRITIC, finetune=FINETUNE), tiny_data, tiny_split
    ).model
    assert same(weights(critic, "encoder", "decoder"), weights(actor, "encoder", "decoder"))
    assert not same(weights(critic, "critic_net"), weights(actor, "critic_net"))
    # The critic stands still, but for the running means of its batch norm.
    learned = ("critic_net.1", "critic_net.3")
    assert same(weights(finetuned, *learned), weights(critic, *learned))
    assert not same(weights(finetuned, "encoder"), weights(critic, "encoder"))


def test_counters_of_a_stage_are_its_own(fit: Any, tiny_data: Prepared, tiny_split: Split) -> None:
    actor = fit(ract(actor=ACTOR), tiny_data, tiny_split).model
    critic = fit(ract(actor=ACTOR, critic=CRITIC), tiny_data, tiny_split).model
    batches = actor.update // ACTOR["epochs"]
    assert actor.update == batches * 2 > 0
    assert critic.update == batches * 3


def test_the_curve_runs_through_all_stages(
    fit: Any, tiny_data: Prepared, tiny_split: Split
) -> None:
    records: list[dict[str, Any]] = []
    fit(ract(a=ACTOR, b=CRITIC), tiny_data, tiny_split, on_epoch=records.append)
    told = [(record["stage"], record["epoch"], record["step"]) for record in records]
    assert told == [("a", 1, 1), ("a", 2, 2), ("b", 1, 3), ("b", 2, 4), ("b", 3, 5)]


def test_a_finished_stage_is_not_trained_again(
    tiny_data: Prepared, tiny_split: Split, tmp_path: Path
) -> None:
    def trained(identity: str, *, broken: bool = False) -> tuple[Any, list[str]]:
        begun: list[str] = []

        class Begun(Callback):
            def on_stage(self, stage: str, epochs: int) -> None:
                begun.append(stage)
                if broken and stage == "critic":
                    raise KeyboardInterrupt

        def validate(model: Any, dataset: Any) -> dict[str, float]:
            return {"valid": 0.0}

        context = TrainingContext(
            data=tiny_data,
            split=tiny_split,
            seed=1,
            device=torch.device("cpu"),
            folder=tmp_path,
        )
        result = train(
            ract(actor=ACTOR, critic=CRITIC),
            context,
            Training(identity=identity, metric="valid", checkpoint_seconds=0),
            validate=validate,
            callbacks=Begun(),
        )
        return result, begun

    with pytest.raises(KeyboardInterrupt):
        trained("one", broken=True)
    result, begun = trained("one")
    assert begun == ["critic"]
    assert result.progress.step == 5
    again, begun = trained("one")
    assert begun == []
    assert same(weights(again.model, ""), weights(result.model, ""))
    _, begun = trained("two")
    assert begun == ["actor", "critic"]


def test_a_stages_keys_override_the_models() -> None:
    resolved = ract(actor={**ACTOR, "learning_rate": 0.5}, critic=CRITIC)
    stages = resolved.stages
    assert list(stages) == ["actor", "critic"]
    assert stages["actor"]["learning_rate"] == 0.5
    assert stages["critic"]["learning_rate"] == resolved.values["learning_rate"]
    assert "stages" not in stages["actor"]
    assert list(resolve_model({"name": "BPR"}).stages) == ["train"]
