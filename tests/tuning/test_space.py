"""Search spaces: what a file says is what is tried, and what a model cannot take is refused."""

from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from experiments.config.compose import compose, typed
from experiments.config.groups import choices
from experiments.config.resolve import resolve_model
from experiments.errors import PaddockError
from experiments.tuning.cli import read
from experiments.tuning.config import TuneConfig
from experiments.tuning.read_space import declared_ranges, read_space
from experiments.tuning.space import Space

SASREC = {"name": "SASRec", "strategy": "windows", "loss": "softmax"}
RATE = {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}


def space_of(search: dict[str, Any], model: dict[str, Any] = SASREC) -> Space:
    """The space of these parameters alone: the ranges that the model's keys declare are left out."""
    resolved = resolve_model(model)
    return read_space(dict.fromkeys(declared_ranges(resolved)) | search, model, resolved)


def drawn(space: Space, *, n: int = 60) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(parameters, model) of random trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    found = []
    for _ in range(n):
        trial = study.ask()
        model = space.suggest(trial)
        found.append((trial.params, model))
    return found


MODELS = [model for model in choices("model") if model != "recbole"]


def test_a_file_in_search_is_of_a_model() -> None:
    assert set(choices("search")) <= set(MODELS)


NEEDED = {
    "biasedmf": ("dataset.columns.rating=rating",),
    "a_llmrec-fusion": ("protocol=loo-c20",),
}


@pytest.mark.parametrize("model", MODELS)
def test_space_of_a_model(model: str) -> None:
    """Its draws are configurations that run.py takes, and its defaults are the model's own."""
    config, space = read([f"model={model}", *NEEDED.get(model, ())])
    usual = resolve_model(config.model)
    assert bool(space.parameters) == (model != "pop")
    first = resolve_model(space.suggest(FixedTrial(space.defaults()), defaults=True))
    assert first.stages == usual.stages
    assert set(space.defaults()) == {
        parameter.name
        for parameter in space.parameters
        if all(usual.values[name] in values for name, values in parameter.when.items())
    }
    for params, tried in drawn(space):
        assert params or model == "pop"
        assert resolve_model(tried).values.keys() == usual.values.keys()


def test_search_is_overridden_on_the_command_line() -> None:
    _, space = read(["model=bpr", "search.learning_rate.high=0.5", "~search.weight_decay"])
    named = {parameter.name: parameter for parameter in space.parameters}
    assert named["learning_rate"].high == 0.5
    assert named["learning_rate"].low == 1e-4
    assert "weight_decay" not in named


def test_parameter_given_whole_replaces_that_of_the_file() -> None:
    whole = "search.learning_rate={type: categorical, choices: [1e-3, 1e-2]}"
    _, space = read(["model=bpr", "search.learning_rate.low=1e-5", whole])
    named = {parameter.name: parameter for parameter in space.parameters}
    assert named["learning_rate"].choices == (1e-3, 1e-2)
    assert named["learning_rate"].low is None
    later = "search.learning_rate.choices=[1e-4]"
    _, space = read(["model=bpr", whole, later, "~search.weight_decay"])
    assert {p.name: p.choices for p in space.parameters if p.kind == "categorical"} == {
        "embedding_size": (32, 64, 128, 256),
        "learning_rate": (1e-4,),
        "train_batch_size": (512, 2048, 8192),
    }


def test_parameters_of_submitit() -> None:
    config, _ = read(["model=bpr", "study.slurm.slurm_partition=cpu", "study.slurm.mem_gb=4"])
    assert config.study.slurm == {"slurm_partition": "cpu", "mem_gb": 4}


def test_any_recbole_model() -> None:
    rate = "search.learning_rate={type: float, low: 1e-4, high: 1e-2, log: true}"
    _, space = read(["model=recbole", "model.name=NARM", rate])
    assert [parameter.name for parameter in space.parameters] == ["learning_rate"]


def test_conditional_parameter() -> None:
    space = space_of(
        {
            "negatives": {"type": "int", "low": 1, "high": 9, "when": {"loss": ["bce", "gbce"]}},
            "loss": {"type": "categorical", "choices": ["softmax", "bce", "gbce"]},
        },
    )
    found = drawn(space)
    assert {params["loss"] for params, _ in found} == {"softmax", "bce", "gbce"}
    for params, model in found:
        assert ("negatives" in params) == (params["loss"] != "softmax")
        assert model["loss"] == params["loss"]


def test_condition_on_a_value_that_is_not_tuned() -> None:
    spec = {"negatives": {"type": "int", "low": 1, "high": 9, "when": {"loss": "bce"}}}
    assert all(not params for params, _ in drawn(space_of(spec), n=3))
    tuned = drawn(space_of(spec, SASREC | {"loss": "bce"}), n=3)
    assert all("negatives" in params for params, _ in tuned)


def test_lists_and_stages() -> None:
    config, space = read(["model=ract"])
    for params, model in drawn(space, n=5):
        assert model["mlp_hidden_size"] in ([300], [600], [1000])
        rate = params["stages.critic.learning_rate"]
        assert model["stages"]["critic"]["learning_rate"] == rate
        assert model["stages"]["critic"]["keep"] == "last"
    assert config.model["mlp_hidden_size"] == [600]  # suggesting changes nothing


def test_steps() -> None:
    space = space_of(
        {"hidden_dropout_prob": {"type": "float", "low": 0.1, "high": 0.5, "step": 0.1}}
    )
    values = {round(model["hidden_dropout_prob"], 6) for _, model in drawn(space)}
    assert values == {0.1, 0.2, 0.3, 0.4, 0.5}


