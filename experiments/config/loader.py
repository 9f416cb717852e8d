"""Hydra's loader of configurations, which composes once what Hydra asks for several times.

Hydra composes a command to learn whether it is a grid and again to run it, composes every job of a
grid twice, and copies everything that it has registered for each group that --help lists. Parsing an
override, reading YAML and merging files take most of a composition, and mostly meet what they met
before. What comes out here is the same, without the passwords of addresses.
"""

import copy
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hydra._internal import hydra as hydra_internals
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import DictConfig

from experiments.config.conceal import conceal_composed
from experiments.config.repository import Repository, merged_once

_SEED = re.compile(r"seed=(0|[1-9]\d*)")
_MODES = {f"hydra.mode={mode.name}": mode for mode in RunMode}


class Loader(ConfigLoaderImpl):
    """Composes as Hydra's loader does, and keeps what will be asked for again.

    Parameters
    ----------
    config_search_path : ConfigSearchPath
        Where Hydra looks for YAML files.
    """

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = Repository(config_search_path)
        self._forget()

    def _forget(self) -> None:
        self._ahead: tuple[str | None, list[str], DictConfig] | None = None
        self._jobs: dict[tuple[str, ...], DictConfig] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Workers of a grid get a loader with each job: what is kept would travel every time.
        return self.__dict__ | {"_ahead": None, "_jobs": {}}

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """The options of a group; without overrides nothing else than the repository counts."""
        if config_name is None and not overrides:
            found: list[str] = self.repository.get_group_options(group_name, results_filter)
            return found
        made: list[str] = super().get_group_options(
            group_name, results_filter, config_name, overrides
        )
        return made

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        parsed = self._parse(overrides)
        repository = CachingConfigRepository(self.repository)
        self._process_config_searchpath(config_name, parsed, repository)
        return parsed, repository

    def _compose_config_from_defaults_list(
        self, defaults: list[ResultDefault], repo: IConfigRepository
    ) -> DictConfig:
        return merged_once(defaults, repo, super()._compose_config_from_defaults_list)

    def _load_configuration_impl(self, *args: Any, **options: Any) -> DictConfig:
        # No callback comes before Hydra's multirun.yaml and .hydra/config.yaml.
        config: DictConfig = super()._load_configuration_impl(*args, **options)
        conceal_composed(config)
        return config

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Compose a command; what was composed to learn its mode is taken, where it is the same."""
        if not validate_sweep_overrides:
            return self._look_ahead(config_name, overrides, run_mode, from_shell)
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == config_name:
            _, before, config = ahead
            added = overrides[len(before) :]
            if overrides[: len(before)] == before and added in ([], *([each] for each in _MODES)):
                parsed = self._parse(overrides)
                self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
                for override in added:
                    config.hydra.mode = _MODES[override]
                    config.hydra.overrides.hydra.append(override)
                return config
        return super().load_configuration(config_name, overrides, run_mode, from_shell)

    def _look_ahead(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, from_shell: bool
    ) -> DictConfig:
        """Compose a command whose mode is not known, which is asked for again once it is."""
        given = list(overrides)
        try:
            # A grid's command may leave a mandatory group open, a run's may not: what both take
            # is the same for both.
            config = super().load_configuration(
                config_name, given, RunMode.RUN, from_shell, validate_sweep_overrides=False
            )
        except ConfigCompositionException:
            return super().load_configuration(
                config_name, given, run_mode, from_shell, validate_sweep_overrides=False
            )
        self._ahead = (config_name, given, config)
        return config

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Compose a job of a grid; those that differ by their seed alone are composed once."""
        seeds = [found for each in sweep_overrides if (found := _SEED.fullmatch(each))]
        if len(seeds) != 1:
            return super().load_sweep_config(master_config, sweep_overrides)
        job = copy.deepcopy(self._of_any_seed(master_config, sweep_overrides))
        # Values that depend on the seed are interpolated when they are read.
        job.seed = int(seeds[0][1])
        parsed = [each for each in self._parse(sweep_overrides) if not each.is_hydra_override()]
        job.hydra.overrides.task = [each.input_line for each in parsed]
        names = job.hydra.job.config.override_dirname
        job.hydra.job.override_dirname = get_overrides_dirname(
            overrides=parsed,
            kv_sep=names.kv_sep,
            item_sep=names.item_sep,
            exclude_keys=names.exclude_keys,
        )
        return job

    def compose_job(self, master_config: DictConfig, sweep_overrides: list[str]) -> None:
        """Compose a job of a grid only to see that it can be, without the copy that a run needs."""
        if sum(bool(_SEED.fullmatch(each)) for each in sweep_overrides) == 1:
            self._of_any_seed(master_config, sweep_overrides)
        else:
            super().load_sweep_config(master_config, sweep_overrides)

    def _of_any_seed(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The job with the seed that was asked for first; nobody may change it."""
        others = ("" if _SEED.fullmatch(each) else each for each in sweep_overrides)
        key = (*master_config.hydra.overrides.hydra, *others)
        if key not in self._jobs:
            self._jobs[key] = super().load_sweep_config(master_config, sweep_overrides)
        return self._jobs[key]

    def _parse(self, overrides: Sequence[str]) -> list[Override]:
        return [_parsed(each) for each in overrides]


@lru_cache(maxsize=4096)
def _parsed(override: str) -> Override:
    """An override that is only read."""
    (parsed,) = OverridesParser.create().parse_overrides([override])
    return parsed


def _compose_each(self: Sweeper, batch: Sequence[Sequence[str]]) -> None:
    """Compose every job of a grid before the first runs, as `Sweeper.validate_batch_is_legal` does."""
    assert self.hydra_context is not None
    assert self.config is not None
    loader = self.hydra_context.config_loader
    asked = loader.compose_job if isinstance(loader, Loader) else loader.load_sweep_config
    for overrides in batch:
        asked(self.config, list(overrides))


def install() -> None:
    """Have Hydra load configurations by `Loader`, in this process."""
    hydra_internals.ConfigLoaderImpl = Loader  # type: ignore[misc]
    Sweeper.validate_batch_is_legal = _compose_each  # type: ignore[method-assign]
