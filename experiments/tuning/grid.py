"""Before and after the studies of `tune.py -m`: all are checked first, and compared at the end."""

from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from experiments.commands.grid import jobs, prepare_launcher
from experiments.failures import fail


class Grid(Callback):
    """Hydra's callback around several studies."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse all studies if one of them could not work, before anything trains."""
        from experiments.tuning.cli import read

        try:
            prepare_launcher(config.hydra.launcher)
            for overrides in jobs(config):
                read(overrides)
        except Exception as error:
            # Hydra swallows the exceptions of callbacks, and would train.
            fail(error)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the leaderboard of every data set and protocol that was tuned on."""
        from experiments.commands.run import show_leaderboard
        from experiments.tuning.cli import read

        tuned: dict[str, Any] = {}
        for overrides in jobs(config):
            asked, _ = read(overrides)
            if not asked.study.worker and asked.study.final_seeds:
                tuned.setdefault(repr((asked.runs_dir, asked.dataset, asked.protocol.name)), asked)
        for asked in tuned.values():
            show_leaderboard(asked)
