"""The model of a run in MLflow's registry, under an alias that others load it by."""

from typing import TYPE_CHECKING

from experiments.address import absolute
from experiments.config.schema import Config
from experiments.errors import PaddockError
from experiments.passwords import without_password
from experiments.runs.folder import RunFolder
from experiments.tracking.registry import Promotion
from experiments.tracking.registry import promote as registered
from experiments.tracking.store import reach

if TYPE_CHECKING:
    from rich.console import Console


def promote(config: Config, *, console: "Console", name: str | None = None) -> Promotion:
    """Let `config.alias` name the model of the run that `config.run_id` names.

    Parameters
    ----------
    config : Config
        Its `run_id`, `alias`, `force` and `tracking` count.
    console : Console
    name : str, optional
        Of the registered model; by default "<dataset>-<protocol>".

    Raises
    ------
    PaddockError
        There is no store, no such run, or the present model of that alias is as good.
    """
    if config.tracking.uri is None:
        raise PaddockError("tracking.uri is null: a registry is part of a tracking store; name one")
    store = reach(config.tracking)
    run_id = _id_of(str(config.run_id), str(config.tracking.uri))
    made = registered(store, run_id, alias=config.alias, force=config.force, name=name)
    against = "" if made.before is None else f", {made.before:.4f} before"
    said = f"is version {made.version}" if made.changed else f"was version {made.version} already"
    console.print(
        f"{made.address} {said}: {made.metric} {made.value:.4f}{against}", highlight=False
    )
    return made


def _id_of(given: str, uri: str) -> str:
    """MLflow's id of a run that is named by it or by its folder."""
    folder = RunFolder(given)
    if not folder.exists:
        return given
    published = folder.published
    if published.get("tracking_uri") != without_password(absolute(uri)):
        raise PaddockError(f"run_id={given} was not uploaded to this store: call mode=upload first")
    return str(published["run_id"])
