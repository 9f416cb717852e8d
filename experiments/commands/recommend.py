"""Ranked titles for users, from a finished run."""

import difflib
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments import checkpoint
from experiments.bridge.scorer import RecBoleScorer
from experiments.config.resolve import resolve_model
from experiments.config.schema import Config, Format
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.evaluation.evaluate import topk
from experiments.protocol.split import Sequences, split_interactions
from experiments.runs.folder import RunFolder, find_runs
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.device import device_of
from experiments.training.state import load_model_state
from experiments.visible import json_text, visible

Recommendation = dict[str, Any]


def recommend(config: Config, *, model_key: str) -> list[Recommendation]:
    """The k best unseen items of each requested user.

    The history is everything that the user ever interacted with, valid and test items included:
    nothing of it is recommended, and a sequential model reads its end.

    Parameters
    ----------
    config : Config
        Its `user`, `k`, `run_id`, data set and protocol count.
    model_key : str
        Name of the model in run folders.

    Returns
    -------
    list
        One {"user", "items": [{"rank", "item", "title", "score"}]} a user, in the order of `config.user`.

    Raises
    ------
    PaddockError
        If the run or a user is unknown, or the data is not what the run was trained on.
    """
    data = prepare(config.dataset, data_dir=config.data_dir, progress=config.progress)
    folder = find_run(config, dataset=data.name, model_key=model_key)
    run = folder.run
    split = split_interactions(data.before_join, config.protocol)
    if run["hashes"]["split"] != split.hash:
        raise PaddockError(
            f"{folder.path} was trained on other data (split {run['hashes']['split'][:12]}) than "
            f"dataset={data.name} gives here (split {split.hash[:12]}): "
            "name the data set and protocol of that run"
        )
    if not (folder.path / "model").is_dir():
        raise PaddockError(
            f"{folder.path} holds no model: its users are new ones, which {run['model']} cannot score"
        )
    tokens = config.user if isinstance(config.user, list | tuple) else [config.user]
    users_B = np.array([_user_id(data, str(token)) for token in tokens])
    sections, values = checkpoint.load(folder.path / "model" / "model.safetensors")
    torch.set_num_threads(config.threads)
    context = TrainingContext(
        data=data,
        split=split,
        seed=run["seed"],
        device=device_of(config.device),
        folder=folder.path,
    )
    model, dataset, _ = build(resolve_model(values).values, context)
    load_model_state(model, *sections["model"])
    history = Sequences(indptr=data.indptr, items=data.items)
    scores_BN = RecBoleScorer(model, dataset=dataset, history=history).score(users_B)
    items_BK, scores_BK = topk(scores_BN, history.take(users_B), config.k)
    return [
        {
            "user": str(token),
            "items": [
                {
                    "rank": rank,
                    "item": str(data.item_tokens[item]),
                    "title": data.item_titles[item],
                    "score": float(score),
                }
                for rank, (item, score) in enumerate(zip(items, scores, strict=True), start=1)
                if item != 0
            ],
        }
        for token, items, scores in zip(tokens, items_BK, scores_BK, strict=True)
    ]


def find_run(config: Config, *, dataset: str, model_key: str) -> RunFolder:
    """The run named by `run_id`, or the newest finished one of the model on the data set.

    Parameters
    ----------
    config : Config
        Its `run_id`, `runs_dir` and protocol count.
    dataset : str
        Name of the data set; it counts only without `run_id`.
    model_key : str
        Name of the model; it counts only without `run_id`.

    Raises
    ------
    PaddockError
        If there is no such run, it has not finished, or a file of it is damaged.
    """
    folder = _named(config, dataset=dataset, model_key=model_key)
    folder.verify()
    folder.clean()
    return folder


def _named(config: Config, *, dataset: str, model_key: str) -> RunFolder:
    """The run that is asked for; of a folder that is named no other is opened."""
    if config.run_id is not None and RunFolder(config.run_id).exists:
        folder = RunFolder(config.run_id)
        if not folder.finished:
            raise PaddockError(f"run_id={config.run_id} has not finished: run its command again")
        return folder
    runs = find_runs(config.runs_dir, finished=True)
    if config.run_id is None:
        for folder in runs:
            run = folder.run
            wanted = (dataset, config.protocol.name, model_key)
            if (run["dataset"], run["protocol"], run["model_key"]) == wanted:
                return folder
        raise PaddockError(
            f"no finished run of model={model_key} on dataset={dataset} in {config.runs_dir}: "
            f"train one with python run.py model={model_key} dataset={dataset}"
        )
    ids = {folder.tracking.get("run_id", ""): folder for folder in runs}
    if config.run_id in ids:
        return ids[config.run_id]
    raise PaddockError(
        f"run_id={config.run_id} is neither a run folder nor the MLflow id of a finished run in "
        f"{config.runs_dir}"
    )


def show(recommendations: list[Recommendation], *, form: Format, console: Console) -> None:
    """Print recommendations as tables, or as one JSON document.

    Parameters
    ----------
    recommendations : list of dict
        What `recommend` returns.
    form : Format
        How to print.
    console : Console
        Where to print.
    """
    if form is Format.json:
        console.file.write(json_text(recommendations) + "\n")
        return
    for one in recommendations:
        table = Table(title=Text(f"User {visible(one['user'])}"), title_justify="left")
        table.add_column("#", justify="right")
        table.add_column("Item")
        table.add_column("Title")
        table.add_column("Score", justify="right")
        for item in one["items"]:
            named = [Text(visible(item[key])) for key in ("item", "title")]
            table.add_row(str(item["rank"]), *named, f"{item['score']:.4f}")
        console.print(table)


def _user_id(data: Prepared, token: str) -> int:
    found = data.user_id(token)
    if found is not None:
        return found
    near = nearest_ids(token, [str(other) for other in data.user_tokens[1:]])
    raise PaddockError(f"user={token} is not in {data.name}; the nearest ids are {', '.join(near)}")


def nearest_ids(token: str, known: list[str], *, n: int = 3) -> list[str]:
    """The known ids nearest to an unknown one: by value if all are numbers, else by spelling.

    Parameters
    ----------
    token : str
        The unknown id.
    known : list of str
        All ids.
    n : int
        How many to return, at most.
    """
    try:
        return sorted(known, key=lambda other: (abs(int(other) - int(token)), int(other)))[:n]
    except ValueError:
        return difflib.get_close_matches(token, known, n=n, cutoff=0.0)
