"""The best configuration of a study: written to conf/tuned/, then trained with several seeds."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from optuna.trial import TrialState
from rich.console import Console

from experiments.config.check import resolve_model
from experiments.config.compose import compose, typed
from experiments.config.schema import Config
from experiments.files import write_text
from experiments.runs.folder import RunFolder
from experiments.tuning.space import STAGES, looked_up, put
from experiments.tuning.study import Desk
from experiments.tuning.trials import DEFAULTS, counts

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_ABSENT = object()


def winning_model(desk: Desk, trial: "FrozenTrial") -> dict[str, Any]:
    """The model of a finished trial, as a command would give it."""
    from optuna.trial import FixedTrial

    fixed: Any = FixedTrial(trial.params)
    return desk.space.suggest(fixed, defaults=DEFAULTS in trial.user_attrs)


def write_winner(desk: Desk, trial: "FrozenTrial") -> Path:
    """Write the file that `+tuned=auto` takes, and return its path."""
    config, trials = desk.config, desk.ledger.trials
    # As experiments.config.compose.settled names it.
    name = f"{desk.shared.data.name}/{config.protocol.name}/{desk.model_key}"
    states = [each.state for each in trials if counts(each)]
    provenance = {
        "study": desk.name,
        "command": _study_command(desk),
        "trial": trial.number,
        "metric": config.protocol.valid_metric,
        "value": trial.value,
        "seed": config.seed,
        "n_trials": len(states),
        **{
            state.name.lower(): states.count(state)
            for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        },
        "seconds": round(sum(_seconds(each) for each in trials if counts(each)), 1),
        "data_hash": desk.shared.data.hash,
        "split_hash": desk.shared.split.hash,
    }
    content = {"model": _written(desk, winning_model(desk, trial)), "tuned": provenance}
    text = (
        f"# @package _global_\n# {_launch(desk, name)}\n"
        f"# The best of {len(states)} trials by the valid metric, written by tune.py.\n"
        + OmegaConf.to_yaml(OmegaConf.create(content))
    )
    path = Path(config.study.tuned_dir) / f"{name}.yaml"
    write_text(path, text)
    return path


def train_winner(desk: Desk, trial: "FrozenTrial", console: Console) -> list[RunFolder]:
    """Train the winner with each final seed, as run.py would; runs that are finished are reused."""
    from experiments.commands.train import run

    config = desk.config
    given = {field.name: getattr(config, field.name) for field in fields(Config)}
    plain = replace(Config(**given), model=winning_model(desk, trial))
    folders = []
    for seed in range(config.seed, config.seed + config.study.final_seeds):
        folder = run(
            replace(plain, seed=seed),
            choices=desk.choices,
            console=console,
            bars=config.progress,
        )
        tags = {"paddock.study": desk.name, "paddock.trial": str(trial.number)}
        if not tags.items() <= folder.run["tags"].items():
            folder.update(tags={**folder.run["tags"], **tags})
        folders.append(folder)
    return folders


def _launch(desk: Desk, name: str) -> str:
    """The command that runs the file."""
    model, auto = desk.choices["model"], "+tuned=auto"
    if model == "recbole":
        model, auto = f"recbole model.name={desk.config.model['name']}", f"+tuned={name}"
    places = [f"{group}={desk.choices[group]}" for group in ("dataset", "protocol")]
    # What the study was told of them belongs to the data that it tuned on.
    places += [word for word in desk.words if word.startswith(("dataset.", "protocol."))]
    return f"python run.py model={model} {shlex.join(places)} {auto}"


def _study_command(desk: Desk) -> str:
    """The command of the study, without the places of the machine that it ran on."""
    places = (
        "study.storage",
        "study.tuned_dir",
        "runs_dir",
        "data_dir",
        "tracking",
        "dataset.source",
    )
    kept = [word for word in desk.words if not word.startswith(places)]
    return shlex.join(["python", "tune.py", *kept])


def _written(desk: Desk, winner: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the model's own YAML, and what was tuned even where it does not."""
    words = [f"model={desk.choices['model']}"]
    if desk.choices["model"] == "recbole":
        words.append(f"model.name={desk.config.model['name']}")
    winner, usual = resolve_model(winner), resolve_model(typed(compose(words)).model)
    tuned = {parameter.name for parameter in desk.space.active(winner, defaults=False)}
    written: dict[str, Any] = {}
    if desk.choices["model"] == "recbole":
        written["name"] = winner["name"]
    for name, value in _leaves(winner):
        if name in tuned or looked_up(usual, name, _ABSENT) != value:
            put(written, name, value)
    return written


def _leaves(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and (key == STAGES or path):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _seconds(trial: "FrozenTrial") -> float:
    return trial.duration.total_seconds() if trial.duration else 0.0
