"""The identity of a run, and the command that reproduces it."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.commands.identified import identified
from experiments.config.compose import compose, typed
from experiments.config.experiment import Experiment
from experiments.config.resolve import resolve_model
from experiments.config.schema import Config
from experiments.protocol.shared_data import shared_data
from experiments.runs.identity import (
    WITHOUT_EFFECT,
    command,
    config_hash,
    plain,
    protocol_content,
    spelled,
)
from tests.commands.command_line import CommandLine

CHOICES = {"dataset": "tiny", "protocol": "loo", "model": "bpr"}


def composed(*overrides: str, **choices: str) -> Config:
    chosen = [f"{group}={choice}" for group, choice in {**CHOICES, **choices}.items()]
    return typed(compose([*chosen, *overrides]))


def with_effect(config: Config) -> dict[str, Any]:
    return {key: value for key, value in plain(config).items() if key not in WITHOUT_EFFECT}


def recomposed(config: Config, **choices: str) -> Config:
    """What the reproducing command composes to, read as a shell reads it."""
    python, script, *words = shlex.split(command(config, choices={**CHOICES, **choices}))
    assert (python, script) == ("python", "run.py")
    return typed(compose(words))


ROUND_TRIPS: list[tuple[dict[str, str], list[str]]] = [
    ({}, []),
    ({}, ["seed=7"]),
    ({}, ["model.learning_rate=5e-4"]),
    ({}, ["model.learning_rate=1e-05", "model.weight_decay=1.5e-7"]),
    ({}, ["model.embedding_size=8", "threads=2", "device=cpu"]),
    ({}, ["model.clip_grad_norm={max_norm:5.0,norm_type:2}"]),
    ({}, ["model.train_neg_sample_args.sample_num=2"]),
    ({}, ["dataset.columns.time=null", "dataset.filters.min_rating=3.5"]),
    ({}, ["dataset.name=a-b_c.d", "dataset.prefix='tiny, or so'"]),
    ({}, ["dataset.source='/data/my films/\u00fc'"]),
    ({}, ["dataset.licence='it\\'s \"free\"'"]),
    ({}, ["dataset.text.template='{title} ({year}): {genres}, $5'"]),
    ({}, ["dataset.prefix='5'"]),
    ({}, ["dataset.prefix='-5'"]),
    ({}, ["dataset.prefix='1e3'"]),
    ({}, ["dataset.prefix='true'"]),
    ({}, ["dataset.prefix='NULL'"]),
    ({}, ["dataset.prefix='nan'"]),
    ({}, ["dataset.prefix=''"]),
    ({}, ["dataset.prefix=' padded '"]),
    ({}, ["protocol.metrics=[ndcg,hit]", "protocol.rankings.full.cutoffs=[3,10]"]),
    ({}, ["protocol.rankings.c20.seed=5", "protocol.valid_metric=c20/hit_at_1"]),
    ({}, ["~protocol.rankings.c20"]),
    ({}, ["~model.epochs"]),
    ({"model": "sasrec"}, ["~model.strategy", "model.n_heads=2"]),
    ({"model": "lightgcn"}, ["model.require_pow=false", "model.n_layers=3"]),
    ({"model": "ract"}, ["model.mlp_hidden_size=[64,32]", "model.critic_layers=[]"]),
    ({"model": "ract"}, ["model.stages.critic.epochs=3", "model.stages.actor.anneal_cap=0.5"]),
    ({"model": "ract"}, ["model.stages.finetune.stopping_step=null"]),
    ({"model": "ract"}, ["~model.stages.critic"]),
    ({"model": "ract"}, ["~model.stages"]),
    ({"model": "ract"}, ["model.stages=null"]),
    ({"model": "ract"}, ["model.stages.more={}"]),
    ({"model": "recbole"}, ["model.name=NARM", "model.dropout_probs=[0.25,0.5]"]),
    ({"dataset": "atomic"}, ["dataset.source='/a b/c,d'", "dataset.columns.user='user id'"]),
    ({"dataset": "ml-100k"}, ["mode=leaderboard", "user=3", "k=5", "tracking=off"]),
]


@pytest.mark.parametrize(("choices", "overrides"), ROUND_TRIPS)
def test_command_composes_to_the_same_configuration(
    choices: dict[str, str], overrides: list[str]
) -> None:
    config = composed(*overrides, **choices)
    again = with_effect(recomposed(config, **choices))
    assert again == with_effect(config)
    # 1 == True and 1 == 1.0 in Python, and neither is the same configuration.
    assert repr(again) == repr(with_effect(config)) or overrides == ["~protocol.rankings.c20"]


def test_command_is_short() -> None:
    config = composed("model.learning_rate=1.0e-3", "runs_dir=/elsewhere", "tracking=off")
    assert command(config, choices=CHOICES) == (
        "python run.py dataset=tiny protocol=loo model=bpr seed=1"
    )


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.text(alphabet="\\'\"${}[],:= a1-.\t", max_size=12),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(values)
def test_every_value_survives_the_override_grammar(value: Any) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    (word,) = shlex.split(shlex.join([f"user={spelled(value)}"]))
    parsed = OverridesParser.create().parse_override(word).value()
    read = OmegaConf.to_container(OmegaConf.create({"user": parsed}), resolve=True)
    assert isinstance(read, dict)
    assert repr(read["user"]) == repr(value)


def identity(config: Config, **given: Any) -> str:
    """The hash without the data, which these tests hold fixed."""
    resolved = resolve_model(config.model)
    arguments = {
        "model": resolved.content,
        "sources": resolved.sources,
        "hashes": {"dataset": "d", "split": "s"},
        "protocol": plain(config)["protocol"],
        "device": "cpu",
        "threads": config.threads,
    }
    return config_hash(**{**arguments, **given})


def test_seed_is_not_part_of_the_identity() -> None:
    assert identity(composed("seed=1")) == identity(composed("seed=2"))


def test_key_order_does_not_matter() -> None:
    one = composed("model.epochs=3", "model.learning_rate=0.1")
    other = composed("model.learning_rate=0.1", "model.epochs=3")
    assert identity(one) == identity(other)
    model = resolve_model(one.model).values
    assert identity(one, model=dict(reversed(model.items()))) == identity(one)


@pytest.mark.parametrize(
    ("model", "one", "other"),
    [
        ("bpr", "model.learning_rate=1", "model.learning_rate=1.0"),
        ("bpr", "model.learning_rate=0.001", "model.learning_rate=1e-3"),
        ("bpr", "model.weight_decay=0", "model.weight_decay=0.0"),
        ("bpr", "model.keep=best", "~model.stopping_step"),
        ("bpr", "model.learner=adam", "seed=5"),
        ("ract", "model.stages.critic.learning_rate=1", "model.stages.critic.learning_rate=1.0"),
        ("recbole", "model.dropout_probs=[0,1]", "model.dropout_probs=[0.0,1.0]"),
        ("a_llmrec", "model.backbone.weight_decay=0", "model.backbone.weight_decay=0.0"),
        ("a_llmrec", "model.backbone.weight_decay=0.0", "seed=5"),
        ("a_llmrec", "model.backbone.keep=best", "seed=5"),
        ("a_llmrec", "model.backbone.initializer_range=0.02", "seed=5"),
        ("a_llmrec", "model.llm.dtype=auto", "seed=5"),
        ("a_llmrec", "model.llm.quantisation=null", "~model.llm.steps"),
        ("a_llmrec", "model.text_encoder.pooling=mean", "seed=5"),
        ("a_llmrec", "model.text_encoder.trained=false", "seed=5"),
        ("a_llmrec", "model.gate_interactions=5", "~model.gate_interactions"),
        ("a_llmrec", "model.stages.llm.accumulate=1", "seed=5"),
    ],
)
def test_one_number_has_one_identity(model: str, one: str, other: str) -> None:
    """However it is written, and whether it is said at all where it is the default."""
    named = ["model.name=NARM"] if model == "recbole" else []
    first, second = (composed(*named, override, model=model) for override in (one, other))
    assert identity(first) == identity(second)


def test_a_run_of_stages_is_one_however_their_keys_are_given(tmp_path: Path) -> None:
    """The folder of the run itself, of which `identity` here is a part."""
    places = (f"data_dir={tmp_path}", "device=cpu")
    spelled_out = ("model.stages.actor.weight_decay=0", "model.stages.critic.keep=last")
    paths = []
    for words in ((), spelled_out, ("model.stages.actor.weight_decay=0.1",)):
        config = composed(*places, *words, model="ract")
        experiment = Experiment.of(config, {**CHOICES, "model": "ract"})
        paths.append(identified(experiment, shared_data(config)).path)
    assert paths[0] == paths[1] != paths[2]


def _changed(value: Any) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 0.125
        case str():
            return value + "x"
        case list():
            return [*value, *value[:1]] if value else [1]
        case dict():
            return {**value, "more": 1}
        case None:
            return 1
    raise AssertionError(value)


def _leaves(node: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(node, dict) and node:
        return [leaf for key, inner in node.items() for leaf in _leaves(inner, (*path, key))]
    return [path]


@pytest.mark.parametrize("model", ["bpr", "lightgcn", "sasrec", "ract", "pop"])
def test_every_key_of_a_model_is_part_of_the_identity(model: str) -> None:
    config = composed(model=model)
    resolved = resolve_model(config.model).content
    before = identity(config)
    seen = {before}
    leaves = _leaves(resolved)
    assert len(leaves) > 4
    for *parents, key in leaves:
        altered = _copied(resolved)
        node = altered
        for parent in parents:
            node = node[parent]
        node[key] = _changed(node[key])
        seen.add(identity(config, model=altered))
    assert len(seen) == len(leaves) + 1


def _copied(node: Any) -> Any:
    return {key: _copied(inner) for key, inner in node.items()} if isinstance(node, dict) else node


@pytest.mark.parametrize(
    "changed", [{"threads": 2}, {"device": "cuda"},
                {"hashes": {"dataset": "d", "split": "t"}},
                {"sources": {"strategy recbole": "other"}}],
)  # fmt: skip
def test_everything_else_that_changes_a_number(changed: dict[str, Any]) -> None:
    assert identity(composed(), **changed) != identity(composed())


@pytest.mark.parametrize(
    "override",
    [
        "protocol.valid_metric=c20/hit_at_1",
        "protocol.metrics=[ndcg]",
        "protocol.rankings.full.cutoffs=[1,10,50]",
        "protocol.rankings.c20.candidates=30",
        "protocol.rankings.c20.seed=7",
        "~protocol.rankings.c20",
    ],
)
def test_what_a_protocol_measures_is_part_of_the_identity(override: str) -> None:
    assert identity(composed(override)) != identity(composed())


def test_all_users_scored_is_as_before_there_was_a_choice() -> None:
    assert protocol_content({"name": "loo", "split": "loo", "scored_users": None}) == {
        "split": "loo"
    }
    assert protocol_content({"split": "loo", "scored_users": 9})["scored_users"] == 9


def test_the_name_of_a_protocol_is_not() -> None:
    assert identity(composed("protocol.name=other")) == identity(composed())


REFLECTED = {
    "dataset.filters.min_rating=3": {"dataset", "split"},
    "dataset.filters.min_user_interactions=20": {"dataset", "split"},
    "dataset.filters.min_item_interactions=40": {"dataset", "split"},
    "dataset.columns.time=null": {"dataset", "split"},
    "protocol.rankings.c20.seed=7": {"candidates_c20_valid", "candidates_c20_test"},
    "protocol.rankings.c20.candidates=30": {"candidates_c20_valid", "candidates_c20_test"},
}
"""Override -> hashes that it changes."""


@pytest.mark.parametrize("override", REFLECTED)
def test_data_and_protocol_count_through_their_hashes(override: str, paddock: CommandLine) -> None:
    usual = shared_data(composed(*paddock.places)).hashes
    changed = shared_data(composed(*paddock.places, override)).hashes
    assert {name for name in usual if usual[name] != changed[name]} >= REFLECTED[override]


def test_place_and_name_of_the_data_do_not_count(paddock: CommandLine) -> None:
    usual = shared_data(composed(*paddock.places)).hashes
    elsewhere = shared_data(
        composed(
            *paddock.places,
            "dataset.source=./datasets/../datasets/tiny",
            "dataset.name=other",
            "dataset.licence=none",
        )
    )
    assert elsewhere.hashes == usual
    assert elsewhere.data.name == "other"


def test_a_finished_run_that_lacks_a_metric_is_not_taken_for_the_one_asked(
    paddock: CommandLine,
) -> None:
    few = ("model=pop", "dataset=tiny", "device=cpu", "protocol.rankings.full.cutoffs=[1,10]")
    assert paddock(*few).code == 0
    answer = paddock(*few[:-1], "protocol.rankings.full.cutoffs=[1,10,50]")
    assert answer.code == 0
    assert any("test/full/hit_at_50" in run.result["metrics"] for run in paddock.runs)


def test_every_key_of_the_schema_is_accounted_for() -> None:
    """A key added to the schema must be put on one of the two sides."""
    with_a_part = {"dataset", "protocol", "model", "seed", "device", "threads", "precision"}
    with_a_part.add("warm_start")
    assert set(plain(composed())) == with_a_part | WITHOUT_EFFECT
