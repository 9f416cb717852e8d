"""The model of a finished run, loaded over the data that it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments import checkpoint
from experiments.bridge.inputs import reads_histories
from experiments.config.resolve import resolve_model
from experiments.config.schema import Config
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import split_interactions
from experiments.runs.folder import RunFolder
from experiments.serving.finished import config_of
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.device import device_of
from experiments.training.state import load_model_state


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A run with its model in memory.

    Attributes
    ----------
    folder : RunFolder
    config : Config
        Its configuration.
    data : Prepared
        What it was trained on.
    model, dataset
        The trained model, in evaluation mode, and the RecBole data set that it was made with.
    notes : tuple of str
        What a reader of its answers must know.
    half_new : str or None
        What is missing of somebody new, where the model reads a history and a vector of each of its users.
    """

    folder: RunFolder
    config: Config
    data: Prepared
    model: Any
    dataset: Any
    notes: tuple[str, ...]
    half_new: str | None


def open_model(
    folder: RunFolder,
    *,
    data_dir: str | Path | None = None,
    device: str = "cpu",
    threads: int = 1,
    progress: bool = False,
    data: Prepared | None = None,
) -> Opened:
    """Load the model of a run whose files are known to be whole.

    Parameters
    ----------
    folder : RunFolder
    data_dir : str or Path, optional
        Of prepared data sets; by default the run's own.
    device : str
        As of the configuration.
    threads : int
        Of torch.
    progress : bool
        Whether preparing says how far it is.
    data : Prepared, optional
        The data set, where it lies elsewhere.

    Raises
    ------
    PaddockError
        If the data set is no longer what the run was trained on, or the run holds no model.
    """
    run, config = folder.run, config_of(folder)
    if data is None:
        data = prepare(config.dataset, data_dir=data_dir or config.data_dir, progress=progress)
    split = split_interactions(data.before_join, config.protocol)
    if run["hashes"]["split"] != split.hash:
        raise PaddockError(
            f"{folder.path} was trained on other data (split {run['hashes']['split'][:12]}) than "
            f"dataset={data.name} gives here (split {split.hash[:12]}): its source has changed; train "
            f"again with {run['command']}"
        )
    if not (folder.path / "model").is_dir():
        raise PaddockError(
            f"{folder.path} holds no model: its users are new ones, which {run['model']} cannot score"
        )
    torch.set_num_threads(threads)
    sections, values = checkpoint.load(folder.path / "model" / "model.safetensors")
    context = TrainingContext(
        data=data, split=split, seed=run["seed"], device=device_of(device), folder=folder.path
    )
    resolved = resolve_model(values)
    model, dataset, _ = build(resolved.values, context)
    load_model_state(model, *sections["model"])
    model.eval()
    return Opened(
        folder=folder,
        config=config,
        data=data,
        model=model,
        dataset=dataset,
        notes=_changed(run, resolved.sources),
        half_new=_half_new(model, data, name=run["model_key"]),
    )


def _changed(run: Mapping[str, Any], sources: Mapping[str, str]) -> tuple[str, ...]:
    """A note on components whose code is not that which trained the run."""
    trained = run.get("sources") or {}
    changed = [name for name, source in sources.items() if trained.get(name, source) != source]
    if not changed:
        return ()
    commit = ((run.get("git") or {}).get("commit") or "unknown")[:12]
    return (
        f"the code of {', '.join(changed)} is not that which trained this run (commit {commit}): its scores "
        "may differ from those that were evaluated",
    )


@torch.no_grad()
def _half_new(model: nn.Module, data: Prepared, *, name: str) -> str | None:
    """A note on a model that reads a history and a learned vector of each user (FPMC, HGN, SimpleX).

    The padding user's vector, which stands for somebody new, was drawn and never trained: it becomes zero, so that
    scores are those of the history alone.
    """
    if not reads_histories(model):
        return None
    found = [
        module
        for path, module in model.named_modules()
        if isinstance(module, nn.Embedding)
        and module.num_embeddings == data.n_users + 1
        and module.embedding_dim > 1
        and (data.n_users != data.n_items or "user" in path.lower() or path.startswith("UI"))
    ]
    for module in found:
        module.weight[0] = 0.0
    if not found:
        return None
    return (
        f"{name} learned a vector of each of its users and has none of somebody new, who is scored by the "
        "history alone"
    )
