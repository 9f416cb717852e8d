"""A model's configuration with nothing left to a default elsewhere, checked.

It is resolved once, where a command is checked; all else reads the `ResolvedModel`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.components.registry import strategies, strategy_config
from experiments.config.language_keys import LLMConfig, TextEncoderConfig
from experiments.config.models import STAGE_KEY, Model, fits, fitting, model
from experiments.config.values import checked, checked_schema, nearest, together
from experiments.errors import PaddockError
from paddock import Key, Schema
from paddock.training_keys import PADDOCK_KEYS

BACKBONE = "backbone"
"""Key of a model whose frozen recommender is trained first, and the name of that stage."""

MEMBERS = "members"
"""Key of a model that is made of several trained recommenders, each under its name."""

MEMBER = "member "
"""Begins the name of the stage in which a member is trained."""

STAGES = "stages"

ONE_PASS = {"epochs": 1, "stopping_step": 0, "eval_step": 1, "keep": "last"}
"""Keys of the loop for a model that one pass over the data trains."""

ENGINE_KEYS = (*PADDOCK_KEYS, STAGES)
"""Keys of a model's YAML that RecBole never sees."""

SCHEMAS: dict[str, type[Schema]] = {"llm": LLMConfig, "text_encoder": TextEncoderConfig}
"""Kind of a part -> its schema."""


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """A model with all values of its keys.

    Attributes
    ----------
    model : Model
        The model's keys and declaration.
    values : dict of str to object
        Key -> value, as run.json keeps them; `stages` holds what differs between stages.
    stages : dict of str to dict of str to object
        Stage -> all its values. A model without stages has one, named train.
    frozen : mapping of str to ResolvedModel
        Stage -> the recommender that is trained in it before the model's own stages, and changes no
        more: the backbone, or the members.
    """

    model: Model
    values: dict[str, Any]
    stages: dict[str, dict[str, Any]]
    frozen: "Mapping[str, ResolvedModel]" = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The RecBole class."""
        return self.model.name

    @property
    def strategies(self) -> frozenset[str]:
        """The strategies of its stages."""
        return frozenset(values["strategy"] for values in self.stages.values())

    @property
    def last(self) -> dict[str, Any]:
        """The values of the last stage, which are those of the trained model."""
        return list(self.stages.values())[-1]

    @property
    def staged(self) -> bool:
        """Whether it is trained in several stages, a backbone's among them."""
        return STAGES in self.values or bool(self.frozen)

    @property
    def everything(self) -> "tuple[ResolvedModel, ...]":
        """The model itself, and its frozen recommenders with theirs."""
        return self, *(each for own in self.frozen.values() for each in own.everything)

    @property
    def content(self) -> dict[str, Any]:
        """The values that count for identity, with all values of every stage."""
        return {**self.values, STAGES: self.stages} if STAGES in self.values else self.values

    @property
    def epochs(self) -> int:
        """The most epochs of all stages together, without the backbone's."""
        return sum(int(values["epochs"]) for values in self.stages.values())

    @property
    def sources(self) -> dict[str, str]:
        """Component -> the hash of its source: of the model, its strategies and its frozen recommenders."""
        found = {f"strategy {name}": strategies()[name].source for name in self.strategies}
        if self.model.component is not None:
            found[f"model {self.name}"] = self.model.component.source
        for each in self.frozen.values():
            found |= each.sources
        return found

    def seed_offset(self, stage: str) -> int:
        """What is added to the run's seed in a stage: members may be of another seed.

        Parameters
        ----------
        stage : str
            Name of a stage.
        """
        offsets = self.values.get("seed_offsets") or {}
        return int(offsets.get(stage.removeprefix(MEMBER), 0)) if stage in self.frozen else 0


def last_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """All values of the last stage of a resolved model.

    Parameters
    ----------
    values : mapping of str to object
        `ResolvedModel.values`.
    """
    *_, last = (values.get(STAGES) or {"": {}}).values()
    return {**{key: value for key, value in values.items() if key != STAGES}, **last}


def resolve_model(given: Mapping[str, Any]) -> ResolvedModel:
    """The model's configuration with nothing left to a default elsewhere.

    Parameters
    ----------
    given : mapping
        The keys under `model`, of a command or of a resolved model.

    Raises
    ------
    PaddockError
        If the model or a key is unknown, or a value has the wrong type or is impossible.
    """
    name = given.get("name")
    if name is None:
        raise PaddockError("model.name is missing: name a RecBole model, as in model.name=NARM")
    found = model(str(name))
    strategy = given.get("strategy") or PADDOCK_KEYS["strategy"].default
    if strategy not in strategies():
        raise PaddockError(
            f"model.strategy={strategy} is unknown: {nearest(str(strategy), strategies())}"
        )
    fixed = ONE_PASS if found.closed_form else {}
    common = {
        **found.defaults(strategy),
        # What a closed form fixes is in its resolved values, which may be resolved again.
        **{
            key: value
            for key, value in given.items()
            if key != STAGES and not (key in fixed and fixed[key] == value)
        },
        "strategy": strategy,
        "keep": given.get("keep") or PADDOCK_KEYS["keep"].default,
    }
    resolved = _Checked(found, path="model")
    values = resolved.values(common, strategy)
    resolved.together(values)
    values |= fixed
    stages = given.get(STAGES)
    if stages is None and found.staged and STAGE_KEY not in given:
        raise PaddockError(
            f"model.stages is missing: {name} trains in stages; use model={str(name).lower()}"
        )
    if stages is None:
        return ResolvedModel(
            model=found, values=values, stages={"train": values}, frozen=resolved.frozen
        )
    own = _checked_stages(stages, values, found)
    return ResolvedModel(
        model=found,
        values={**values, STAGES: own},
        stages={stage: {**values, **differing} for stage, differing in own.items()},
        frozen=resolved.frozen,
    )


