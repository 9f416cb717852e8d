"""The way of one run: prepare, split, train, evaluate, track."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from rich.console import Console
from threadpoolctl import threadpool_limits

import experiments.bridge  # noqa: F401  (RecBole's work-rounds, before what imports RecBole)
from experiments import checkpoint, processes
from experiments.commands.identified import (
    IdentifiedRun,
    prepared_run,
    reuse,
    say_if_tuned_elsewhere,
    say_result,
)
from experiments.commands.phases import Phases
from experiments.commands.progress import RunProgress
from experiments.commands.start import loaded_start, start_content
from experiments.components.registry import callbacks as plugin_callbacks
from experiments.config.experiment import Experiment
from experiments.config.metric_names import parse
from experiments.config.schema import Refit
from experiments.evaluation.applicability import asks_for_new_users, not_applicable
from experiments.evaluation.evaluate import Evaluation, unscored
from experiments.evaluation.scoring import evaluation, input_note, validate
from experiments.files import (
    atomic_folder,
    atomic_path,
    hash_of,
    write_json,
    write_text,
)
from experiments.protocol.split import Phase
from experiments.runs import provenance
from experiments.runs.configuration import NOTE
from experiments.runs.folder import CurveWriter, RunFolder
from experiments.runs.identity import FORMAT, command, plain
from experiments.runs.others import unused_runs
from experiments.tracking import Tracker
from experiments.training import ranks
from experiments.training.build import build
from experiments.training.context import Selecting, TrainingContext
from experiments.training.loop import Callbacks, StageProgress
from experiments.training.memory import keep_freed_memory
from experiments.training.reuse import scores_of
from experiments.training.stages import Trained, Training, refit, train
from experiments.training.state import model_state
from paddock import Callback, RunInfo


def run(
    experiment: Experiment,
    *,
    console: Console,
    bars: bool,
    elsewhere: Path | None = None,
) -> RunFolder:
    """Train, evaluate and track one configuration with one seed; a finished run is returned as it is.

    Parameters
    ----------
    experiment : Experiment
    console : Console
    bars : bool
        Whether this run has the terminal for itself.
    elsewhere : Path, optional
        Where backbones and stages are looked for and kept, instead of beside the data.

    Raises
    ------
    PaddockError
        If the data is at fault, or the model cannot be trained on it.
    """
    phases = Phases()
    this = prepared_run(experiment, phases=phases, elsewhere=elsewhere)
    say_if_tuned_elsewhere(experiment, this.shared, console)
    return reuse(this, console) or train_identified(this, phases, console=console, bars=bars)


def train_identified(
    this: IdentifiedRun, phases: Phases, *, console: Console, bars: bool
) -> RunFolder:
    """Train, evaluate and track a run; if another process does, wait and return what it made.

    Parameters
    ----------
    this : IdentifiedRun
    phases : Phases
        That measured its preparation.
    console : Console
    bars : bool
        Whether this run has the terminal for itself.

    Raises
    ------
    PaddockError
        If the model cannot be trained on the data.
    """
    config = this.experiment.config
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    with (
        ranks.together(torch.device(this.device)),
        ranks.first_holds(this.lock()),
        threadpool_limits(config.threads),
    ):
        meanwhile = ranks.from_first(this.finished() if ranks.rank() == 0 else None)
        if meanwhile is None:
            folder = RunFolder(this.path)
            if ranks.rank() == 0:
                _say_what_is_unseen(this, console)
                _begin(this, folder)
            ranks.from_first(None)  # the folder is there
            if ranks.rank() == 0:
                _train_and_evaluate(this, folder, phases, console=console, bars=bars)
            else:
                _computed(this, folder, Callbacks(), phases)
                return folder
    if meanwhile is not None:
        reuse(this, console)
        return meanwhile
    say_result(folder, label=this.label, metric=config.protocol.valid_metric, console=console)
    return folder


def _say_what_is_unseen(this: IdentifiedRun, console: Console) -> None:
    """Say which finished runs are not reused, and what the phases ask for that training lacks."""
    if not RunFolder(this.path).exists:
        content = _content(this)
        for line in unused_runs(this.path, config=content, sources=this.sources):
            console.print(f"{this.label}: {line}", highlight=False)
    for phase in get_args(Phase):
        if (unseen := this.shared.split.unseen(phase)).many:
            console.print(f"{this.label}: {phase}: {unseen}", highlight=False)


def _content(this: IdentifiedRun) -> dict[str, Any]:
    """The configuration as run.json keeps it."""
    experiment = this.experiment
    content = plain(experiment.config) | {"model": experiment.model.values}
    del content["tracking"]  # changes no number, and an address may hold a password
    return content


def _begin(this: IdentifiedRun, folder: RunFolder) -> RunFolder:
    """A fresh run folder, or the one that a killed run left."""
    experiment, config = this.experiment, this.experiment.config
    if not config.force and folder.exists and not folder.finished:
        return folder
    # run.json, which RunFolder.create writes, makes the folder a run to go on with: it comes last.
    for left in folder.path.glob("*.safetensors"):
        left.unlink()
    content = _content(this)
    write_text(folder.path / "config.yaml", _yaml(content))
    model = experiment.model
    full = any(each.candidates is None for each in config.protocol.rankings.values())
    notes = {} if model.model.config is None else model.model.config.notes(model.values, full=full)
    return RunFolder.create(
        folder.path,
        {
            "format": FORMAT,
            "dataset": this.shared.data.name,
            "protocol": config.protocol.name,
            "model": model.name,
            "model_key": experiment.model_key,
            "config_hash": this.identity,
            "seed": config.seed,
            "command": command(config, choices=experiment.choices, places=experiment.places),
            "config": content,
            "hashes": dict(this.hashes),
            "sources": dict(this.sources),
            "git": provenance.git(),
            "packages": provenance.packages(),
            "host": provenance.host(),
            "tags": {**notes, **_start_tag(this)},
            "params_trained": None,
            **({} if this.start is None else {"start": start_content(this.start)}),
            **_several(),
        },
    )


def _start_tag(this: IdentifiedRun) -> dict[str, str]:
    """The note on a run that does not start from what its seed draws."""
    if this.start is None:
        return {}
    content = start_content(this.start)
    words = f"starts from the weights of {content['model']} on {content['dataset']}"
    return {f"{NOTE}start": f"{words} ({content['hash'][:8]})"}


def _several() -> dict[str, int]:
    """How many processes train the run, where it is not one."""
    return {"processes": processes.size()} if processes.size() > 1 else {}


def _train_and_evaluate(
    this: IdentifiedRun, folder: RunFolder, phases: Phases, *, console: Console, bars: bool
) -> None:
    config, shared = this.experiment.config, this.shared
    metric = f"valid/{config.protocol.valid_metric}"
    tracker = Tracker(config.tracking, folder)
    callbacks = Callbacks(
        [
            CurveWriter(folder),
            RunProgress(label=this.label, metric=metric, bars=bars, console=console),
            tracker,
            *(made() for made in plugin_callbacks()),
        ]
    )
    try:
        callbacks.on_start(
            RunInfo(folder=folder.path, label=this.label, metric=metric, run=folder.run)
        )
        chosen, valid, trained, test, unable = _computed(this, folder, callbacks, phases)
        if "valid" not in unable:
            _save_model(folder, trained, this.experiment.model.last)
        with atomic_path(folder.path / "per_user.parquet") as temporary:
            test.per_user.write_parquet(temporary)
        folder.update(
            params_trained=sum(w.numel() for w in trained.model.parameters() if w.requires_grad),
            weights=trained.weights,
            tags=folder.run["tags"] | _input_tags(trained, this, unable),
        )
        reused = _count_seconds(phases, folder, trained, tracked=tracker.seconds)
        folder.finish(
            {
                "metrics": {
                    **{f"valid/{name}": value for name, value in valid.aggregates.items()},
                    **{f"test/{name}": value for name, value in test.aggregates.items()},
                },
                **({"not_applicable": unable} if unable else {}),
                "unseen": {
                    phase: shared.split.unseen(phase)._asdict() for phase in get_args(Phase)
                },
                **({"refit_epochs": dict(chosen.epochs)} if trained is not chosen else {}),
                "reused_seconds": reused,
                "phases": {**phases.measured, "track": {"seconds": tracker.seconds}},
                "best_epoch": chosen.progress.best_epoch,
                "epochs": chosen.progress.epoch,
                "users": test.n_users,
                **_several(),
                "scoring_ms_per_user": None
                if "valid" in unable
                else 1e3 * valid.seconds / valid.n_users,
            }
        )
        folder.sweep()
    except BaseException as error:
        callbacks.on_end(None, error)
        raise
    callbacks.on_end(folder.result, None)
    _note_tracking(folder, tracker.seconds)


class _Computed(NamedTuple):
    """The chosen model, its valid metrics, the tested model, its test, and which phases it cannot score."""

    chosen: Trained
    valid: Evaluation
    trained: Trained
    test: Evaluation
    unable: dict[str, str]


def _computed(
    this: IdentifiedRun, folder: RunFolder, callbacks: Callback, phases: Phases
) -> _Computed:
    """What all processes of a run do."""
    unable: dict[str, str] = {}
    with phases("train"):
        chosen = _untrained(this, folder)
        if chosen is None:
            chosen = _train(this, folder, callbacks)
    with phases("evaluate"):
        valid = _evaluated(this, chosen, "valid", unable)
    with phases("train"):
        trained = chosen if unable else _refit(this, folder, callbacks, chosen)
    with phases("evaluate"):
        test = _evaluated(this, trained, "test", unable)
    ranks.leave()
    return _Computed(chosen, valid, trained, test, unable)


def _evaluated(
    this: IdentifiedRun, trained: Trained, phase: Phase, unable: dict[str, str]
) -> Evaluation:
    """The metrics of a phase; none where the model cannot score it, whose reason `unable` is given."""
    reason = _reason(this, trained.model, trained.dataset, phase)
    if reason is not None:
        unable[phase] = reason
        return unscored(this.shared.split, phase)
    protocol = this.experiment.config.protocol
    # Only of weights that a fusion may ask for.
    keep = None if trained.weights is None else scores_of(this.shared.data, trained.weights)
    return evaluation(trained.model, trained.dataset, phase, this.shared, protocol, keep=keep)


def _untrained(this: IdentifiedRun, folder: RunFolder) -> Trained | None:
    """A model that could not be validated after any epoch, as it is before the first; else None."""
    if not asks_for_new_users(this.shared.split, "valid"):
        return None
    model, dataset, _ = build(this.experiment.model.last, _context(this, folder))
    if _reason(this, model, dataset, "valid") is None:
        return None
    return Trained(model=model, dataset=dataset, progress=StageProgress())


def _reason(this: IdentifiedRun, model: Any, dataset: Any, phase: Phase) -> str | None:
    return not_applicable(
        model,
        dataset,
        phase,
        split=this.shared.split,
        inputs=this.experiment.config.protocol.inputs,
        resolved=this.experiment.model,
    )


def _train(this: IdentifiedRun, folder: RunFolder, callbacks: Callback) -> Trained:
    protocol = this.experiment.config.protocol
    return train(
        this.experiment.model,
        _context(this, folder),
        _training(this),
        validate=partial(validate, shared=this.shared, protocol=protocol),
        callbacks=callbacks,
    )


def _refit(this: IdentifiedRun, folder: RunFolder, callbacks: Callback, chosen: Trained) -> Trained:
    """The model that is tested: trained again on train and valid, where the protocol asks for it."""
    if this.experiment.config.protocol.refit is Refit.none:
        return chosen
    return refit(
        this.experiment.model,
        _context(this, folder),
        _training(this),
        chosen=chosen,
        callbacks=callbacks,
    )


def _context(this: IdentifiedRun, folder: RunFolder) -> TrainingContext:
    return TrainingContext(
        data=this.shared.data,
        split=this.shared.split,
        seed=this.experiment.config.seed,
        device=torch.device(this.device),
        folder=folder.path,
        precision=getattr(torch, this.precision),
        selecting=_selecting(this),
    )


def _selecting(this: IdentifiedRun) -> Selecting | None:
    selecting = parse(this.experiment.config.protocol.valid_metric)
    given = this.shared.candidates["valid"].get(selecting.ranking)
    if given is None:
        return None
    return Selecting(candidates=given, metric=selecting.metric, cutoff=selecting.cutoff)


def _training(this: IdentifiedRun) -> Training:
    config = this.experiment.config
    return Training(
        identity=this.identity,
        metric=f"valid/{config.protocol.valid_metric}",
        selection=hash_of([plain(config)["protocol"]["rankings"], this.shared.hashes]),
        checkpoint_seconds=config.checkpoint_seconds,
        runs_dir=Path(config.runs_dir),
        members=this.members,
        start=None if this.start is None else loaded_start(this.start, config),
    )


def _input_tags(trained: Trained, this: IdentifiedRun, unable: Mapping[str, str]) -> dict[str, str]:
    if "test" in unable:
        return {f"{NOTE}not_applicable": unable["test"]}
    if this.shared.split.holds_users_out:
        return {}  # nobody reads a valid item
    note = input_note(trained.model, trained.dataset, this.experiment.config.protocol)
    return {} if note is None else {f"{NOTE}inputs": note}


def _count_seconds(phases: Phases, folder: RunFolder, trained: Trained, *, tracked: float) -> float:
    """Complete the seconds of training; those of stages that an earlier run trained are returned."""
    # A resumed run trained longer than this process did; the curve holds the seconds of all epochs.
    training, curve = phases.measured["train"], folder.curve
    training["seconds"] = max(
        training["seconds"] - tracked, sum(record["seconds"] for record in curve)
    )
    # What a model costs does not depend on who trained its backbone first.
    here = {record["stage"] for record in curve}
    reused = sum(seconds for stage, seconds in trained.reused.items() if stage not in here)
    training["seconds"] += reused
    return reused


def _note_tracking(folder: RunFolder, seconds: float) -> None:
    """Complete the seconds of the tracking phase by those of the upload itself."""
    result = folder.result
    result["phases"]["track"]["seconds"] = seconds
    folder.write_result(result)


def _save_model(folder: RunFolder, trained: Trained, values: dict[str, Any]) -> None:
    with atomic_folder(folder.path / "model") as temporary:
        checkpoint.save(
            temporary / "model.safetensors", {"model": model_state(trained.model)}, notes=values
        )
        write_json(temporary / "model.json", values)


def _yaml(content: Any) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(content))
