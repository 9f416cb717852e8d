"""The stage orchestrator: a model's stages one after another, each from the one before.

A model without `stages` has one stage, named train. Each finished stage leaves its kept weights in
the run folder, so that a killed run starts again within the stage it was in.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from recbole.model.abstract_recommender import AbstractRecommender

from experiments.bridge.dataset import TrainingRows
from experiments.components.registry import strategies
from experiments.config.resolve import BACKBONE, MEMBER, MEMBERS, ResolvedModel
from experiments.errors import PaddockError
from experiments.files import hash_of
from experiments.training import ranks, reuse
from experiments.training.build import Built, build
from experiments.training.context import TrainingContext
from experiments.training.loop import Loop, Metrics, Schedule, StageProgress
from experiments.training.state import load_model_state, model_state
from experiments.training.strategy import Strategy, Task
from experiments.training.warm import Start
from paddock import Callback

Validate = Callable[[AbstractRecommender, TrainingRows], Metrics]
"""Takes (model, dataset) and gives the valid metrics."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a run is trained: what names it, what selects its epochs, what may be reused.

    Attributes
    ----------
    identity : str
        Names the run; a checkpoint of another identity is not continued.
    metric : str
        The valid metric that selects epochs.
    selection : str
        The hash of what the metric is computed on, for what other runs share.
    checkpoint_seconds : float
        Seconds between checkpoints.
    runs_dir : Path or None
        Where a finished run of the backbone may be.
    members : mapping of str to str
        Stage of a fusion's member -> the identity that a run of the member alone would have.
    start : Start or None
        The weights that the only stage of a model starts from; None: those that the seed draws.
    """

    identity: str
    metric: str
    selection: str = ""
    checkpoint_seconds: float = 15.0
    runs_dir: Path | None = None
    members: Mapping[str, str] = field(default_factory=dict)
    start: Start | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model: its kept weights are loaded.

    Attributes
    ----------
    model : AbstractRecommender
        The trained model.
    dataset : TrainingRows
        The RecBole dataset that it was made with.
    progress : StageProgress
        Progress of the last stage.
    weights : str or None
        The hash of all that determines the weights, if another run may use them as its backbone or
        member; else None.
    reused : mapping of str to float
        Stage -> seconds, of the stages whose weights an earlier run trained.
    epochs : mapping of str to int
        Stage -> the epoch whose weights were kept.
    """

    model: AbstractRecommender
    dataset: TrainingRows
    progress: StageProgress
    weights: str | None = None
    reused: Mapping[str, float] = field(default_factory=dict)
    epochs: Mapping[str, int] = field(default_factory=dict)


def train(
    resolved: ResolvedModel,
    context: TrainingContext,
    training: Training,
    *,
    validate: Validate,
    callbacks: Callback,
) -> Trained:
    """Train all stages and return the model of the last.

    A model's backbone or members are stages before the first. They, and stages that learn nothing of
    what a later stage adds, are shared by all runs that would train the same
    (`experiments.training.reuse`).

    Parameters
    ----------
    resolved : ResolvedModel
        The model with its stages.
    context : TrainingContext
        The data, the seed and the device.
    training : Training
        Identity, selecting metric and what may be reused.
    validate : Validate
        Takes (model, dataset) and returns the valid metrics.
    callbacks : Callback
        Called along the way, without `on_start` and `on_end`, which the caller calls.
    """
    return _Stages(resolved, context, training, validate, callbacks).run()


def refit(
    resolved: ResolvedModel,
    context: TrainingContext,
    training: Training,
    *,
    chosen: Trained,
    callbacks: Callback,
) -> Trained:
    """Train all stages again on train and valid, each for the epochs that were chosen before.

    Nothing is validated: the valid part is trained on. Learning rates follow the schedule of the first
    training. A closed form is computed again, with the same values.

    Parameters
    ----------
    resolved : ResolvedModel
        The model with its stages.
    context : TrainingContext
        As of the first training, with its split.
    training : Training
        As of the first training.
    chosen : Trained
        The first training, whose epochs count.
    callbacks : Callback
        Called along the way, with stages named "refit" and the stage's name.

    Returns
    -------
    Trained
        The model that was trained on train and valid. Its progress counts the epochs of all trainings.
    """
    again = replace(context, split=context.split.refitted())
    return _Stages(
        resolved,
        again,
        training,
        None,
        callbacks,
        first=chosen,
        step=chosen.progress.step,
    ).run()


REFIT = "refit"
"""Begins the names of the stages of the second training."""


