"""Studies killed by SIGKILL end as undisturbed ones: every draw once, with the same numbers."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from tests import fork_server

from .tuner import ROOT, SMALL, Tuner, command, counted, draws, outcome

N_TRIALS = 5
ASKED = [*SMALL, f"study.n_trials={N_TRIALS}"]


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, tuner_in: Callable[[Path], Tuner]
) -> list[tuple[Any, ...]]:
    tuner = tuner_in(tmp_path_factory.mktemp("undisturbed"))
    tuner(*ASKED)
    assert len(tuner.trials) == N_TRIALS
    return outcome(tuner.trials)


def slow(moment: str) -> Any:
    return pytest.param(moment, marks=pytest.mark.slow)


MOMENTS = [
    slow("create_new_trial:1"),  # the defaults, to be queued
    "create_new_trial:2:after",  # a trial without a heartbeat
    "record_heartbeat:3:after",  # a trial without its worker's name
    slow("set_trial_user_attr:4:after"),  # a trial that has both and no values
    "set_trial_param:5:after",  # some of its values
    "set_trial_intermediate_value:7:after",  # in the middle of training
    "set_trial_state_values:3",  # about to store its value
    slow("set_trial_state_values:3:after"),  # its value stored
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_anywhere(tuner: Tuner, undisturbed: list[tuple[Any, ...]], moment: str) -> None:
    tuner(*ASKED, dies_at=moment, code=-signal.SIGKILL)
    tuner(*ASKED)
    assert outcome(tuner.trials) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("second", ["set_trial_state_values:1:after", "create_new_trial:1:after"])
def test_killed_while_it_finds_the_dead(
    tuner: Tuner, undisturbed: list[tuple[Any, ...]], second: str
) -> None:
    """Who buries a trial and who queues its repetition may die in between, and after."""
    tuner(*ASKED, dies_at="set_trial_intermediate_value:7:after", code=-signal.SIGKILL)
    tuner(*ASKED, dies_at=second, code=-signal.SIGKILL)
    tuner(*ASKED)
    assert outcome(tuner.trials) == undisturbed


@pytest.mark.slow
def test_values_that_kill_every_worker_fail(tuner: Tuner) -> None:
    for _ in range(3):
        # The second trial, after the defaults' four epochs.
        before = 5 if not tuner.said else 1
        tuner(*ASKED, dies_at=f"set_trial_intermediate_value:{before}", code=-signal.SIGKILL)
        (tuner.folder / "output").write_text("killed")
    tuner(*ASKED)
    _, deadly, *others = draws(tuner.trials)
    assert deadly == []  # none of its trials came to an end or named a reason
    assert len(others) == N_TRIALS - 2
    dead = [trial for trial in tuner.trials if trial.state is TrialState.FAIL]
    assert len(dead) == 3
    assert len({repr(trial.params) for trial in dead}) == 1
    assert "failed: its worker died, 3 times" in tuner.said


def test_finished_study_takes_more_trials(tuner: Tuner, undisturbed: list[tuple[Any, ...]]) -> None:
    tuner(*SMALL, "study.n_trials=2")
    tuner(*SMALL, "study.n_trials=2")
    assert len(tuner.trials) == 2
    tuner(*ASKED)
    assert outcome(tuner.trials) == undisturbed


def test_interrupted_trial_is_handed_back(tuner: Tuner, undisturbed: list[tuple[Any, ...]]) -> None:
    process = tuner.start(*ASKED, slow=0.2)
    while tuner.ended() < 1:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.wait()
    assert process.returncode == 130
    assert "go on with: python tune.py model=bpr" in tuner.said
    assert not [trial for trial in tuner.trials if trial.state is TrialState.RUNNING]
    tuner(*ASKED)
    assert outcome(tuner.trials) == undisturbed


def test_an_interruption_while_garbage_is_collected_is_none_the_less_one(
    tuner: Tuner, undisturbed: list[tuple[Any, ...]]
) -> None:
    process = fork_server.call(
        interrupted_in_garbage, tuner.overrides(*ASKED, "study.n_trials=3"), tuner.output
    )
    process.wait()
    assert process.returncode == 130
    assert "go on with: python tune.py model=bpr" in tuner.said
    assert len(tuner.trials) == 1
    tuner(*ASKED)
    assert outcome(tuner.trials) == undisturbed


def interrupted_in_garbage(argv: list[str], output: Path) -> None:
    """tune.py, where Ctrl-C is pressed while the garbage of the first trial is collected."""
    collect, calls = gc.collect, 0

    class Garbage:
        def __init__(self) -> None:
            self.own = self

        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    def collect_and_press() -> int:
        nonlocal calls
        calls += 1
        if calls == 2:  # the first call is before the first trial
            Garbage()
        return collect()

    gc.collect = collect_and_press  # type: ignore[assignment]
    command(argv, output, "", 0.0)


@pytest.mark.slow
def test_the_command_itself(tuner: Tuner, undisturbed: list[tuple[Any, ...]]) -> None:
    """No fork, nothing patched: tune.py killed after its second trial and started again."""
    command = [sys.executable, str(ROOT / "tune.py"), *tuner.overrides(*ASKED, "model.epochs=40")]
    with Path(tuner.output).open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        while tuner.ended() < 2:
            assert process.poll() is None, tuner.said
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert subprocess.run(command, stdout=output, stderr=output, check=False).returncode == 0
    assert len(counted(tuner.trials)) == N_TRIALS
    assert [len(trials) for trials in draws(tuner.trials)] == [1] * N_TRIALS
    params = [params for params, *_ in undisturbed]
    assert [trials[0].params for trials in draws(tuner.trials)] == params
