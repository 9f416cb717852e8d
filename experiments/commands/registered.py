"""Runs that are named by an alias or a version of MLflow's registry."""

from experiments.config.schema import Config
from experiments.serving.finished import ADDRESS


def with_run_ids(config: Config) -> None:
    """Put MLflow's run ids in the place of addresses of the registry, in `run_id` and `serve.runs`.

    Parameters
    ----------
    config : Config
        Changed. Its `tracking` says where the registry is.

    Raises
    ------
    PaddockError
        There is no store, or nothing of that name, alias or version.
    """
    named = [config.run_id, *config.serve.runs.values()]
    if not any(str(each).startswith(ADDRESS) for each in named):
        return
    from experiments.errors import PaddockError
    from experiments.tracking.registry import registered_run
    from experiments.tracking.store import reach

    if config.tracking.uri is None:
        raise PaddockError("tracking.uri is null: a registry is part of a tracking store; name one")
    store = reach(config.tracking)

    def run_id(given: str) -> str:
        return registered_run(store, given) if given.startswith(ADDRESS) else given

    if config.run_id is not None:
        config.run_id = run_id(config.run_id)
    config.serve.runs = {side: run_id(str(run)) for side, run in config.serve.runs.items()}