def _checked_stages(
    stages: Any, common: Mapping[str, Any], found: Model
) -> dict[str, dict[str, Any]]:
    """What each stage has beside the common values."""
    if not isinstance(stages, Mapping):
        raise PaddockError(f"model.stages={stages} must map the names of stages to their keys")
    if not stages:
        raise PaddockError("model.stages is empty: name at least one stage, or leave it out")
    made: dict[str, dict[str, Any]] = {}
    for stage, own in stages.items():
        path = f"model.stages.{stage}"
        if not isinstance(own, Mapping | None):
            raise PaddockError(f"{path}={own} must hold keys, as in {path}.epochs=10")
        own = dict(own or {})
        for key in ("name", STAGES):
            if key in own:
                raise PaddockError(f"{path}.{key} cannot differ between stages: remove it")
        if found.staged and STAGE_KEY not in own:
            others = [other for other in stages if other != stage]
            raise PaddockError(
                f"{path}: a stage of {found.name} needs {STAGE_KEY}; {nearest(str(stage), others)}"
            )
        strategy = own.get("strategy") or common["strategy"]
        if strategy not in strategies():
            raise PaddockError(
                f"{path}.strategy={strategy} is unknown: {nearest(str(strategy), strategies())}"
            )
        missing = {
            key: value for key, value in found.defaults(strategy).items() if key not in common
        }
        resolved = _Checked(found, path=path, own=own)
        made[str(stage)] = resolved.values({**missing, **own}, strategy)
        resolved.together({**common, **made[str(stage)]})
    return made


@dataclass
class _Checked:
    """Checks the values of a model, or of one of its stages."""

    found: Model
    path: str
    own: Mapping[str, Any] | None = None
    frozen: dict[str, ResolvedModel] = field(default_factory=dict, kw_only=True)

    def values(self, given: Mapping[str, Any], strategy: str) -> dict[str, Any]:
        """The values, each of its key's type."""
        found, path = self.found, self.path
        self._check_fit(strategy)
        known = {**found.all_keys(strategy), **PADDOCK_KEYS}
        made: dict[str, Any] = {}
        for key, value in given.items():
            if key not in known:
                how = "" if strategy == "recbole" else f" with strategy {strategy}"
                raise PaddockError(
                    f"{path}.{key}: {found.name} reads no such key{how}; "
                    f"{nearest(str(key), known, prefix=f'{path}.')}"
                )
            made[key] = self._value(f"{path}.{key}", value, known[key])
            if known[key].quiet and made[key] == known[key].default:
                del made[key]
        return made

    def together(self, values: Mapping[str, Any]) -> None:
        """Refuse values that are impossible beside each other, and missing ones."""
        found = self.found
        strategy = strategy_config(values["strategy"])
        for name, key in found.all_keys(values["strategy"]).items():
            if key.required and values.get(name) is None:
                raise PaddockError(f"{self._at(name)}.{name} is missing: {key.doc}")
        for name, possible in strategy.only.items():
            if values.get(name, possible[0]) not in possible:
                raise PaddockError(
                    f"{self._at(name)}.{name}={values[name]}: strategy {strategy.name} trains with "
                    f"{name}={' or '.join(map(str, possible))}; take that or strategy=recbole"
                )
        width, heads = values.get("hidden_size"), values.get("n_heads")
        if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
            path = self._at("hidden_size")
            raise PaddockError(f"{path}.hidden_size={width} is not a multiple of n_heads={heads}")
        together(self._at, values, strategy)
        if found.config is not None:
            together(self._at, values, found.config)

    def _at(self, key: str) -> str:
        """Where a key stands: a stage has those of the model too."""
        return self.path if self.own is None or key in self.own else "model"

    def _check_fit(self, strategy: str) -> None:
        why = fits(self.found, strategy_config(strategy))
        if why:
            fitting_ones = fitting(self.found)
            use = "recbole" if "recbole" in fitting_ones else " or ".join(fitting_ones)
            raise PaddockError(f"{self.path}.strategy={strategy} {why}: use model.strategy={use}")

    def _value(self, path: str, value: Any, key: Key) -> Any:
        if key.schema is None or (value is None and key.optional):
            return checked(path, value, key)
        if key.schema == "model":
            self.frozen[BACKBONE] = _frozen(value, path)
            return self.frozen[BACKBONE].values
        if key.schema == "models":
            return self._members(path, value)
        schema = SCHEMAS[key.schema] if isinstance(key.schema, str) else key.schema
        return checked_schema(path, value, schema)

    def _members(self, path: str, given: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping) or len(given) < 2:
            raise PaddockError(f"{path} must name two models or more, as in +{path}.ease=ease")
        members = {
            str(name): _frozen(each, f"{path}.{name}", staged=True) for name, each in given.items()
        }
        self.frozen |= {f"{MEMBER}{name}": each for name, each in members.items()}
        return {name: each.values for name, each in members.items()}


def _frozen(given: Any, path: str, *, staged: bool = False) -> ResolvedModel:
    """A frozen recommender, which could be trained by itself; a member may have stages."""
    several = (MEMBERS,) if staged else (BACKBONE, MEMBERS, STAGES)
    if not isinstance(given, Mapping) or any(given.get(each) for each in several):
        what = "that is no fusion" if staged else "of one stage"
        raise PaddockError(f"{path} must hold the keys of a model {what}, as in {path}=sasrec")
    try:
        return resolve_model(given)
    except PaddockError as error:
        raise PaddockError(str(error).replace("model.", f"{path}.")) from error