@dataclass
class _Stages:
    """The stages of one training; of the second, on train and valid, if the `first` is given."""

    resolved: ResolvedModel
    context: TrainingContext
    training: Training
    validate: Validate | None
    callbacks: Callback
    first: Trained | None = None
    frozen: dict[str, str] = field(default_factory=dict)
    """Stage of a backbone or a member -> the identity of its weights."""
    within: str = ""
    """The stage of the member that is trained, where it is one; it begins the names of its stages."""
    step: int = 0
    reused: dict[str, float] = field(default_factory=dict)
    chosen: dict[str, int] = field(default_factory=dict)

    def run(self) -> Trained:
        frozen = {name: own.values for name, own in self.resolved.frozen.items()}
        stages = {**frozen, **self.resolved.stages}
        if ranks.rank() == 0:
            _remove_partial_files(self.context.folder)
        previous: tuple[Any, Any] | None = None
        for number, (name, values) in enumerate(stages.items()):
            if name in frozen and self.resolved.frozen[name].staged:
                self._member(name)
                continue
            built = build(values, self._context(name))
            if previous is not None:
                _carry_over(built.model, *previous)
            if self.training.start is not None:
                self.training.start.into(built.model, self.context.data)
            if name not in frozen:
                self._put_together(built.model)
            progress = self._stage(number, name, values, built)
            if name not in frozen:
                previous = model_state(built.model)
        return Trained(
            model=built.model,
            dataset=built.dataset,
            progress=progress,
            weights=self._weights(),
            reused=self.reused,
            epochs=self.chosen,
        )

    def _weights(self) -> str | None:
        """What names the weights, if others may use them."""
        if self.training.start is not None:
            return None  # what a run started from is in its own identity alone
        if self.resolved.staged:
            shared = self.first is None and MEMBERS not in self.resolved.values
            return self._staged(self.resolved, self.context).identity if shared else None
        ((name, values),) = self.resolved.stages.items()
        return self._shared(name, values, before=None).identity

    def _staged(self, resolved: ResolvedModel, context: TrainingContext) -> reuse.Product:
        return reuse.product_of_stages(resolved, context, selection=self._selection)

    def _member(self, name: str) -> None:
        """Find the weights of a member of several stages, or train it as a run of its own would be."""
        own, context = self.resolved.frozen[name], self._context(name)
        product = self._staged(own, context)
        with ranks.first_holds(product.held()):
            progress = self._found(name, product, build(own.last, context))
            if progress is not None:
                self.reused[name] = progress.seconds
            else:
                folder = self.context.folder / name.replace(" ", "-")
                trained = _Stages(
                    own,
                    replace(context, folder=folder),
                    replace(self.training, identity=product.identity),
                    self.validate,
                    self.callbacks,
                    within=name,
                    step=self.step,
                ).run()
                progress, self.reused = trained.progress, {**self.reused, **trained.reused}
                if ranks.rank() == 0:
                    product.save(trained.model, progress)
                    shutil.rmtree(folder, ignore_errors=True)
                ranks.from_first(None)  # the others may read it next
        self.step = max(self.step, progress.step)
        self.frozen[name] = product.identity

    def _put_together(self, model: AbstractRecommender) -> None:
        """Give a model its frozen recommenders, and what the first training chose."""
        if BACKBONE in self.frozen:
            model.use_backbone(self.frozen[BACKBONE])
        elif self.frozen:
            model.use_members(
                {stage.removeprefix(MEMBER): own for stage, own in self.frozen.items()}
            )
        if self.first is not None and hasattr(model, "take_choices"):
            model.take_choices(self.first.model)

    def _context(self, name: str) -> TrainingContext:
        offset = self.resolved.seed_offset(name)
        return replace(self.context, seed=self.context.seed + offset) if offset else self.context

    def _stage(self, number: int, name: str, values: dict[str, Any], built: Built) -> StageProgress:
        """Find the stage's weights, or train them; the model holds them afterwards."""
        product = self._product(number, name, values)
        with ranks.first_holds(product.held()):
            progress = self._found(name, product, built)
            if progress is not None and product.shared:
                self.reused[self._title(name)] = progress.seconds
            if progress is None:
                loop = self._loop(name, values, built, product.identity)
                self.callbacks.on_stage(loop.stage, loop.schedule.epochs)
                progress = loop.run()
                if ranks.rank() == 0:
                    product.save(built.model, progress)
                ranks.from_first(None)  # the others may read it next
        # A shared product counts the epochs of the run that made it.
        self.step = max(self.step, progress.step)
        kept = progress.best_epoch if values["keep"] == "best" else progress.epoch
        self.chosen[name] = kept
        if name in self.resolved.frozen:
            self.frozen[name] = product.identity
        return progress

    def _found(self, name: str, product: reuse.Product, built: Built) -> StageProgress | None:
        """The progress of the training that made the stage's weights, which the model holds then.

        The first process decides whether there are any, and leaves them where the others load them.
        """
        progress = None
        if ranks.rank() == 0:
            progress = product.load(built.model)
            frozen = name in self.resolved.frozen
            if progress is None and frozen and self.training.runs_dir is not None:
                progress = product.take(
                    built.model,
                    runs_dir=self.training.runs_dir,
                    dataset=self.context.data.name,
                    run=self._own_run(name),
                )
        progress = ranks.from_first(progress)
        if progress is not None and ranks.rank() > 0 and product.load(built.model) is None:
            raise PaddockError(
                f"{product.path} is read by process 0 and not by process {ranks.rank()}: "
                "all processes need one file system"
            )
        return progress

    def _own_run(self, name: str) -> tuple[str, int] | None:
        """Identity and seed of the run of a member alone."""
        identity = self.training.members.get(name)
        return None if identity is None else (identity, self._context(name).seed)

    def _product(self, number: int, name: str, values: dict[str, Any]) -> reuse.Product:
        if name in self.resolved.frozen:
            return self._shared(name, values, before=None)
        if self.training.start is None and reuse.is_shared(values):
            return self._shared(name, values, before=self.frozen.get(BACKBONE))
        title, seed = self._title(name), self.context.seed
        return reuse.Product(
            path=self.context.folder / f"stage-{number}-{title.replace(' ', '-')}.safetensors",
            identity=hash_of([self.training.identity, seed, number, title]),
        )

    def _shared(self, name: str, values: dict[str, Any], *, before: str | None) -> reuse.Product:
        return reuse.product_of(
            values,
            self._context(name),
            selection=self._selection,
            before=before,
            epochs=None if self.first is None else self.first.epochs[name],
        )

    @property
    def _selection(self) -> str:
        return hash_of([self.training.metric, self.training.selection])

    def _title(self, name: str) -> str:
        """The stage's name in the learning curve."""
        if self.within:
            return f"{self.within}: {name}"
        return name if self.first is None else f"{REFIT} {name}"

    def _schedule(self, name: str, values: dict[str, Any]) -> Schedule:
        if self.first is not None:
            return Schedule(epochs=self.first.epochs[name], patience=0, eval_step=0, keep="last")
        return Schedule(
            epochs=values["epochs"],
            patience=values["stopping_step"],
            eval_step=values["eval_step"],
            keep=values["keep"],
        )

    def _loop(self, name: str, values: dict[str, Any], built: Built, identity: str) -> Loop:
        context = self._context(name)
        strategy = make_strategy(values["strategy"], built, context)
        ranks.same_weights(built.model)
        ranks.seed_apart(context.seed)
        return Loop(
            stage=self._title(name),
            model=built.model,
            strategy=strategy,
            schedule=self._schedule(name, values),
            metric=self.training.metric,
            validate=partial(self._validated, dataset=built.dataset),
            callbacks=self.callbacks,
            path=self.context.folder / "checkpoint.safetensors",
            identity=identity,
            first_step=self.step,
            validate_first=self.training.start is not None and self.first is None,
            checkpoint_seconds=self.training.checkpoint_seconds,
        )

    def _validated(self, model: AbstractRecommender, *, dataset: TrainingRows) -> Metrics:
        assert self.validate is not None, "a second training selects nothing"
        return self.validate(model, dataset)


def make_strategy(name: str, built: Built, context: TrainingContext) -> Strategy:
    """The strategy of a name, for a model that was built.

    Parameters
    ----------
    name : str
        Name of the strategy, such as "windows".
    built : Built
        The model with its dataset and config.
    context : TrainingContext
        The split, the seed and the precision.
    """
    component = strategies()[name]
    made: Strategy = component.load()(
        Task(
            model=built.model,
            config=built.config,
            dataset=built.dataset,
            split=context.split,
            seed=context.seed,
            precision=context.precision,
        )
    )
    return made


def _remove_partial_files(folder: Path) -> None:
    """Remove the files that a killed process left unfinished; a checkpoint may be large."""
    for left in folder.glob(".*.tmp"):
        shutil.rmtree(left)


def _carry_over(model: AbstractRecommender, tensors: dict[str, Any], plain: Any) -> None:
    """Start a stage from the weights of the one before; its own counters stay fresh."""
    fresh = model_state(model)[1]
    load_model_state(model, tensors, {**plain, "numbers": fresh["numbers"]})
