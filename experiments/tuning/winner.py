"""The best configuration of a study: written to conf/tuned/, then trained with several seeds."""

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import TrialState
from rich.console import Console
from yaml import YAMLError

from experiments.config.compose import compose, typed
from experiments.config.experiment import NAMELESS, Experiment
from experiments.config.resolve import resolve_model
from experiments.config.schema import Config
from experiments.files import hash_of, write_text
from experiments.paths import program
from experiments.runs.folder import RunFolder
from experiments.runs.identity import plain, spelled
from experiments.tuning.space import STAGES, looked_up, put
from experiments.tuning.study import TuningStudy
from experiments.tuning.trials import DEFAULTS, counts

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_ABSENT = object()


def winning_model(study: TuningStudy, trial: "FrozenTrial") -> dict[str, Any]:
    """The configuration of the model that a finished trial has trained.

    Parameters
    ----------
    study
        The study of the trial.
    trial
        A trial with all of its parameters.
    """
    from optuna.trial import FixedTrial

    fixed: Any = FixedTrial(trial.params)
    return study.space.suggest(fixed, defaults=DEFAULTS in trial.user_attrs)


def better_before(path: Path, found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What another study wrote, if it found a better value of the same metric on the same data.

    Parameters
    ----------
    path
        The file of a winner, which need not exist.
    found
        What is to be written under `tuned`.

    Returns
    -------
    Mapping or None
        What the file has under `tuned`; None where it may be overwritten.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, OmegaConfBaseException, YAMLError):
        return None
    before = content.get("tuned") if isinstance(content, dict) else None
    if not isinstance(before, dict):
        return None
    same = all(before.get(key) == found[key] for key in ("metric", "data_hash", "split_hash"))
    # Files of earlier versions do not say what the candidates were.
    same &= before.get("question_hash", found["question_hash"]) == found["question_hash"]
    value = before.get("value")
    valid = isinstance(value, int | float) and math.isfinite(value)
    return before if same and valid and value > found["value"] else None


def write_winner(study: TuningStudy, trial: "FrozenTrial") -> tuple[Path, Mapping[str, Any] | None]:
    """Write the configuration of the best trial to the file that `+tuned=auto` reads.

    A better value of the same metric on the same data and protocol stays there.

    Parameters
    ----------
    study
        The study of the trial.
    trial
        The best trial.

    Returns
    -------
    path : Path
        <tuned_dir>/<dataset>/<protocol>/<model>.yaml.
    before : Mapping or None
        What stays there under `tuned`, if it is better; None where the file was written.
    """
    config, trials = study.config, study.queue.trials
    # As experiments.config.compose.settled names it.
    name = f"{study.shared.data.name}/{config.protocol.name}/{study.experiment.model_key}"
    states = [each.state for each in trials if counts(each)]
    provenance = {
        "study": study.name,
        "command": _study_command(study),
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
        "data_hash": study.shared.data.hash,
        "split_hash": study.shared.split.hash,
        "question_hash": hash_of([plain(config)["protocol"]["rankings"], study.shared.hashes]),
    }
    path = Path(config.study.tuned_dir) / f"{name}.yaml"
    if (before := better_before(path, provenance)) is not None:
        return path, before
    content = {"model": _written(study, winning_model(study, trial)), "tuned": provenance}
    text = (
        f"# @package _global_\n# {_launch(study, name)}\n"
        f"# The best of {len(states)} trials by the valid metric, written by tune.py.\n"
        + OmegaConf.to_yaml(OmegaConf.create(content))
    )
    write_text(path, text)
    return path, None


def train_winner(study: TuningStudy, trial: "FrozenTrial", console: Console) -> list[RunFolder]:
    """Train the best configuration with each final seed, as run.py would.

    Parameters
    ----------
    study
        The study of the trial.
    trial
        The best trial.
    console
        Where progress is shown.

    Returns
    -------
    list of RunFolder
        One run for each of `final_seeds` seeds, from the configured one upwards; a run that is
        finished is reused.
    """
    from experiments.commands.train import run

    config = study.config
    given = {field.name: getattr(config, field.name) for field in fields(Config)}
    winner = Experiment.of(
        replace(Config(**given), model=winning_model(study, trial)),
        study.experiment.choices,
        study.experiment.places,
    )
    folders = []
    for seed in range(config.seed, config.seed + config.study.final_seeds):
        folder = run(
            winner.with_values(seed=seed),
            console=console,
            bars=config.progress,
        )
        tags = {"paddock.study": study.name, "paddock.trial": str(trial.number)}
        if not tags.items() <= folder.run["tags"].items():
            folder.update(tags={**folder.run["tags"], **tags})
        folders.append(folder)
    return folders


def _launch(study: TuningStudy, name: str) -> str:
    """The command that runs the file."""
    choices = study.experiment.choices
    model, auto = choices["model"], "+tuned=auto"
    if model == NAMELESS:
        model, auto = f"recbole model.name={study.config.model['name']}", f"+tuned={name}"
    places = [f"{group}={choices[group]}" for group in ("dataset", "protocol")]
    # Overrides of these groups belong to the data that the study tuned on.
    places += [each for each in study.overrides if each.startswith(("dataset.", "protocol."))]
    return f"{shlex.join(program('run'))} model={model} {shlex.join(places)} {auto}"


def _study_command(study: TuningStudy) -> str:
    """The command of the study, without the folders and addresses of the machine that it ran on."""
    places = (
        "study.storage",
        "study.tuned_dir",
        "runs_dir",
        "data_dir",
        "tracking",
        "dataset.source",
    )
    kept = [each for each in study.overrides if not each.startswith(places)]
    return shlex.join([*program("tune"), *kept])


def _written(study: TuningStudy, winner: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the model's own YAML, and what was tuned even where it does not."""
    choice, plugins = study.experiment.choices["model"], study.config.plugins
    overrides = [*study.experiment.places, f"model={choice}"]
    if plugins:
        overrides.append(f"plugins={spelled(plugins)}")
    if choice == NAMELESS:
        overrides.append(f"model.name={study.config.model['name']}")
    winner = resolve_model(winner).values
    usual = resolve_model(typed(compose(overrides)).model).values
    tuned = {parameter.name for parameter in study.space.active(winner, defaults=False)}
    written: dict[str, Any] = {}
    if choice == NAMELESS:
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
