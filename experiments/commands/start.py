"""The run whose weights another starts from, as `warm_start` names it; found without torch."""

from typing import TYPE_CHECKING, Any

from experiments.config.experiment import Experiment
from experiments.config.resolve import ResolvedModel
from experiments.config.schema import Config
from experiments.data.prepare import prepare
from experiments.errors import PaddockError
from experiments.files import hash_of
from experiments.runs.folder import RunFolder
from experiments.serving.finished import config_of, find_run

if TYPE_CHECKING:
    from experiments.training.warm import Start

WEIGHTS = "model/model.safetensors"

SCRATCH = "none"
"""`warm_start` of a mode=retrain that trains from scratch all the same."""

_SOLVED = frozenset(("solved", "weighed"))
"""Strategies that find weights without looking at those that are there."""


def cannot_start(resolved: ResolvedModel) -> str | None:
    """Why a model cannot start from weights; None where it can.

    Parameters
    ----------
    resolved : ResolvedModel
    """
    if resolved.frozen:
        return f"{resolved.name} is made from frozen recommenders, which are trained before it"
    if len(resolved.stages) > 1:
        return f"{resolved.name} is trained in {len(resolved.stages)} stages"
    if resolved.model.closed_form or resolved.strategies & _SOLVED:
        return f"{resolved.name} finds its weights in one pass, wherever it starts"
    return None


def start_folder(experiment: Experiment) -> RunFolder | None:
    """The run that `warm_start` names; None where it names none.

    Parameters
    ----------
    experiment : Experiment

    Raises
    ------
    PaddockError
        There is no such run, it is one of another model or holds no weights, or this model cannot start from any.
    """
    config = experiment.config
    if config.warm_start is None:
        return None
    if (reason := cannot_start(experiment.model)) is not None:
        raise PaddockError(f"warm_start={config.warm_start}: {reason}; leave it out")
    folder = find_run(config.warm_start, runs_dir=config.runs_dir)
    if folder.run["model"] != experiment.model.name:
        raise PaddockError(
            f"warm_start={config.warm_start} is a run of {folder.run['model']}, not of {experiment.model.name}"
        )
    if WEIGHTS not in folder.run["files"]:
        raise PaddockError(f"warm_start={config.warm_start} holds no model")
    return folder


def start_content(folder: RunFolder) -> dict[str, Any]:
    """What run.json says of the weights that a run started from.

    Parameters
    ----------
    folder : RunFolder
        Of those weights.
    """
    run = folder.run
    return {
        "folder": str(folder.path),
        "model": run["model_key"],
        "dataset": run["dataset"],
        # The same weights are of other items where the data set numbers others.
        "hash": hash_of([run["files"][WEIGHTS]["sha256"], run["hashes"]["dataset"]]),
    }


def loaded_start(folder: RunFolder, config: Config) -> "Start":
    """The weights of a run with the ids that they belong to.

    Parameters
    ----------
    folder : RunFolder
    config : Config
        Its `data_dir` counts.

    Raises
    ------
    PaddockError
        The data set of that run is not here as it was.
    """
    from experiments import checkpoint
    from experiments.training.warm import Start

    data = prepare(config_of(folder).dataset, data_dir=config.data_dir, progress=False)
    if data.hash != folder.run["hashes"]["dataset"]:
        raise PaddockError(
            f"warm_start={folder.path} was trained on other data than dataset={data.name} gives here"
        )
    sections, _ = checkpoint.load(folder.path / WEIGHTS)
    return Start(
        source=str(folder.path),
        tensors=sections["model"][0],
        users=data.user_tokens,
        items=data.item_tokens,
    )
