"""Training keys that strategies share, under RecBole's names."""

from typing import ClassVar

from paddock.components import StrategyConfig
from paddock.keys import Key, key

LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop")
"""Optimizers of the strategies that are not RecBole's."""


class LoopConfig(StrategyConfig):
    """What the loop over the epochs reads."""

    epochs: int = key(300, "The most passes over the training data.", least=1)
    stopping_step: int = key(
        10, "Stop after so many validations without a better value; 0: never.", least=0
    )
    eval_step: int = key(1, "Validate after every so many epochs, and after the last.", least=1)


class EpochConfig(LoopConfig):
    """What the loop over the epochs reads, and the size of a batch."""

    train_batch_size: int = key(2048, "Training rows of a batch, of the strategy's kind.", least=1)


class OptimizerConfig(EpochConfig):
    """What the optimizer reads."""

    learner: str = key("adam", "The optimizer.", choices=(*LEARNERS, "sparse_adam"))
    learning_rate: float = key(1e-3, "The optimizer's step size.", above=0)
    weight_decay: float = key(0.0, "The optimizer's L2 penalty.", least=0)
    clip_grad_norm: dict | None = key(
        None, "Arguments of torch's clip_grad_norm_, as in {max_norm: 5}; null: no clipping."
    )


class StepConfig(OptimizerConfig):
    """What `experiments.training.optimizers.Steps` reads."""

    learner: str = key("adam", "The optimizer.", choices=LEARNERS)
    learning_rate_schedule: str = key(
        "constant",
        "cosine lets the learning rate sink to 0 over all epochs.",
        choices=("constant", "cosine"),
    )


class ClosedFormConfig(StrategyConfig):
    """What is read where a model counts or solves in one pass over the data."""

    name: ClassVar[str] = "recbole"

    train_batch_size: int = key(2048, "Interactions that are counted at a time.", least=1)


NEGATIVE_SAMPLING = {
    "distribution": "uniform",
    "sample_num": 1,
    "alpha": 1.0,
    "dynamic": False,
    "candidate_num": 0,
}
"""RecBole's `train_neg_sample_args` by default (overall.yaml)."""

PADDOCK_KEYS: dict[str, Key] = {
    "name": Key(name="name", kind=str, required=True, doc="The model class."),
    "strategy": Key(name="strategy", kind=str, default="recbole", doc="How it is trained."),
    "keep": Key(
        name="keep",
        kind=str,
        default="best",
        choices=("best", "last"),
        doc="Which epoch's weights are kept: those of the best valid metric, or the last.",
    ),
}
"""Keys of every model that RecBole never sees; `stages` beside them."""
