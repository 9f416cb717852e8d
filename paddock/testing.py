"""The contract between a model and the engine, as tests for authors of models.

    from paddock.testing import ModelContract

    class TestMyModel(ModelContract):
        model = "MyModel"
        values = {"epochs": 2}
        plugins = ("path/to/my_plugin",)

`pytest` then trains the model on the tiny data set that Paddock carries, for one epoch a stage, and
checks its scores, its seeds, its weights saved and loaded, empty histories and its keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments import checkpoint
from experiments.bridge.inputs import reads_histories
from experiments.bridge.scorer import RecBoleScorer
from experiments.components.plugins import load_plugins
from experiments.config.compose import compose, typed
from experiments.config.resolve import ResolvedModel, resolve_model
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.sequences import Sequences
from experiments.protocol.split import Split, split_interactions
from experiments.training.build import Built, build
from experiments.training.context import TrainingContext
from experiments.training.loop import Callbacks
from experiments.training.stages import Trained, Training, train
from experiments.training.state import load_model_state, model_state

USERS = np.arange(1, 201)
"""Of the tiny data set."""

SHORT = {"epochs": 1, "eval_step": 1}


class ModelContract:
    """Tests of one model; a subclass names it.

    Attributes
    ----------
    model : str
        The model class.
    values : mapping
        Keys of its configuration, those of its strategy included.
    plugins : sequence of str
        Folders or packages that bring it.
    """

    model: ClassVar[str] = ""
    values: ClassVar[Mapping[str, Any]] = {}
    plugins: ClassVar[Sequence[str]] = ()

    @pytest.fixture(scope="class")
    @classmethod
    def configuration(cls) -> dict[str, Any]:
        """The model's configuration, as a command would give it."""
        load_plugins(cls.plugins)
        return {"name": cls.model, **cls.values}

    @pytest.fixture(scope="class")
    @classmethod
    def resolved(cls, configuration: dict[str, Any]) -> ResolvedModel:
        """The model with one epoch for each of its stages."""
        return one_epoch(configuration)

    @pytest.fixture(scope="class")
    @classmethod
    def context(cls, tmp_path_factory: pytest.TempPathFactory) -> TrainingContext:
        """The tiny data set, prepared and split by leave-one-out."""
        config = typed(compose(["dataset=tiny"]))
        data = prepare(config.dataset, data_dir=tmp_path_factory.mktemp("prepared"), progress=False)
        return TrainingContext(
            data=data,
            split=split_interactions(data, config.protocol),
            seed=1,
            device=torch.device("cpu"),
            folder=tmp_path_factory.mktemp("run"),
        )

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, resolved: ResolvedModel, context: TrainingContext) -> Trained:
        """The model after its epochs."""
        return fit(resolved, context)

    def test_it_scores_every_item_and_masks_none(
        self, trained: Trained, context: TrainingContext
    ) -> None:
        """Scores are finite, and no model pushes the history down by itself."""
        check_scores(scores(trained, context.split), context.data, context.split)

    def test_scores_are_the_same_in_any_batch(
        self, trained: Trained, context: TrainingContext
    ) -> None:
        """A user's scores do not depend on who is scored beside him."""
        some = np.array([7, 3, 120])
        alone = torch.cat([scores(trained, context.split, some[[i]]) for i in range(3)])
        torch.testing.assert_close(alone, scores(trained, context.split)[some - 1])

    def test_same_seed_same_numbers(
        self, resolved: ResolvedModel, trained: Trained, context: TrainingContext
    ) -> None:
        """Training again with the seed gives the same scores, to the bit."""
        again = fit(resolved, context)
        assert torch.equal(scores(again, context.split), scores(trained, context.split))

    def test_other_seed_other_numbers(
        self, resolved: ResolvedModel, trained: Trained, context: TrainingContext
    ) -> None:
        """Another seed gives other scores, unless the model counts or solves."""
        other = fit(resolved, context, seed=2)
        equal = torch.equal(scores(other, context.split), scores(trained, context.split))
        assert equal == resolved.model.closed_form

    def test_training_changes_the_model(
        self, resolved: ResolvedModel, trained: Trained, context: TrainingContext
    ) -> None:
        """Some weight is another after training."""
        first = next(iter(resolved.stages.values()))
        before = model_state(build(first, context).model)[0]
        after = model_state(trained.model)[0]
        changed = any(not torch.equal(before[name], after[name]) for name in before)
        # What solves, solves while it is made.
        assert changed or resolved.model.closed_form

    def test_saved_and_loaded_it_scores_the_same(
        self, resolved: ResolvedModel, trained: Trained, context: TrainingContext, tmp_path: Path
    ) -> None:
        """All that the scores depend on is in what is saved."""
        path = tmp_path / "model.safetensors"
        checkpoint.save(path, {"model": model_state(trained.model)}, notes=None)
        fresh = fresh_model(resolved, context, seed=99)
        sections, _ = checkpoint.load(path)
        load_model_state(fresh.model, *sections["model"])
        loaded = Trained(model=fresh.model, dataset=fresh.dataset, progress=trained.progress)
        assert torch.equal(scores(loaded, context.split), scores(trained, context.split))

    def test_the_valid_item_counts_where_it_is_read(
        self, trained: Trained, context: TrainingContext
    ) -> None:
        """The history changes the scores of models that read it, and of no others."""
        changed = differs_by_history(trained, context.split)
        assert changed == reads_histories(trained.model)

    def test_an_empty_history_is_scored(self, trained: Trained, context: TrainingContext) -> None:
        """A user without a history, and one that training never saw, get finite scores."""
        nothing = Sequences(
            indptr=np.zeros(context.data.n_users + 2, dtype=np.int64),
            items=np.zeros(0, dtype=np.int32),
        )
        scorer = RecBoleScorer(trained.model, dataset=trained.dataset, history=nothing)
        # User 0 has no training rows either.
        assert torch.isfinite(scorer.score(np.array([0, 1]))[:, 1:]).all()

    def test_every_key_of_its_configuration_is_read(self, configuration: dict[str, Any]) -> None:
        """A key that the model does not declare is refused."""
        resolve_model(configuration)
        name = configuration["name"]
        with pytest.raises(PaddockError, match=rf"model\.no_such_key: {name} reads no such key"):
            resolve_model({**configuration, "no_such_key": 1})


