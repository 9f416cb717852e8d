"""Ranked titles for users and for anybody else, from a finished run."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from experiments.config.check import ALL
from experiments.config.schema import Config, Format
from experiments.data.prepare import dataset_name
from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder
from experiments.serving.batch import ending, write_lists
from experiments.serving.finished import asked_run
from experiments.serving.recommender import Recommender
from experiments.serving.requests import Answer, Request
from experiments.terminal import make_console
from experiments.visible import json_text, visible

Recommendation = dict[str, Any]

_OF_DATA = ("source", "category", "columns", "filters", "text")
"""Keys of a data set by which two of one name differ."""


def recommend(
    config: Config, *, model_key: str | None, data_dir: str | None = None
) -> list[Recommendation]:
    """The k best unseen items of each user that is asked for, or of somebody new.

    The history of a user is everything that he ever interacted with, valid and test items included:
    nothing of it is recommended, and a sequential model reads its end.

    Parameters
    ----------
    config : Config
        Its request (`user`, `history`, `dislikes`, `exclude`, `profile`, `query`, `where`, `k`, `out`), `run_id`,
        data set and protocol count; with `run_id` data set and protocol are those of the run.
    model_key : str or None
        The model whose best run on valid answers; None: the best of all models.
    data_dir : str, optional
        Where prepared data lie; by default where the run has them.

    Returns
    -------
    list
        One {"user", "rule", "items": [{"rank", "item", "title", "score", "reasons"}], "notes", "origin"} a
        user, in the order of `config.user`; for `user=all` one of the file: {"out", "users", "items", "origin"}.

    Raises
    ------
    PaddockError
        If the run, a user or an item is unknown, the model cannot score the request, or the data is not
        what the run was trained on.
    """
    if config.out is not None:
        ending(Path(config.out))
    folder = _chosen(config, model_key=model_key)
    recommender = Recommender.of(
        folder,
        data_dir=data_dir,
        device=config.device,
        threads=config.threads,
        progress=config.progress,
        index_above=config.serve.index_above,
        text_encoder=config.serve.text_encoder,
    )
    if config.user == ALL:
        return [_all(config, recommender)]
    return [_plain(request, recommender) for request in _requests(config)]


def _chosen(config: Config, *, model_key: str | None) -> RunFolder:
    """The run that is named, or the best one on valid."""
    folder = asked_run(config, dataset=dataset_name(config.dataset), model=model_key)
    if config.run_id is not None:
        return folder
    asked, used = asdict(config.dataset), folder.run["config"]["dataset"]
    for key in _OF_DATA:
        if asked[key] != used.get(key):
            raise PaddockError(
                f"{folder.path} was trained on other data (dataset.{key}={used.get(key)}, not "
                f"{asked[key]}): train on this data, or leave it out and name run_id={folder.path}"
            )
    return folder


def _requests(config: Config) -> Iterator[Request]:
    named = {
        key: tuple(str(each) for each in _listed(getattr(config, key)))
        for key in ("history", "dislikes", "exclude")
    }
    profile = {str(column): str(value) for column, value in config.profile.items()}
    for user in config.user if isinstance(config.user, list | tuple) else [config.user]:
        yield Request(
            user=None if user is None else str(user),
            profile=profile,
            query=config.query,
            where=config.where,
            k=config.k,
            **named,
        )


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _plain(request: Request, recommender: Recommender) -> Recommendation:
    answer: Answer = recommender.recommend(request)
    content = asdict(answer)
    for item in content["items"]:
        # The recommender calls an item without a title by its id.
        item["title"] = recommender.title_of(item["item"])
    return {"user": request.user, **content}


def _all(config: Config, recommender: Recommender) -> Recommendation:
    """Write the lists of all users, with a bar on stderr."""
    users = recommender.data.n_users
    target = Path(str(config.out))
    with Progress(console=make_console(stderr=True), disable=not config.progress) as progress:
        bar = progress.add_task("users", total=users)
        items = write_lists(
            target,
            recommender,
            k=config.k,
            where=config.where,
            exclude=tuple(str(each) for each in _listed(config.exclude)),
            tick=lambda count: progress.advance(bar, count),
        )
    return {
        "out": str(target),
        "users": users,
        "items": items,
        "origin": asdict(recommender.origin),
    }


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
        if "out" in one:
            told = f"{one['items']} items for {one['users']} users are in {visible(one['out'])}"
            console.print(Text(told))
        else:
            console.print(_table(one))
        for note in one.get("notes", ()):
            console.print(Text(visible(note)))
    if recommendations and (origin := recommendations[0].get("origin")):
        console.print(Text(visible(f"By {origin['model']}, run_id={origin['folder']}")))


def _table(one: Mapping[str, Any]) -> Table:
    who = "Somebody new" if one["user"] is None else f"User {visible(one['user'])}"
    table = Table(title=Text(who), title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("Item")
    table.add_column("Title")
    table.add_column("Score", justify="right")
    reasons = any(item.get("reasons") for item in one["items"])
    if reasons:
        table.add_column("Because")
    for item in one["items"]:
        cells = [Text(visible(item[key])) for key in ("item", "title")]
        row: list[str | Text] = [str(item["rank"]), *cells, f"{item['score']:.4f}"]
        because = "; ".join(reason["text"] for reason in item.get("reasons", ()))
        table.add_row(*row, *([Text(visible(because))] if reasons else []))
    return table