def test_defaults_outside_of_the_space_are_tried_all_the_same() -> None:
    space = space_of({"learning_rate": {"type": "float", "low": 0.5, "high": 0.9}})
    assert space.defaults() == {}
    usual = resolve_model(SASREC)
    assert resolve_model(space.suggest(FixedTrial({}), defaults=True)).values == usual.values


MISTAKES = [
    ({"learning_rat": RATE}, "search.learning_rat: SASRec reads no such key; did you mean search.learning_rate?"),
    ({"learning_rate": {**RATE, "type": "flot"}}, "search.learning_rate.type=flot is unknown: did you mean float?"),
    ({"learning_rate": {**RATE, "hihg": 1.0}}, "search.learning_rate.hihg: .* did you mean high?"),
    ({"learning_rate": {**RATE, "low": 1.0}}, "search.learning_rate.low=1.0 is above .*high=0.01"),
    ({"learning_rate": {**RATE, "low": 0.0}}, "must be above 0"),
    ({"learning_rate": {**RATE, "step": 0.1}}, "cannot stand beside log=true"),
    ({"learning_rate": {"type": "float", "low": 0.1}}, "search.learning_rate.high=None must be a number"),
    ({"learning_rate": 0.1}, "search.learning_rate=0.1 is no parameter"),
    ({"n_layers": {"type": "int", "low": 1.5, "high": 3}}, "search.n_layers.low=1.5 must be an integer"),
    ({"n_layers": {"type": "float", "low": 1.0, "high": 3.0}}, "search.n_layers: model.n_layers=1.0 is a number: give an integer"),
    ({"hidden_dropout_prob": {"type": "float", "low": 0.1, "high": 1.5}}, "search.hidden_dropout_prob: .*below 1"),
    ({"loss": {"type": "categorical", "choices": ["softmax", "gbc"]}}, "search.loss: .*did you mean gbce?"),
    ({"loss": {"type": "categorical", "choices": []}}, "search.loss.choices"),
    ({"negatives": {"type": "int", "low": 1, "high": 9, "when": {"los": "bce"}}}, "search.negatives.when.los: .* did you mean loss?"),
    ({"stages": {"actor": {"learning_rate": RATE}}}, "search.stages.actor.learning_rate: there is no such stage"),
    ({"strategy": {"type": "categorical", "choices": ["windows"]}}, "search.strategy: SASRec reads no such key"),
    ({}, "search is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("search", "message"), MISTAKES)
def test_mistake_in_a_space(search: dict[str, Any], message: str) -> None:
    with pytest.raises(PaddockError, match=message):
        space_of(search)


def test_conditions_that_wait_for_each_other() -> None:
    one = {"type": "int", "low": 1, "high": 2}
    search = {
        "n_layers": {**one, "when": {"n_heads": 1}},
        "n_heads": {**one, "when": {"n_layers": 1}},
    }
    with pytest.raises(PaddockError, match="wait for each other"):
        space_of(search)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["study.n_trial=3"], "study.n_trial: there is no such key; did you mean study.n_trials?"),
        (["study.sampler=tpa"], "study.sampler=tpa is unknown: did you mean tpe?"),
        (["study.pruner=mean"], "study.pruner=mean is unknown: did you mean median?"),
        (["study.n_trials=0"], "study.n_trials=0 must be at least 1"),
        (["study.n_trials=null"], "needs study.timeout"),
        (["study.n_trials=many"], "study.n_trials=many"),
        (["study.storage=mysql://x"], "study.storage=mysql"),
        (["study.storage=sqlite://x.db"], "study.storage=sqlite://x.db: a SQLite file is written"),
        (["study.storage=postgresql://h:port/x"], "study.storage=postgresql://h:port/x: Port"),
        (["study.launcher=slurm"], "study.launcher=slurm needs study.storage=postgresql"),
        (["search=itemkn"], "search=itemkn: there is no such file; did you mean itemknn?"),
        (["search.learning_rat.low=0.1"], "did you mean search.learning_rate?"),
        (["model.learning_rat=0.1"], "did you mean model.learning_rate?"),
        (["+tuned=auto"], r"\+tuned=auto is of run.py"),
        (["mode=leaderboard"], "mode=leaderboard is one of run.py"),
    ],
)
def test_mistake_in_a_command(overrides: list[str], message: str) -> None:
    with pytest.raises(PaddockError, match=message):
        read(overrides)


def test_a_declared_range_is_changed_and_left_out_on_the_command_line() -> None:
    _, space = read(["model=sasrec", "search.learning_rate.high=0.5", "~search.negatives"])
    named = {parameter.name: parameter for parameter in space.parameters}
    assert (named["learning_rate"].low, named["learning_rate"].high) == (2e-4, 0.5)
    assert "negatives" not in named
    assert "calibration" in named


def test_a_key_of_a_stage_that_is_not_trained_has_no_range() -> None:
    _, alone = read(["model=a_llmrec_align"])
    _, whole = read(["model=a_llmrec"])
    assert "history_items" not in {parameter.name for parameter in alone.parameters}
    assert "history_items" in {parameter.name for parameter in whole.parameters}


def test_the_launch_command_of_a_file_composes() -> None:
    for model in choices("search"):
        config = typed(
            compose([f"model={model}", f"search={model}"], name="tune", schema=TuneConfig),
            schema=TuneConfig,
        )
        assert config.search == read([f"model={model}"])[0].search
