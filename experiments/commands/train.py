"""The way of one run: prepare, split, train, evaluate, track."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from threadpoolctl import threadpool_limits

from experiments import checkpoint
from experiments.commands.phases import Phases
from experiments.commands.progress import RunProgress
from experiments.config.check import check, resolve_model
from experiments.config.llm_keys import tags_of
from experiments.config.schema import Config
from experiments.evaluation.scoring import evaluation, validate
from experiments.files import (
    atomic_folder,
    atomic_path,
    hash_of,
    lock,
    write_json,
    write_text,
)
from experiments.protocol.shared_data import SharedData, shared_data
from experiments.protocol.slices import definition_hash
from experiments.protocol.split import Phase
from experiments.runs import provenance
from experiments.runs.folder import RunFolder, run_path
from experiments.runs.identity import command, config_hash, plain
from experiments.tracking import Tracker, is_published
from experiments.training.device import device_of, precision_of
from experiments.training.memory import keep_freed_memory
from experiments.training.stages import Hooks, Trained, stage_configs, train
from experiments.training.state import model_state


def run(
    config: Config,
    *,
    choices: Mapping[str, str],
    console: Console,
    bars: bool,
    elsewhere: Path | None = None,
) -> RunFolder:
    """Train, evaluate and track one configuration with one seed; a finished run is returned as it is.

    Parameters
    ----------
    choices
        Group -> YAML file that the configuration was composed from.
    bars
        Whether this run has the terminal for itself.
    elsewhere
        Where backbones and stages are looked for and kept, instead of beside the data.

    Raises
    ------
    PaddockError
        If the configuration or the data is at fault.
    """
    check(config)
    model = resolve_model(config.model)
    phases = Phases()
    device = device_of(config.device)
    precision = precision_of(config.precision, device=device, model=model)
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    with phases("prepare"):
        shared = shared_data(config, elsewhere=elsewhere)
    tuned_on = config.tuned.get("data_hash")
    if tuned_on not in (None, shared.data.hash):
        console.print(
            f"{config.tuned.get('study')} was tuned on other data than this {shared.data.name}: "
            "its values may not be the best here",
            highlight=False,
        )
    identity = config_hash(
        model=model,
        hashes=_hashes(config, shared),
        protocol=plain(config)["protocol"],
        device=device.type,
        threads=config.threads,
        precision=str(precision).removeprefix("torch."),
    )
    path = run_path(
        config.runs_dir,
        dataset=shared.data.name,
        protocol=config.protocol.name,
        model_key=choices["model"] if choices["model"] != "recbole" else model["name"].lower(),
        config_hash=identity,
        seed=config.seed,
    )
    label = f"{path.parent.name.rpartition('-')[0]} seed {config.seed}"
    with lock(path.with_name(f".{path.name}.lock")), threadpool_limits(config.threads):
        folder = RunFolder(path)
        if folder.exists and folder.finished and not config.force:
            console.print(f"{label}: finished before, reused ({path})", highlight=False)
            if not is_published(folder, config.tracking):
                Tracker(config.tracking, folder).finish()
            return folder
        for phase in get_args(Phase):
            if (unseen := shared.split.unseen(phase)).many:
                console.print(f"{label}: {phase}: {unseen}", highlight=False)
        folder = _begin(
            config, folder, model=model, identity=identity, shared=shared, choices=choices
        )
        with RunProgress(
            label=label, metric=f"valid/{config.protocol.valid_metric}", bars=bars, console=console
        ) as progress:
            tracker = Tracker(config.tracking, folder)
            tracker.start()
            try:
                _train_and_evaluate(
                    config,
                    folder,
                    model=model,
                    identity=identity,
                    shared=shared,
                    device=device,
                    precision=precision,
                    phases=phases,
                    progress=progress,
                    tracker=tracker,
                )
            except BaseException as error:
                tracker.fail("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
                raise
        tracker.finish()
        _note_tracking(folder, tracker.seconds)
    _report(folder, label=label, metric=config.protocol.valid_metric, console=console)
    return folder


def _hashes(config: Config, shared: SharedData) -> dict[str, str]:
    """Of all that makes the numbers of two runs comparable."""
    return {**shared.hashes, "slices": definition_hash(config.protocol.slices)}


def _begin(
    config: Config,
    folder: RunFolder,
    *,
    model: dict[str, Any],
    identity: str,
    shared: SharedData,
    choices: Mapping[str, str],
) -> RunFolder:
    """A fresh run folder, or the one that a killed run left."""
    if folder.exists and not folder.finished and not config.force:
        return folder
    content = plain(config) | {"model": model}
    del content["tracking"]  # changes no number, and an address may hold a password
    # run.json, which RunFolder.create writes, makes the folder a run to go on with: it comes last.
    for left in folder.path.glob("*.safetensors"):
        left.unlink()
    write_text(folder.path / "config.yaml", _yaml(content))
    folder = RunFolder.create(
        folder.path,
        {
            "dataset": shared.data.name,
            "protocol": config.protocol.name,
            "model": model["name"],
            "model_key": folder.path.parent.name.rpartition("-")[0],
            "config_hash": identity,
            "seed": config.seed,
            "command": command(config, choices=choices),
            "config": content,
            "hashes": _hashes(config, shared),
            "git": provenance.git(),
            "packages": provenance.packages(),
            "host": provenance.host(),
            "tags": tags_of(
                model,
                full=any(each.candidates is None for each in config.protocol.rankings.values()),
            ),
            "params_trained": None,
        },
    )
    return folder


def _train_and_evaluate(
    config: Config,
    folder: RunFolder,
    *,
    model: dict[str, Any],
    identity: str,
    shared: SharedData,
    device: torch.device,
    precision: torch.dtype,
    phases: Phases,
    progress: RunProgress,
    tracker: Tracker,
) -> None:
    def on_epoch(record: dict[str, Any]) -> None:
        folder.append_epoch(record)
        tracker.epoch(record)
        progress.epoch(record)

    with phases("train"):
        trained = train(
            model,
            data=shared.data,
            split=shared.split,
            seed=config.seed,
            device=device,
            precision=precision,
            folder=folder.path,
            identity=identity,
            metric=f"valid/{config.protocol.valid_metric}",
            checkpoint_seconds=config.checkpoint_seconds,
            selection=hash_of([plain(config)["protocol"]["rankings"], shared.hashes]),
            runs_dir=Path(config.runs_dir),
            hooks=Hooks(
                validate=partial(validate, shared=shared, protocol=config.protocol),
                on_stage=progress.stage,
                on_epoch=on_epoch,
                rewind=folder.truncate_curve,
                tick=progress.tick,
            ),
        )
    with phases("evaluate"):
        valid = evaluation(trained.model, trained.dataset, "valid", shared, config.protocol)
        test = evaluation(trained.model, trained.dataset, "test", shared, config.protocol)
    _save_model(folder, trained, model)
    with atomic_path(folder.path / "per_user.parquet") as temporary:
        test.per_user.write_parquet(temporary)
    folder.update(
        params_trained=sum(w.numel() for w in trained.model.parameters() if w.requires_grad),
        weights=trained.weights,
    )
    # A resumed run trained longer than this process did; the curve holds the seconds of all epochs.
    training, curve = phases.measured["train"], folder.curve
    training["seconds"] = max(
        training["seconds"] - tracker.seconds, sum(record["seconds"] for record in curve)
    )
    # What a model costs does not depend on who trained its backbone first.
    here = {record["stage"] for record in curve}
    reused = sum(seconds for stage, seconds in trained.reused.items() if stage not in here)
    training["seconds"] += reused
    folder.finish(
        {
            "metrics": {
                **{f"valid/{name}": value for name, value in valid.aggregates.items()},
                **{f"test/{name}": value for name, value in test.aggregates.items()},
            },
            "unseen": {phase: shared.split.unseen(phase)._asdict() for phase in get_args(Phase)},
            "reused_seconds": reused,
            "phases": {**phases.measured, "track": {"seconds": tracker.seconds}},
            "best_epoch": trained.progress.best_epoch,
            "epochs": trained.progress.epoch,
            "users": test.n_users,
            "scoring_ms_per_user": 1e3 * valid.seconds / valid.n_users,
        }
    )
    for left in folder.path.glob("*.safetensors"):
        left.unlink()


def _note_tracking(folder: RunFolder, seconds: float) -> None:
    """Complete the seconds of the tracking phase by those of the upload itself."""
    result = folder.result
    result["phases"]["track"]["seconds"] = seconds
    write_json(folder.path / "result.json", result)


def _save_model(folder: RunFolder, trained: Trained, model: dict[str, Any]) -> None:
    last = list(stage_configs(model).values())[-1]
    with atomic_folder(folder.path / "model") as temporary:
        checkpoint.save(
            temporary / "model.safetensors", {"model": model_state(trained.model)}, notes=last
        )
        write_json(temporary / "model.json", last)


def _report(folder: RunFolder, *, label: str, metric: str, console: Console) -> None:
    result = folder.result
    reused = (
        f", {seconds:.1f} s of them by an earlier run"
        if (seconds := result["reused_seconds"])
        else ""
    )
    console.print(
        f"{label}: {result['epochs']} epochs, best {result['best_epoch']}, "
        f"valid {metric} {result['metrics'][f'valid/{metric}']:.4f}, "
        f"test {result['metrics'][f'test/{metric}']:.4f}, "
        f"{result['phases']['train']['seconds']:.1f} s{reused}",
        highlight=False,
    )


def _yaml(content: Any) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(content))
