"""Checkpoints hold all that training changes; the loop stops, keeps and resumes as it says."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from safetensors import safe_open
from torch import nn

from experiments import checkpoint
from experiments.config.resolve import resolve_model
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import Split
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.loop import Loop, Schedule, StageProgress
from experiments.training.reuse import Product
from experiments.training.state import (
    load_model_state,
    load_optimizer_state,
    load_random_state,
    model_state,
    optimizer_state,
    random_state,
)
from paddock import Callback


def round_trip(path: Path, state: tuple[Any, Any]) -> tuple[Any, Any]:
    checkpoint.save(path, {"it": state}, notes={"n": [1, None, "é"]})
    sections, notes = checkpoint.load(path)
    assert notes == {"n": [1, None, "é"]}
    return sections["it"]


class Holder(nn.Module):
    """All kinds of things that RecBole's models keep outside their state_dict."""

    def __init__(self, fill: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((2, 3), fill))
        self.inner = nn.BatchNorm1d(3)
        self.inner.steps = int(fill)
        self.update = int(fill)
        self.anneal = fill / 3
        self.on = bool(fill)
        self.label = "text is no state"
        self.other_parameter_name = ["counts", "table", "similar", "cache", "inner"]
        self.counts = torch.arange(3) * int(fill)
        self.table = np.full((2, 2), fill)
        self.similar = sp.csr_matrix(np.diag([fill, 0.0, 2 * fill]))
        self.cache = None if fill else torch.ones(1)


def test_a_model_comes_back_whole(tmp_path: Path) -> None:
    source, target = Holder(7.0), Holder(0.0)
    source.inner.train()(torch.randn(5, 3))
    tensors, plain = round_trip(tmp_path / "c", model_state(source))
    load_model_state(target, tensors, plain)
    assert torch.equal(target.weight, source.weight)
    assert torch.equal(target.inner.running_var, source.inner.running_var)
    assert target.inner.num_batches_tracked == 1
    assert (target.inner.steps, target.update, target.anneal, target.on) == (7, 7, 7 / 3, True)
    assert target.counts.tolist() == [0, 7, 14]
    assert target.table.tolist() == [[7.0, 7.0], [7.0, 7.0]]
    assert target.table.dtype == source.table.dtype
    assert (target.similar != source.similar).nnz == 0
    assert target.cache is None


def test_a_state_is_a_copy(tmp_path: Path) -> None:
    model = Holder(1.0)
    tensors, plain = model_state(model)
    with torch.no_grad():
        model.weight += 1
    model.counts += 1
    model.table += 1
    load_model_state(model, tensors, plain)
    model.counts += 5
    assert (model.weight == 1).all()
    assert (model.table == 1).all()
    assert tensors["other/counts"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("Pop", ("item_cnt", "max_cnt")),
        ("EASE", ("item_similarity", "interaction_matrix")),
        ("ItemKNN", ("w",)),
        ("RaCT", ("update",)),
    ],
)
def test_what_recboles_models_keep_aside(
    name: str,
    attributes: tuple[str, ...],
    fit: Any,
    tiny_data: Prepared,
    tiny_split: Split,
    tmp_path: Path,
) -> None:
    actor = {"epochs": 2, "train_stage": "actor_pretrain"}
    values = resolve_model({"name": name, **(actor if name == "RaCT" else {})})
    trained = fit(values, tiny_data, tiny_split).model
    tensors, plain = round_trip(tmp_path / "c", model_state(trained))
    fresh, *_ = build(
        values.last,
        TrainingContext(
            data=tiny_data, split=tiny_split, seed=9, device=torch.device("cpu"), folder=tmp_path
        ),
    )
    load_model_state(fresh, tensors, plain)
    for attribute in attributes:
        found, expected = getattr(fresh, attribute), getattr(trained, attribute)
        if sp.issparse(expected):
            assert (found != expected).nnz == 0
            assert expected.nnz > 0
        else:
            np.testing.assert_array_equal(found, expected)
            assert np.any(np.asarray(expected) != 0)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_an_optimizer_goes_on_as_if_undisturbed(kind: Any, tmp_path: Path) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        optimizer.zero_grad()
        inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
        model(inputs).square().sum().backward()
        optimizer.step()

    def made(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
        return model, kind(model.parameters(), lr=0.1, weight_decay=0.01)

    model, optimizer = made(1)
    for seed in range(3):
        step(model, optimizer, seed)
    checkpoint.save(
        tmp_path / "c",
        {"model": model_state(model), "optimizer": optimizer_state(optimizer)},
        notes=None,
    )
    other, resumed = made(2)
    sections, _ = checkpoint.load(tmp_path / "c")
    load_model_state(other, *sections["model"])
    load_optimizer_state(resumed, *sections["optimizer"])
    for seed in range(3, 6):
        step(model, optimizer, seed)
        step(other, resumed, seed)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_every_random_source_goes_on(tmp_path: Path) -> None:
    import random

    def draws(generator: torch.Generator) -> list[Any]:
        return [
            random.random(),
            random.gauss(),
            np.random.rand(),  # noqa: NPY002
            np.random.standard_normal(),  # noqa: NPY002
            torch.rand(3).tolist(),
            torch.rand(2, generator=generator).tolist(),
        ]

    own = torch.Generator().manual_seed(4)
    draws(own)  # an odd number of normals: half a pair is kept for later
    tensors, plain = round_trip(tmp_path / "c", random_state({"own": own}))
    expected = draws(own)
    draws(own)
    other = torch.Generator()
    load_random_state({"own": other}, tensors, plain)
    assert draws(other) == expected


def test_the_file_is_safetensors_with_json_in_its_header(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"model": model_state(Holder(2.0))}, notes={"epoch": 3})
    with safe_open(path, framework="np") as stream:
        assert stream.get_tensor("model/weight/weight").tolist() == [[2.0] * 3] * 2
        header = json.loads(stream.metadata()["paddock"])
    assert header["notes"] == {"epoch": 3}
    assert header["plain"]["model"]["numbers"][""]["update"] == 2
    assert list(tmp_path.iterdir()) == [path], "nothing temporary is left"


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    model = Holder(1.0)
    for name in "abcdefgh":
        checkpoint.save(tmp_path / name, {"model": model_state(model)}, notes={"epoch": 3})
    assert len({(tmp_path / name).read_bytes() for name in "abcdefgh"}) == 1