def one_epoch(configuration: Mapping[str, Any]) -> ResolvedModel:
    """A model with one epoch a stage, and with a small language model if it has one.

    Parameters
    ----------
    configuration : mapping of str to object
        The keys under `model`.
    """
    return _one_epoch(resolve_model(configuration).values)


def _one_epoch(values: Mapping[str, Any]) -> ResolvedModel:
    if values.get("llm"):
        values = {**values, "llm": {**values["llm"], "layers": 1, "width": 32, "steps": 20}}
    if values.get("backbone"):
        values = {**values, "backbone": {**values["backbone"], **SHORT}}
    if values.get("members"):
        members = {name: _one_epoch(own).values for name, own in values["members"].items()}
        values = {**values, "members": members}
    if values.get("stages"):
        stages = {name: {**own, **SHORT} for name, own in values["stages"].items()}
        values = {**values, "stages": stages}
    return resolve_model({**values, **SHORT})


def fit(resolved: ResolvedModel, context: TrainingContext, *, seed: int = 1) -> Trained:
    """Train a model; the last epoch of every stage is kept.

    Parameters
    ----------
    resolved : ResolvedModel
        The model.
    context : TrainingContext
        The data, the split and the device.
    seed : int
        Of the training.
    """
    epochs = count()
    return train(
        resolved,
        replace(context, seed=seed),
        # Nothing is continued: each call trains from the start.
        Training(identity=f"contract-{next(_runs)}", metric="valid", checkpoint_seconds=1e9),
        validate=lambda model, dataset: {"valid": float(next(epochs))},
        callbacks=Callbacks(),
    )


_runs = count()


def fresh_model(resolved: ResolvedModel, context: TrainingContext, *, seed: int) -> Built:
    """The untrained model of the last stage.

    Parameters
    ----------
    resolved : ResolvedModel
        The model.
    context : TrainingContext
        The data, the split and the device.
    seed : int
        Of the initial weights.
    """
    return build(resolved.last, replace(context, seed=seed))


def scores(trained: Trained, split: Split, users: np.ndarray = USERS) -> Tensor:
    """Scores of all items for users, with their histories before the test item.

    Parameters
    ----------
    trained : Trained
        The trained model.
    split : Split
        The parts of the data set.
    users : ndarray
        User ids, shape (B,).

    Returns
    -------
    Tensor
        Shape (B, items + 1).
    """
    scorer = RecBoleScorer(trained.model, dataset=trained.dataset, history=split.history("test"))
    return scorer.score(users)


def differs_by_history(trained: Trained, split: Split) -> bool:
    """Whether the scores with the valid item in the history are others than without it.

    Parameters
    ----------
    trained : Trained
        The trained model.
    split : Split
        The parts of the data set.
    """
    made = []
    for phase in ("valid", "test"):
        scorer = RecBoleScorer(trained.model, dataset=trained.dataset, history=split.history(phase))
        torch.manual_seed(0)  # some models draw while they score
        made.append(scorer.score(USERS))
    return not torch.equal(*made)


def check_scores(scores_BN: Tensor, data: Prepared, split: Split) -> None:
    """Check that scores are finite, have the right shape, and do not mask the history.

    Parameters
    ----------
    scores_BN : Tensor
        Scores of `USERS`, shape (200, items + 1).
    data : Prepared
        The tiny data set.
    split : Split
        Its parts.
    """
    assert scores_BN.shape == (len(USERS), data.n_items + 1)
    assert torch.isfinite(scores_BN[:, 1:]).all()
    history = split.history("test")
    for user, scores_N in zip(USERS, scores_BN, strict=True):
        seen = torch.zeros(data.n_items + 1, dtype=torch.bool)
        seen[torch.from_numpy(history.of(int(user)).astype(np.int64))] = True
        unseen = ~seen
        unseen[0] = False
        # A model that pushed the history down by itself would put all of it below all others.
        assert scores_N[seen].max() >= scores_N[unseen].min()
