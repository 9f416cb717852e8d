"""RecBole 1.2.1 on a current stack: every work-round, each with its reason and the line it concerns.

`apply` runs once, when `models` is imported. A work-round is one function in `WORKAROUNDS`; the test
of the same name shows what breaks without it. What a subclass can change (how a configuration is
read, how a dataset is loaded) is changed in that subclass instead.
"""

import importlib
import logging
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np


def numpy_aliases() -> None:
    """Names that numpy 2 dropped.

    config/configurator.py:625-635 (`compatibility_settings`) reads np.float_, np.complex_ and
    np.unicode_ whenever a Config is made; data/interaction.py:31 reads np.float, and fails when a
    batch is made before the first Config.
    """
    for name, alias in {
        "float_": np.float64,
        "float": np.float64,
        "complex_": np.complex128,
        "unicode_": np.str_,
    }.items():
        if name not in vars(np):
            setattr(np, name, alias)


def dok_matrix_update() -> None:
    """The private `dok_matrix._update` that scipy 1.13 removed.

    Seven models build their graph with it: lightgcn.py:111, ngcf.py:110, ncl.py:131, gcmc.py:174,
    spectralcf.py:123, kgin.py:356, mcclk.py:425.
    """
    from scipy.sparse import dok_matrix

    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = lambda self, data: self._dict.update(data)


LATE = (
    "sklearn",
    "sklearn.exceptions",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.utils",
    "sklearn.utils.extmath",
    "torch.utils.tensorboard",
)
"""Modules that RecBole imports at its modules' heads, for single functions that few runs call."""


def late_imports() -> None:
    """evaluator/metrics.py:29, slimelastic.py:16, nceplrec.py:19 and utils/utils.py:25 import `LATE`.

    Whatever of RecBole is imported imports these files, and by them sklearn and scipy.stats: a quarter of
    the CPU seconds of a run of Pop. Here the first call of a name that they import loads its module.
    """
    if "sklearn" in sys.modules or "recbole.evaluator" in sys.modules:
        return  # there is nothing to save, or it is too late
    placed = {name: _StandIn(name) for name in LATE if name not in sys.modules}
    sys.modules.update(placed)
    try:
        import recbole.evaluator
        import recbole.model.general_recommender  # noqa: F401  (the imports that would load them)
    finally:
        # Whoever else asks for them gets them.
        for name in placed:
            sys.modules.pop(name, None)


class _StandIn(ModuleType):
    """In the place of a module whose names are asked for and not yet used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Late(self.__name__, name)


class _Late:
    """A function or class that a module of RecBole imported; its first call imports it.

    All names that this module imported in that way then become what they stand for, so that a class
    that is named and never called (`category=ConvergenceWarning`) is the real one as well.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        for name, module in [*sys.modules.items()]:
            if name.startswith("recbole."):
                for key, value in [*vars(module).items()]:
                    if isinstance(value, _Late):
                        setattr(module, key, value.load())
        return self.load()(*arguments, **options)

    def load(self) -> Any:
        """What it stands for."""
        return getattr(importlib.import_module(self._module), self._name)


def no_optimizer_of_closed_forms() -> None:
    """trainer/trainer.py:141 makes an optimizer for models that take no step (Pop, ItemKNN, EASE).

    The first optimizer of a process imports torch's compiler, for longer than such a model computes.
    """
    import recbole.trainer.trainer as trainer

    trainer.TraditionalTrainer._build_optimizer = lambda self: _NoSteps(self.model)


class _NoSteps:
    """In the place of an optimizer for a model whose loss depends on no weight."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def zero_grad(self) -> None:
        """Nothing: there are no gradients."""

    def step(self) -> None:
        """Refuse a model that has gradients after all."""
        if any(weight.grad is not None for weight in self._model.parameters()):
            raise RuntimeError(
                f"{type(self._model).__name__} is of RecBole's type TRADITIONAL and learns"
            )


def no_tensorboard() -> None:
    """trainer/trainer.py:124 opens a TensorBoard writer in ./log_tensorboard for every trainer made.

    The curves are tracked elsewhere, and the folder would appear wherever the command was started.
    """
    import recbole.trainer.trainer as trainer

    trainer.get_tensorboard = lambda logger: None


def no_anomaly_detection() -> None:
    """sequential_recommender/sine.py:25 turns on autograd's anomaly detection for the whole process.

    Importing any sequential model imports SINE. Every backward pass then looks for NaN in every
    gradient and keeps a trace of every operation; a pass of SASRec takes a quarter longer.
    """
    import recbole.model.sequential_recommender  # noqa: F401  (the import that turns it on)
    import torch

    torch.autograd.set_detect_anomaly(False)


def quiet_deprecations() -> None:
    """trainer/trainer.py:232 makes a torch.cuda.amp.GradScaler every epoch, which warns every epoch.

    The scaler is disabled (no mixed precision), so that neither warning says anything to a user.
    """
    warnings.filterwarnings("ignore", message=r".*torch\.cuda\.amp\.GradScaler.*")
    warnings.filterwarnings("ignore", message=r".*torch\.sparse\.FloatTensor.*")


def quiet_long_histories() -> None:
    """data/dataset/dataset.py:2084 warns when a user has seen a fifth of the items, at every look.

    On ml-100k that is a line for every autoencoder and every stage of it, and nothing to act on.
    RecBole logs to the root logger, so that the filter meets no record of another package's logger.
    """
    logging.getLogger().addFilter(
        lambda record: "history interaction records has reached" not in record.getMessage()
    )


WORKAROUNDS: dict[str, Callable[[], None]] = {
    "numpy_aliases": numpy_aliases,
    "late_imports": late_imports,
    "dok_matrix_update": dok_matrix_update,
    "no_optimizer_of_closed_forms": no_optimizer_of_closed_forms,
    "no_tensorboard": no_tensorboard,
    "no_anomaly_detection": no_anomaly_detection,
    "quiet_deprecations": quiet_deprecations,
    "quiet_long_histories": quiet_long_histories,
}


def apply(*, skip: frozenset[str] = frozenset()) -> None:
    """Apply the work-rounds.

    Parameters
    ----------
    skip : frozenset of str
        Names of work-rounds to leave out (the tests name one at a time).
    """
    for name, work_round in WORKAROUNDS.items():
        if name not in skip:
            work_round()
