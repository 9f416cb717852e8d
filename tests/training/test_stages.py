"""Stages follow one another: each starts from the weights of the one before."""

from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.config.check import resolve_model
from experiments.data.prepared import Prepared
from experiments.protocol.split import Split
from experiments.training.stages import Hooks, stage_configs, train
from experiments.training.state import model_state

ACTOR = {"train_stage": "actor_pretrain", "epochs": 2}
CRITIC = {"train_stage": "critic_pretrain", "epochs": 3, "keep": "last"}
FINETUNE = {"train_stage": "finetune", "epochs": 1, "keep": "last"}


def ract(**stages: dict[str, Any]) -> dict[str, Any]:
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

        def on_stage(name: str, epochs: int) -> None:
            begun.append(name)
            if broken and name == "critic":
                raise KeyboardInterrupt

        def validate(model: Any, dataset: Any) -> dict[str, float]:
            return {"valid": 0.0}

        result = train(
            ract(actor=ACTOR, critic=CRITIC),
            data=tiny_data,
            split=tiny_split,
            seed=1,
            device=torch.device("cpu"),
            folder=tmp_path,
            identity=identity,
            metric="valid",
            checkpoint_seconds=0,
            hooks=Hooks(
                validate=validate,
                on_stage=on_stage,
                on_epoch=lambda record: None,
                rewind=lambda step: None,
                tick=lambda done, total: None,
            ),
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
    values = ract(actor={**ACTOR, "learning_rate": 0.5}, critic=CRITIC)
    configs = stage_configs(values)
    assert list(configs) == ["actor", "critic"]
    assert configs["actor"]["learning_rate"] == 0.5
    assert configs["critic"]["learning_rate"] == values["learning_rate"]
    assert "stages" not in configs["actor"]
    assert list(stage_configs(resolve_model({"name": "BPR"}))) == ["train"]
