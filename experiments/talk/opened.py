"""The engine that a page or a script asks for by overrides, over the best run of a data set."""

from collections.abc import Sequence

from experiments.config.compose import compose, typed
from experiments.config.schema import Config
from experiments.data.prepare import prepare
from experiments.serving.finished import best_run, find_run
from experiments.talk.assemble import engine_of
from experiments.talk.engine import Engine


def opened(overrides: Sequence[str]) -> tuple[Engine, Config]:
    """The engine of a configuration, and the configuration.

    Parameters
    ----------
    overrides : sequence of str
        As of `run.py`. `run_id` names the run; otherwise it is the one with the best valid metric on the data set and
        protocol, of `model=NAME` where a model is named.

    Raises
    ------
    PaddockError
        There is no such run, or a key is wrong.
    """
    config = typed(compose(list(overrides)))
    data = prepare(config.dataset, data_dir=config.data_dir, progress=config.progress)
    if config.run_id is not None:
        folder = find_run(config.run_id, runs_dir=config.runs_dir)
    else:
        models = [each.partition("=")[2] for each in overrides if each.startswith("model=")]
        folder = best_run(
            config.runs_dir,
            dataset=data.name,
            protocol=config.protocol.name,
            model=models[-1] if models else None,
        )
        folder.verify()
    return engine_of(config, data, folder), config
