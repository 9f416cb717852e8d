"""A mistake on the command line is refused in one sentence, before anything is read or trained."""

import os
import re
from pathlib import Path

import pytest

from tests.commands.command_line import Answer, CommandLine

TWO_EACH = "user_id:token\titem_id:token\ttimestamp:float\n" + "".join(
    f"u{user}\ti{item}\t{item}\n" for user in range(30) for item in (user % 7, 7 + user % 5)
)


def refused(answer: Answer, *told: str) -> None:
    """Exit code 2 and one line that holds everything in `told`."""
    assert answer.code == 2, answer
    lines = answer.err.splitlines()
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("error: ")
    for part in told:
        assert part in lines[0], f"{part!r} is not in {lines[0]!r}"
    assert answer.out == ""


@pytest.fixture
def idle(paddock: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line where nothing may get as far as training or recommending."""

    def reached(*_: object, **__: object) -> None:
        pytest.fail("the command was not refused")

    monkeypatch.setattr("experiments.commands.run._run", reached)
    monkeypatch.setattr("experiments.commands.run._recommend", reached)
    return paddock


UNKNOWN = {
    "dataset=ml-100": ("dataset=ml-100", "did you mean ml-100k?"),
    "model=sasrek": ("model=sasrek", "did you mean sasrec?"),
    "protocol=looo": ("protocol=looo", "did you mean loo?"),
    "tracking=remote": ("tracking=remote", "local, off, server"),
    "text_control=shufled": ("text_control=shufled", "text_control=shufled is unknown"),
    "experiment=quickstrat": ("experiment=quickstrat", "did you mean quickstart?"),
    "hydra/launcher=jobli": ("hydra/launcher=jobli", "did you mean joblib?"),
    "model=": ("model=", "names no file"),
    "model=null": ("model=null", "names no file"),
    "dataset=[tiny,ml-100k]": ("dataset=[tiny,ml-100k]", "names no file"),
    "sed=3": ("sed:", "did you mean seed?"),
    "nothing=3": ("nothing:", " others"),
    "epochs=3": ("epochs:", "did you mean model.epochs?"),
    "min_rating=3": ("min_rating:", "did you mean dataset.filters.min_rating?"),
    "+foo=1": ("foo:", "no such key"),
    "++foo=1": ("foo:", "no such key"),
    "datset.name=x": ("datset.name:", "did you mean dataset.name?"),
    "dataset.sauce=x": ("dataset.sauce:", "did you mean dataset.source?"),
    "dataset.min_rating=4": ("dataset.min_rating:", "did you mean dataset.filters.min_rating?"),
    "dataset.filters.foo=1": ("dataset.filters.foo:", "dataset.filters holds", "min_rating"),
    "dataset.columns.usr=a": ("dataset.columns.usr:", "did you mean dataset.columns.user?"),
    "+dataset.columns.usr=a": ("dataset.columns.usr:", "did you mean dataset.columns.user?"),
    "protocol.metric=[hit]": ("protocol.metric:", "did you mean protocol.metrics?"),
    "protocol.rankings.c20.cutoff=[1]": (
        "protocol.rankings.c20.cutoff:",
        "did you mean protocol.rankings.c20.cutoffs?",
    ),
    "protocol.rankings.c50.candidates=50": ("protocol.rankings.c50", "no such ranking"),
    "+protocol.rankings.c50.candidates=50": ("protocol.rankings.c50", "no such ranking"),
    "tracking.url=x": ("tracking.url:", "did you mean tracking.uri?"),
    "hydra.launcher.n_jobs=2": ("hydra.launcher.n_jobs:", "hydra/launcher=joblib"),
    "hydra.foo=2": ("hydra.foo:", "no such key"),
    "user.a=3": ("user.a:", "no such key"),
    "~nothing": ("nothing",),
}
"""Override -> parts of the sentence."""


@pytest.mark.parametrize("override", UNKNOWN)
def test_unknown_names(override: str, idle: CommandLine) -> None:
    refused(idle("dataset=tiny", override) if "dataset=" not in override else idle(override),
            *UNKNOWN[override])  # fmt: skip


HYPERPARAMETERS = {
    ("bpr", "model.learning_rat=0.1"): ("model.learning_rat:", "did you mean model.learning_rate?"),
    ("bpr", "+model.learning_rat=0.1"): ("model.learning_rat:", "model.learning_rate?"),
    ("bpr", "model.n_heads=2"): ("model.n_heads:", "BPR reads no such key"),
    ("pop", "model.epochs=2"): ("model.epochs:", "Pop reads no such key"),
    ("sasrec", "model.reg_weight=0.1"): ("model.reg_weight:", "SASRec reads no such key"),
    ("bpr", "model.a.b=1"): ("model.a:", "BPR reads no such key"),
    ("ract", "model.stages.critic.foo=1"): ("model.stages.critic.foo:", "RaCT reads no such key"),
    ("ract", "model.stages.critic.epoch=1"): ("did you mean model.stages.critic.epochs?",),
    ("ract", "model.stages.critik.epochs=3"): ("model.stages.critik:", "did you mean critic?"),
    ("ract", "model.stages.critic.name=BPR"): ("model.stages.critic.name",),
    ("ract", "model.stages=3"): ("model.stages=3",),
    ("ract", "model.stages.critic=3"): ("model.stages.critic=3",),
    ("ract", "model.stages={}"): None,
    ("recbole", "model.name=NARN"): ("model.name=NARN", "did you mean NARM?"),
    ("sasrec", "model.loss=sofmax"): ("model.loss=sofmax", "did you mean softmax?"),
    ("sasrec", "model.negatives=0"): ("model.negatives=0", "at least 1"),
    ("sasrec", "model.calibration=2"): ("model.calibration=2", "at most 1"),
    ("recbole", "model.name=RaCT"): ("model.stages is missing", "use model=ract"),
    ("recbole", "model.name=3"): ("model.name=3", " others"),
    ("recbole", "dataset=tiny"): ("model.name is missing", "model.name=..."),
    ("bpr", "model.strategy=window"): ("model.strategy=window", "did you mean windows?"),
    ("bpr", "model.strategy=windows"): ("model.strategy=windows", "BPR has none"),
    ("bpr", "precision=bfloat16"): ("precision=bfloat16", "strategy pairs", "precision=auto"),
    ("sasrec", "precision=float16"): ("precision=float16", "did you mean bfloat16?"),
    ("sasrec", "model.strategy=pairs"): ("model.strategy=pairs", "SASRec does not"),
    ("multivae", "model.strategy=pairs"): ("model.strategy=pairs", "MultiVAE does not"),
    ("bpr", "model.strategy=rows"): ("model.strategy=rows", "BPR is none"),
    ("sasrec", "model.strategy=masked"): ("model.strategy=masked", "SASRec does not"),
    ("bert4rec", "model.strategy=windows"): ("model.strategy=windows", "BERT4Rec has none"),
    ("bert4rec", "model.loss_type=BPR"): ("model.loss_type=BPR", "strategy masked"),
    ("bpr", "model.ft_ratio=0.5"): ("model.ft_ratio:", "BPR reads no such key"),
    ("bert4rec", "model.mask_ratio=1.5"): ("model.mask_ratio=1.5", "at most 1"),
    ("bert4rec", "model.ft_ratio=-0.1"): ("model.ft_ratio=-0.1", "at least 0"),
    ("sasrec", "model.loss_type=BPR"): ("model.loss_type=BPR", "loss_type=CE"),
    ("sasrec", "model.loss_type=XE"): ("model.loss_type=XE", "CE"),
    ("sasrec", "model.n_heads=5"): ("model.hidden_size=64", "n_heads=5"),
    ("bpr", "model.learner=adamm"): ("model.learner=adamm", "did you mean adam?"),
    ("bpr", "model.keep=first"): ("model.keep=first", "best, last"),
}
"""(model, override) -> parts of the sentence; None where the command is right."""


@pytest.mark.parametrize(
    ("model", "override"), [key for key, told in HYPERPARAMETERS.items() if told]
)
def test_hyperparameters(model: str, override: str, idle: CommandLine) -> None:
    told = HYPERPARAMETERS[model, override]
    assert told is not None
    refused(idle(f"model={model}", override), *told)


TYPES = {
    ("bpr", "seed=one"): ("seed=one",),
    ("bpr", "seed=1.5"): ("seed=1.5",),
    ("bpr", "seed=null"): ("seed=null",),
    ("bpr", "threads=two"): ("threads=two",),
    ("bpr", "force=maybe"): ("force=maybe",),
    ("bpr", "mode=rum"): ("mode=rum", "recommend"),
    ("bpr", "format=xml"): ("format=xml", "json"),
    ("bpr", "k=ten"): ("k=ten",),
    ("bpr", "device=gpu"): ("device=gpu", "cuda"),
    ("bpr", "checkpoint_seconds=soon"): ("checkpoint_seconds=soon",),
    ("bpr", "dataset.filters.min_rating=good"): ("dataset.filters.min_rating=good",),
    ("bpr", "dataset.columns=3"): ("dataset.columns=3",),
    ("bpr", "protocol.rankings.full.cutoffs=5"): ("protocol.rankings.full.cutoffs=5", "list"),
    ("bpr", "protocol.rankings.full.cutoffs=[a]"): ("protocol.rankings.full.cutoffs=[a]",),
    ("bpr", "protocol.metrics=hit"): ("protocol.metrics=hit", "list"),
    ("bpr", "model.epochs=2.5"): ("model.epochs=2.5", "integer"),
    ("bpr", "model.epochs=true"): ("model.epochs=true", "integer"),
    ("bpr", "model.learning_rate=fast"): ("model.learning_rate=fast", "number"),
    ("bpr", "model.learning_rate='1e-3'"): ("model.learning_rate=1e-3", "number"),
    ("bpr", "model.learning_rate=null"): ("model.learning_rate=null", "number"),
    ("bpr", "model.learning_rate=nan"): ("model.learning_rate=nan", "finite"),
    ("bpr", "model.weight_decay=inf"): ("model.weight_decay=inf", "finite"),
    ("sasrec", "model.hidden_dropout_prob=half"): ("model.hidden_dropout_prob=half",),
    ("ract", "model.mlp_hidden_size=600"): ("model.mlp_hidden_size=600", "list"),
    ("ract", "model.mlp_hidden_size=[wide]"): ("model.mlp_hidden_size[0]=wide", "integer"),
    ("lightgcn", "model.require_pow=1"): ("model.require_pow=1", "truth value"),
    ("sasrec", "model.hidden_act=3"): ("model.hidden_act=3", "word"),
}
"""(model, override) -> parts of the sentence."""


@pytest.mark.parametrize(("model", "override"), TYPES)
def test_wrong_types(model: str, override: str, idle: CommandLine) -> None:
    refused(idle(f"model={model}", override), *TYPES[model, override])


VALUES = {
    ("bpr", "seed=-1"): ("seed=-1", "at least 0"),
    ("bpr", "seed=4294967296"): ("seed=4294967296", "at most"),
    ("bpr", "k=0"): ("k=0", "at least 1"),
    ("bpr", "threads=0"): ("threads=0", "at least 1"),
    ("bpr", "checkpoint_seconds=-1"): ("checkpoint_seconds=-1",),
    ("bpr", "dataset.filters.min_user_interactions=-1"): ("min_user_interactions=-1",),
    ("bpr", "model.epochs=0"): ("model.epochs=0", "at least 1"),
    ("bpr", "model.learning_rate=0"): ("model.learning_rate=0 ", "above 0"),
    ("bpr", "model.embedding_size=0"): ("model.embedding_size=0", "at least 1"),
    ("sasrec", "model.hidden_dropout_prob=1"): ("model.hidden_dropout_prob=1 ", "below 1"),
    ("sasrec", "model.hidden_dropout_prob=-0.1"): ("model.hidden_dropout_prob=-0.1",),
    ("sasrec", "model.n_heads=0"): ("model.n_heads=0",),
    ("ract", "model.mlp_hidden_size=[0]"): ("model.mlp_hidden_size", "at least 1"),
    ("ract", "model.stages.critic.epochs=0"): ("model.stages.critic.epochs=0", "at least 1"),
    ("bpr", "protocol.rankings.c20.cutoffs=[1,50]"): (
        "protocol.rankings.c20.cutoffs",
        "50",
        "20 candidates",
    ),
    ("bpr", "protocol.scored_users=0"): ("protocol.scored_users=0", "at least 1"),
    ("bpr", "protocol.rankings.c20.candidates=5"): ("protocol.rankings.c20.cutoffs", "5"),
    ("bpr", "protocol.rankings.c20.candidates=1"): ("protocol.rankings.c20.candidates=1",),
    ("bpr", "protocol.rankings.full.cutoffs=[]"): ("protocol.rankings.full.cutoffs", "empty"),
    ("bpr", "protocol.rankings.full.cutoffs=[0]"): ("protocol.rankings.full.cutoffs=0",),
    ("bpr", "protocol.rankings.full.cutoffs=[1,10,10]"): ("full.cutoffs holds 10 2 times",),
    ("bpr", "protocol.metrics=[hit,ndcg,hit]"): ("protocol.metrics holds hit 2 times",),
    ("bpr", "protocol.beyond=[gini,gini]"): ("protocol.beyond holds gini 2 times",),
    ("bpr", "threads=-1"): ("threads=-1", "at least 1"),
    ("bpr", "tracking.uri=''"): ("tracking.uri=", "tracking=off"),
    ("bpr", "tracking.uri=foo://x"): ("tracking.uri=foo://x", "begins with none of"),
    ("bpr", "tracking.uri=sqlite://x.db"): ("tracking.uri=sqlite://x.db", "sqlite:///FILE"),
    ("bpr", "tracking.uri=http://"): ("tracking.uri=http://", "names no host"),
    ("bpr", "tracking.uri=http://localhost:99999"): ("tracking.uri=http://localhost:99999", "ort"),
    ("bpr", "tracking.uri='http://[::1'"): ("tracking.uri=http://[::1", "IPv6"),
    ("bpr", "tracking.uri='http://a b'"): ("tracking.uri=http://a b", "names no host"),
    ("bpr", "dataset.source=http://"): ("dataset.source=http://", "names no host"),
    ("bpr", "dataset.source=http://h:port/x.zip"): ("dataset.source=http://h:port/x.zip", "ort"),
    ("bpr", "dataset.source=ftp://h/x.zip"): ("dataset.source=ftp://h/x.zip", "https://"),
    ("bpr", "protocol.metrics=[]"): ("protocol.metrics", "empty"),
    ("bpr", "protocol.metrics=[hit,ndgc]"): ("protocol.metrics", "did you mean ndcg?"),
    ("bpr", "protocol.valid_metric=full/ndcg_at_7"): ("protocol.valid_metric=full/ndcg_at_7",),
    ("bpr", "protocol.valid_metric=ndcg@10"): ("protocol.valid_metric=ndcg@10", "/ndcg_at_10?"),
    ("bpr", "~protocol.rankings.full"): ("protocol.valid_metric=full/ndcg_at_10",),
    ("bpr", "protocol.split=lo"): ("protocol.split=lo", "did you mean loo?"),
    ("bpr", "protocol.name=a/b"): ("protocol.name=a/b",),
    ("bpr", "protocol.name=.."): ("protocol.name=..",),
}
"""(model, override) -> parts of the sentence."""


@pytest.mark.parametrize(("model", "override"), VALUES)
def test_impossible_values(model: str, override: str, idle: CommandLine) -> None:
    refused(idle(f"model={model}", override), *VALUES[model, override])


WHOLE_COMMANDS = {
    "a source is missing": (["dataset=atomic"], "dataset.source"),
    "nobody to recommend to": (["mode=recommend"], "user=ID"),
    "no server": (["tracking=server"], "MLFLOW_TRACKING_URI"),
    "no key": (["=3"], "=3"),
    "no value": (["model"], "model"),
    "a bracket too few": (["mode=recommend", "user=[u1"], "user=[u1"),
    "a grid without -m": (["model=bpr,pop"], "-m"),
    "seeds without -m": (["seed=1,2"], "-m"),
    "an interpolation that leads nowhere": (["dataset.name=${foo}"], "foo"),
}


@pytest.mark.parametrize("what", WHOLE_COMMANDS)
def test_whole_commands(what: str, idle: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words, told = WHOLE_COMMANDS[what]
    refused(idle(*words), told)


GRIDS = {
    "a hyper-parameter that one model lacks": (
        ["-m", "model=bpr,pop", "model.epochs=2"],
        "model.epochs: Pop reads no such key",
    ),
    "an unknown model at the end": (["-m", "model=pop,sasrek"], "did you mean sasrec?"),
    "an impossible seed at the end": (["-m", "seed=1,2,-1"], "seed=-1"),
    "a seed that is none": (["-m", "seed=1,two"], "seed=two"),
    "seeds of no model": (
        ["-m", "grid_seeds={bp:[1]}"],
        "grid_seeds.bp: no such model; did you mean bpr?",
    ),
    "a negative seed of a model": (["-m", "grid_seeds.bpr=[-1]"], "grid_seeds.bpr=-1"),
    "seeds that are none": (["-m", "grid_seeds.bpr=[a]"], "grid_seeds.bpr=[a]"),
    "an unknown key": (["-m", "sed=1,2"], "did you mean seed?"),
    "an option between overrides": (["seed=1,2", "-m", "sed=1,2"], "did you mean seed?"),
    "no server": (["-m", "tracking=server", "seed=1,2"], "MLFLOW_TRACKING_URI"),
    "a quickstart with a misspelt key": (["experiment=quickstart", "sed=1"], "did you mean seed?"),
    "a quickstart with a key that not all models read": (
        ["experiment=quickstart", "model.epochs=2"],
        "model.epochs: LinearText reads no such key",
    ),
    "a quickstart on nothing": (["experiment=quickstart", "dataset=tinny"], "did you mean tiny?"),
}


@pytest.mark.parametrize("what", GRIDS)
def test_one_bad_combination_refuses_the_whole_grid(
    what: str, idle: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words, told = GRIDS[what]
    refused(idle(*words), told)
    assert not idle.runs_dir.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("model=sasrek",),
        ("dataset=tiny", "model.learning_rat=0.1"),
        ("dataset=tiny", "seed=one"),
        ("dataset=tiny", "model=sasrec", "model.hidden_size=65", "model.n_heads=2"),
        ("dataset=tiny", "-m", "model=bpr,pop", "model.epochs=2"),
        ("experiment=quickstart", "hydra/launcher=joblib", "dataset=tiny", "seed=-1"),
    ],
)
def test_from_a_shell(words: tuple[str, ...], paddock: CommandLine) -> None:
    refused(paddock.process(*words))
    assert paddock.complete == []


def test_messages_never_list_more_than_ten_choices(idle: CommandLine) -> None:
    for words in (["model.n_heads=2"], ["nothing=1"], ["model=recbole", "model.name=QQ"]):
        answer = idle(*words)
        refused(answer)
        assert answer.err.count(", ") <= 10
        assert re.search(r"and \d+ others", answer.err)


def _folder(tmp_path: Path, content: str) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "pairs.inter").write_text(content)
    return folder


def test_a_split_without_test_users(paddock: CommandLine, tmp_path: Path) -> None:
    source = _folder(tmp_path, TWO_EACH)
    answer = paddock("model=pop", "dataset=atomic", f"dataset.source={source}")
    refused(answer, "protocol.split", "no user in", "test")
    assert paddock.runs == []


def test_a_source_that_is_not_there(paddock: CommandLine, tmp_path: Path) -> None:
    answer = paddock("model=pop", "dataset=atomic", f"dataset.source={tmp_path / 'nowhere'}")
    refused(answer, "dataset.source", str(tmp_path / "nowhere"))
    assert paddock.complete == []


def test_a_source_without_interactions(paddock: CommandLine, tmp_path: Path) -> None:
    source = _folder(tmp_path, "user_id:token\titem_id:token\ttimestamp:float\n")
    answer = paddock("model=pop", "dataset=atomic", f"dataset.source={source}")
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert paddock.complete == []


def test_a_grid_without_processes(paddock: CommandLine) -> None:
    answer = paddock(
        "-m", "model=pop", "dataset=tiny", "seed=1,2", "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=0",
    )  # fmt: skip
    refused(answer, "hydra.launcher.n_jobs=0", "starts no process")
    assert paddock.complete == []


def test_a_failing_run_of_a_grid_is_named_and_stops_no_other(paddock: CommandLine) -> None:
    answer = paddock(
        "-m", "model=bpr", "dataset=tiny", "device=cpu", "model.epochs=2", "seed=1",
        "model.learning_rate=1e30,0.01",
    )  # fmt: skip
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith("error: ")
    assert "model.learning_rate=1e+30" in answer.err or "model.learning_rate=1e30" in answer.err
    assert [
        run.run["config"]["model"]["learning_rate"] for run in paddock.runs if run.finished
    ] == [0.01]


def test_the_environment_is_left_as_it_was(paddock: CommandLine) -> None:
    before = dict(os.environ)
    paddock("--cfg", "job", "dataset=tiny")
    changed = {key for key in {*before, *os.environ} if before.get(key) != os.environ.get(key)}
    assert changed <= {"HYDRA_FULL_ERROR", "HYDRA_MAIN_MODULE", "PYTEST_CURRENT_TEST"}