def test_tensors_of_any_layout(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    state = {"turned": shared.T, "same": shared, "half": shared[:, :1], "empty": torch.zeros(0, 4)}
    tensors, _ = round_trip(tmp_path / "c", (state, {}))
    assert {name: value.tolist() for name, value in tensors.items()} == {
        name: value.tolist() for name, value in state.items()
    }


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_told(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"model": model_state(Holder(2.0))}, notes=None)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(PaddockError, match=r"c\.safetensors is not a checkpoint"):
        checkpoint.load(path)


def test_another_safetensors_file_is_told(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x")
    with pytest.raises(PaddockError, match="is not a checkpoint"):
        checkpoint.load(tmp_path / "x")


class Walk:
    """A strategy whose every number depends on the weights, the optimizer and the random state."""

    def __init__(self, model: nn.Linear) -> None:
        self.model = model
        self.generators = {"own": torch.Generator().manual_seed(1)}
        self.optimizers = {"adam": torch.optim.Adam(model.parameters(), lr=0.05)}
        self.epochs: list[int] = []

    def train_epoch(self, epoch: int, tick: Any) -> float:
        self.epochs.append(epoch)
        inputs = torch.randn(4, 2) + torch.rand(4, 2, generator=self.generators["own"])
        loss = (self.model(inputs) - float(np.random.rand())).square().mean()  # noqa: NPY002
        self.optimizers["adam"].zero_grad()
        loss.backward()
        self.optimizers["adam"].step()
        return loss.item()


def loop_of(
    path: Path,
    values: list[float] | None = None,
    *,
    stop_at: int | None = None,
    identity: str = "one",
    **schedule: Any,
) -> tuple[Loop, list[Any]]:
    """A loop whose validations give `values` in turn, or the weights' own sum."""
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    model = nn.Linear(2, 1)
    records: list[Any] = []

    def validate(model: nn.Module) -> dict[str, float]:
        position = loop.progress.epoch - 1
        drawn = (
            sum(w.sum().item() for w in model.parameters()) if values is None else values[position]
        )
        return {"m": drawn}

    class Records(Callback):
        def on_epoch(self, record: Mapping[str, Any]) -> None:
            records.append({key: value for key, value in record.items() if key != "seconds"})

        def on_resume(self, step: int) -> None:
            records.append(("resume", step))

    loop = Loop(
        stage="train",
        model=model,
        strategy=Walk(model),
        schedule=Schedule(
            **{"epochs": 10, "patience": 0, "eval_step": 1, "keep": "best", **schedule}
        ),
        metric="m",
        validate=validate,
        callbacks=Records(),
        path=path / "checkpoint",
        identity=identity,
        checkpoint_seconds=0,
    )
    if stop_at is not None:
        train_epoch = loop.strategy.train_epoch

        def interrupted(epoch: int, tick: Any) -> float:
            if epoch == stop_at:
                raise KeyboardInterrupt
            return train_epoch(epoch, tick)

        loop.strategy.train_epoch = interrupted  # type: ignore[method-assign]
    return loop, records


class TestEarlyStopping:
    def epochs(self, path: Path, values: list[float], **schedule: Any) -> tuple[int, int]:
        """The last epoch and the best one."""
        loop, _ = loop_of(path, values, epochs=len(values), **schedule)
        progress = loop.run()
        return progress.epoch, progress.best_epoch

    def test_a_tie_is_no_progress(self, tmp_path: Path) -> None:
        assert self.epochs(tmp_path, [1, 2, 2, 2, 2, 2], patience=3) == (5, 2)

    def test_progress_resets_the_count(self, tmp_path: Path) -> None:
        assert self.epochs(tmp_path, [2, 1, 3, 1, 1, 9], patience=2) == (5, 3)

    def test_smaller_than_the_fourth_decimal_is_progress(self, tmp_path: Path) -> None:
        values = [0.1 + 1e-9 * epoch for epoch in range(6)]
        assert self.epochs(tmp_path, values, patience=1) == (6, 6)

    def test_patience_0_never_stops(self, tmp_path: Path) -> None:
        assert self.epochs(tmp_path, [5, 1, 1, 1, 1, 1, 1], patience=0) == (7, 1)

    def test_patience_counts_validations(self, tmp_path: Path) -> None:
        loop, records = loop_of(
            tmp_path, [0, 5, 0, 4, 0, 4, 9, 9], epochs=8, patience=2, eval_step=2
        )
        assert loop.run().epoch == 6
        validated = ["m" in record["metrics"] for record in records[1:]]
        assert validated == [False, True] * 3

    def test_the_last_epoch_is_validated(self, tmp_path: Path) -> None:
        loop, records = loop_of(tmp_path, [0, 0, 1, 0, 2], epochs=5, eval_step=3)
        assert loop.run().best_epoch == 5
        assert ["m" in record["metrics"] for record in records[1:]] == [
            False,
            False,
            True,
            False,
            True,
        ]

    @pytest.mark.parametrize(("keep", "kept"), [("best", 2), ("last", 4)])
    def test_which_epoch_is_kept(self, tmp_path: Path, keep: str, kept: int) -> None:
        loop, _ = loop_of(tmp_path, [1, 3, 2, 1], epochs=4, keep=keep)
        loop.run()
        (tmp_path / "until").mkdir()
        until, _ = loop_of(tmp_path / "until", [0] * 4, epochs=kept, keep="last")
        until.run()
        assert torch.equal(loop.model.weight, until.model.weight)


class TestResuming:
    @pytest.mark.parametrize("stop_at", [0, 1, 4, 9])
    def test_an_interrupted_run_ends_as_an_undisturbed_one(
        self, tmp_path: Path, stop_at: int
    ) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        undisturbed, expected = loop_of(tmp_path / "a")
        undisturbed.run()
        first, before = loop_of(tmp_path / "b", stop_at=stop_at)
        with pytest.raises(KeyboardInterrupt):
            first.run()
        second, after = loop_of(tmp_path / "b")
        torch.manual_seed(99)
        np.random.seed(99)  # noqa: NPY002
        if stop_at == 0:
            second, after = loop_of(tmp_path / "b")
        second.run()
        assert second.strategy.epochs == list(range(stop_at, 10))
        assert after[0] == ("resume", stop_at)
        assert before[1:] + after[1:] == expected[1:]
        assert torch.equal(second.model.weight, undisturbed.model.weight)
        for name, value in vars(undisturbed.progress).items():
            if name != "seconds":
                assert getattr(second.progress, name) == value

    def test_a_finished_stage_trains_no_more(self, tmp_path: Path) -> None:
        loop_of(tmp_path, [1, 2, 2, 2], epochs=9, patience=2)[0].run()
        again, _ = loop_of(tmp_path, [1, 2, 2, 2], epochs=9, patience=2)
        assert again.run().stopped
        assert again.strategy.epochs == []

    def test_a_checkpoint_of_another_run_is_not_continued(self, tmp_path: Path) -> None:
        loop_of(tmp_path, epochs=4)[0].run()
        other, records = loop_of(tmp_path, epochs=4, identity="two")
        other.run()
        assert other.strategy.epochs == [0, 1, 2, 3]
        assert records[0] == ("resume", 0)

    @pytest.mark.parametrize("way", ["flip", "truncate", "edit"])
    def test_a_damaged_checkpoint_is_not_continued(
        self, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        undisturbed, expected = loop_of(tmp_path)
        undisturbed.run()
        path = tmp_path / "checkpoint"
        raw = path.read_bytes()
        path.write_bytes(
            {
                "flip": raw[:-3] + bytes([raw[-3] ^ 64]) + raw[-2:],
                "truncate": raw[:-100],
                "edit": raw.replace(b"since_best", b"since_rest"),
            }[way]
        )
        again, records = loop_of(tmp_path)
        again.run()
        assert again.strategy.epochs == list(range(10))
        assert records == expected
        assert torch.equal(again.model.weight, undisturbed.model.weight)
        assert "begins anew" in caplog.text


def test_a_damaged_stage_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    product = Product(path=tmp_path / "stages" / "s.safetensors", identity="i")
    product.save(Holder(2.0), StageProgress(epoch=1))  # type: ignore[arg-type]
    held = Holder(0.0)
    assert product.load(held) is not None  # type: ignore[arg-type]
    raw = product.path.read_bytes()
    product.path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    again = Holder(0.0)
    before = model_state(again)[0]
    assert product.load(again) is None  # type: ignore[arg-type]
    after = model_state(again)[0]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert str(product.path) in caplog.text
