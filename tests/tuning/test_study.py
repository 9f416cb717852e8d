"""What a study does with its trials: the objective, pruning, failures, the budget, the winner."""

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from experiments.runs.folder import find_runs
from tests import fork_server

from .tuner import ROOT, SMALL, Tuner, counted

TUNED = ["model=bpr", "dataset=tiny", "model.epochs=12", "device=cpu", "progress=false"]


def test_winner_is_what_run_py_trains(tuner: Tuner, tmp_path: Path) -> None:
    """The best valid value is the run's own, and the tuned file composes to that run."""
    fewer = "dataset.filters.min_user_interactions=4"
    tuner(*SMALL, fewer, "study.n_trials=4", "study.final_seeds=2")
    best = max(counted(tuner.trials), key=lambda trial: trial.value or 0.0)
    runs = find_runs(tmp_path / "runs", finished=True)
    assert sorted(run.run["seed"] for run in runs) == [1, 2]
    (first,) = (run for run in runs if run.run["seed"] == 1)
    assert first.result["metrics"]["valid/full/ndcg_at_10"] == best.value
    assert first.run["tags"]["paddock.study"] == tuner.study.study_name
    assert first.run["tags"]["paddock.trial"] == str(best.number)
    path = tmp_path / "conf/tuned/tiny/loo/bpr.yaml"
    written = OmegaConf.load(path)
    assert written.tuned.value == best.value
    assert written.tuned.n_trials == 4
    assert written.tuned.command.startswith("python tune.py model=bpr dataset=tiny")
    assert str(tmp_path) not in written.tuned.command
    assert written.tuned.data_hash == first.run["hashes"]["dataset"]
    for name, value in best.params.items():
        assert written.model[name] == value
    # The same run again, by the file's own command: finished before, as it has the same identity.
    command = path.read_text().splitlines()[1].removeprefix("# python run.py ").split()
    assert {"model=bpr", "dataset=tiny", fewer, "+tuned=auto"} <= set(command)
    said = fork_server.run(
        [
            *(sys.executable, "run.py", *command, "device=cpu"),
            *("tracking=off", f"runs_dir={tmp_path}/runs", f"data_dir={tuner.data_dir}"),
            f"hydra.searchpath=[file://{tmp_path}/conf]",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "bpr seed 1: finished before, reused" in said


def test_first_trial_is_the_models_own(tuner: Tuner, tmp_path: Path) -> None:
    tuner(*SMALL, "study.n_trials=1", "study.final_seeds=1")
    (trial,) = tuner.trials
    # Optuna's own tools say what is maximized.
    assert tuner.study.metric_names == ["valid full NDCG@10"]
    assert tuner.study.user_attrs["objective"] == "valid full NDCG@10"
    assert trial.params == {"learning_rate": 1e-3, "weight_decay": 0.0, "train_batch_size": 2048}
    (run,) = find_runs(tmp_path / "runs", finished=True)
    assert trial.value == run.result["metrics"]["valid/full/ndcg_at_10"]
    assert (
        json.loads((run.path / "run.json").read_text())["config"]["model"]["learning_rate"] == 1e-3
    )


def test_a_better_winner_of_the_same_question_stays(tuner: Tuner, tmp_path: Path) -> None:
    words = (*SMALL, "study.n_trials=1", "study.final_seeds=0")
    tuner(*words)
    path = tmp_path / "conf/tuned/tiny/loo/bpr.yaml"
    written = OmegaConf.load(path)
    for changed, stays in (
        ({"value": 0.9}, True),
        ({"value": 0.0}, False),
        ({"value": float("nan")}, False),
        ({"value": 0.9, "data_hash": "other"}, False),
        ({"value": 0.9, "metric": "full/hit_at_10"}, False),
        ({"value": 0.9, "question_hash": "other"}, False),
    ):
        tuned = {**written.tuned, "study": "another", **changed}
        OmegaConf.save(OmegaConf.create({"model": {}, "tuned": tuned}), path)
        before = path.read_text()
        said = tuner(*words)
        assert (path.read_text() == before) is stays, changed
        assert ("keeps the better 0.9000 of another" in said) is stays, changed
        if not stays:
            assert OmegaConf.load(path).tuned == written.tuned


def test_median_pruning(tuner: Tuner) -> None:
    """Each trial ends where the rule of the median says, computed here from all curves anew."""
    startup, warmup = 2, 3
    tuner(
        *TUNED,
        *("study.n_trials=12", "study.sampler=random", "study.final_seeds=0"),
        *(f"study.startup_trials={startup}", f"study.warmup_epochs={warmup}"),
    )
    trials = tuner.trials
    assert trials[0].state is TrialState.COMPLETE
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials[1:]:
        assert trial.last_step == _pruned_at(trial, trials[: trial.number], startup, warmup)
        assert (trial.state is TrialState.PRUNED) == (
            trial.user_attrs.get("stopped_by") == "pruner"
        )


def _pruned_at(trial: FrozenTrial, before: list[FrozenTrial], startup: int, warmup: int) -> int:
    """The epoch at which the median of the complete trials before is above the best so far."""
    complete = [other for other in before if other.state is TrialState.COMPLETE]
    steps = sorted(trial.intermediate_values)
    for step in steps:
        values = [o.intermediate_values[step] for o in complete if step in o.intermediate_values]
        best = max(trial.intermediate_values[s] for s in steps if s <= step)
        if (
            len(complete) >= startup
            and step > warmup
            and values
            and best < statistics.median(values)
        ):
            return step
    return steps[-1]


COUNT = """
from pathlib import Path

from paddock import Callback


class Count(Callback):
    def _note(self, word):
        with Path(__file__).with_name("trained").open("a") as counted:
            counted.write(word + "\\n")

    def on_stage(self, stage, epochs):
        self._note("begin")

    def on_batch(self, done, total):
        if done == total:
            self._note("epoch")
"""


def test_successive_halving_trains_nothing_twice(tuner: Tuner, tmp_path: Path) -> None:
    """A trial that is promoted goes on where it is: what was trained is counted beside the study."""
    plugin = tmp_path / "counting"
    plugin.mkdir()
    (plugin / "count.py").write_text(COUNT)
    tuner(
        *TUNED,
        *("study.pruner=halving", "study.warmup_epochs=1", "study.n_trials=12"),
        *("study.sampler=random", "study.final_seeds=0", "model.stopping_step=0"),
        f"plugins=[{plugin}]",
    )
    trials = tuner.trials
    trained = (plugin / "trained").read_text().split()
    assert len(trials) == 12
    assert trained.count("begin") == 12
    assert trained.count("epoch") == sum(len(trial.intermediate_values) for trial in trials)
    for trial in trials:
        assert sorted(trial.intermediate_values) == [*range(1, (trial.last_step or 0) + 1)]
        assert trial.last_step == (12 if trial.number == 0 else _halved_at(trial, trials))
    assert {trial.last_step for trial in trials} > {1, 12}


def _halved_at(trial: FrozenTrial, trials: list[FrozenTrial]) -> int:
    """The rung at which a trial is below the best third of those that came there before it."""
    for rung in (1, 3, 9):
        value = trial.intermediate_values[rung]
        there = [
            other.intermediate_values[rung]
            for other in trials[: trial.number + 1]
            if rung in other.intermediate_values
        ]
        if value < sorted(there, reverse=True)[max(len(there) // 3, 1) - 1]:
            return rung
    return 12


def test_equal_failures_stop_the_study(tuner: Tuner) -> None:
    overrides = [
        *(*SMALL, "study.n_trials=20", "~search.train_batch_size", "model.train_batch_size=512"),
        "search.learning_rate={type: float, low: 1e20, high: 1e30, log: true}",
    ]
    said = tuner(*overrides, code=2)
    first, *others = tuner.trials
    assert first.state is TrialState.COMPLETE  # the defaults
    assert [trial.state for trial in others] == [TrialState.FAIL] * 5
    assert {trial.user_attrs["reason"][:40] for trial in others} == {
        "the training loss of BPR is nan in epoch"
    }
    assert "the last trials all failed: the training loss of BPR is nan" in said
    # Who starts it again may have removed the cause: five more are tried.
    tuner(*overrides, code=2)
    assert len(tuner.trials) == 11


def test_failures_among_others_do_not_stop_it(tuner: Tuner) -> None:
    mixed = "search.learning_rate={type: categorical, choices: [1e-3, 1e-2, 1e30]}"
    tuner(*SMALL, "study.n_trials=10", mixed)
    states = [trial.state for trial in tuner.trials]
    assert len(states) == 10
    assert {TrialState.COMPLETE, TrialState.FAIL} == set(states)
    for trial in tuner.trials:
        assert (trial.state is TrialState.FAIL) == (trial.params["learning_rate"] == 1e30)


def test_grid_tries_every_combination_once(tuner: Tuner) -> None:
    tuner(
        *SMALL,
        *("study.sampler=grid", "study.n_trials=100", "~search.train_batch_size"),
        "search.learning_rate={type: categorical, choices: [1e-3, 1e-2]}",
        "search.weight_decay={type: categorical, choices: [0.0, 1e-4, 1e-2]}",
    )
    tried = [
        (trial.params["learning_rate"], trial.params["weight_decay"]) for trial in tuner.trials
    ]
    assert sorted(tried) == [(rate, decay) for rate in (1e-3, 1e-2) for decay in (0.0, 1e-4, 1e-2)]


def test_seconds_as_budget(tuner: Tuner) -> None:
    """Every study gets its first trial whole; the one that runs when time is up ends there."""
    tuner(*SMALL, "study.n_trials=null", "study.timeout=0.001", "study.pruner=median")
    (trial,) = tuner.trials
    assert trial.state is TrialState.COMPLETE
    # In units of the first trial, whose seconds are those of the machine.
    assert trial.duration is not None
    budget = 3 * trial.duration.total_seconds()
    asked = (*SMALL, "study.n_trials=null", f"study.timeout={budget}", "study.pruner=median")
    tuner(*asked)
    trials = tuner.trials
    assert len(trials) > 1
    spent = sum(trial.duration.total_seconds() for trial in trials if trial.duration)
    assert spent - (trials[-1].duration.total_seconds() if trials[-1].duration else 0.0) < budget
    tuner(*asked)
    assert len(tuner.trials) == len(trials)


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    [("gp", "hyperband"), pytest.param("tpe", "hyperband", marks=pytest.mark.slow)],
)
def test_samplers_and_pruners_by_name(tuner: Tuner, sampler: str, pruner: str) -> None:
    tuner(
        *TUNED,
        f"study.sampler={sampler}",
        f"study.pruner={pruner}",
        "study.n_trials=13",
        "study.final_seeds=0",
    )
    assert len(counted(tuner.trials)) == 13
    assert any(trial.state is TrialState.PRUNED for trial in tuner.trials)


def test_one_study_for_each_model(tuner: Tuner, tmp_path: Path) -> None:
    overrides = [
        "model=pop,ease",
        "dataset=tiny",
        "study.n_trials=2",
        "study.final_seeds=1",
        "device=cpu",
    ]
    tuner("-m", *overrides, "search.reg_weight.low=1", code=2)
    assert "search.reg_weight" in tuner.said  # Pop reads no such key: nothing was begun
    assert not (tmp_path / "runs" / "studies.db").exists()
    tuner("-m", *overrides[:2], "study.n_trials=1", *overrides[3:])
    assert {run.run["model"] for run in find_runs(tmp_path / "runs", finished=True)} == {
        "Pop",
        "EASE",
    }
    assert {path.stem for path in (tmp_path / "conf/tuned/tiny/loo").glob("*.yaml")} == {
        "pop",
        "ease",
    }


@pytest.mark.slow
def test_stage_that_another_study_has_trained(
    tuner_in: Callable[[Path], Tuner], tmp_path: Path
) -> None:
    """Its value is found by validating it again, and its backbone's values are none of the trial's."""
    overrides = [
        *("model=a_llmrec_align", "dataset=tiny", "device=cpu", "progress=false"),
        *("model.backbone.epochs=2", "model.epochs=2", "model.eval_step=1"),
        *("study.n_trials=1", "study.final_seeds=1"),
    ]
    first, second = tuner_in(tmp_path / "first"), tuner_in(tmp_path / "second")
    for tuner in (first, second):
        tuner.folder.mkdir()
        tuner(*overrides)
    (trained,), (loaded,) = first.trials, second.trials
    assert sorted(trained.intermediate_values) == [3, 4]  # behind the two epochs of the backbone
    assert loaded.intermediate_values == {}
    assert trained.value == loaded.value == trained.intermediate_values[4]
    (run,) = find_runs(tmp_path / "second" / "runs", finished=True)
    assert run.result["metrics"]["valid/full/ndcg_at_10"] == loaded.value
