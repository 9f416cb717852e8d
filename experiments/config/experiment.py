"""A command that was checked: its configuration, its resolved model, and what they were composed from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.config.check import check
from experiments.config.resolve import ResolvedModel
from experiments.config.schema import Config
from experiments.errors import PaddockError

NAMELESS = "recbole"
"""conf/model/recbole.yaml runs any model by its class name, which then names the run."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One configuration that can be run, with one seed.

    Attributes
    ----------
    config : Config
        The configuration.
    model : ResolvedModel
        The resolved model.
    choices : mapping of str to str
        Group -> YAML file that the configuration was composed from.
    places : tuple of str
        Overrides that name more folders of YAML files: hydra.searchpath=[...].
    """

    config: Config
    model: ResolvedModel
    choices: Mapping[str, str]
    places: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, config: Config, choices: Mapping[str, str], places: tuple[str, ...] = ()
    ) -> "Experiment":
        """Check a configuration.

        Parameters
        ----------
        config : Config
            A composed configuration.
        choices : mapping of str to str
            Group -> YAML file that it was composed from.
        places : tuple of str
            Overrides that name more folders of YAML files.

        Raises
        ------
        PaddockError
            If it cannot work.
        """
        model = check(config)
        if model is None:
            raise PaddockError(f"mode={config.mode.value} runs no model")
        return cls(config=config, model=model, choices=choices, places=places)

    @property
    def model_key(self) -> str:
        """The model's name in run folders: its YAML file, or its class in lower case."""
        choice = self.choices["model"]
        return choice if choice != NAMELESS else self.model.name.lower()

    def with_values(self, **changed: Any) -> "Experiment":
        """The experiment with other values of top-level keys; the model stays.

        Parameters
        ----------
        **changed : object
            Key -> value.
        """
        return replace(self, config=replace(self.config, **changed))
