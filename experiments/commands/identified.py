"""A run on its data: what it is called and what makes its numbers, found without torch.

A finished run that is asked for again is answered from here. Modules of this one's imports load
neither torch nor RecBole nor MLflow, which take seconds.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import processes
from experiments.commands.phases import Phases
from experiments.commands.start import start_content, start_folder
from experiments.config.experiment import Experiment
from experiments.config.resolve import MEMBER
from experiments.protocol.shared_data import SharedData, shared_data
from experiments.protocol.slices import definition_hash
from experiments.runs.configuration import NOT_APPLICABLE
from experiments.runs.folder import LARGEST, RunFolder, run_path
from experiments.runs.identity import component_sources, config_hash, plain
from experiments.tracking import Tracker, is_published
from experiments.training.device import device_name, own_device, precision_name

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class IdentifiedRun:
    """One run on its data.

    Attributes
    ----------
    experiment : Experiment
        Its configuration.
    shared : SharedData
        The data, the split and the candidates.
    device, precision : str
        As torch spells them: "cuda:1", "float32".
    hashes : mapping of str to str
        Of all that makes the numbers of two runs comparable.
    sources : mapping of str to str
        Component -> the hash of the code that makes the numbers.
    identity : str
        The hash of all that can change a number, the seed left out.
    path : Path
        The run folder.
    start : RunFolder or None
        The run whose weights training starts from.
    """

    experiment: Experiment
    shared: SharedData
    device: str
    precision: str
    hashes: Mapping[str, str]
    sources: Mapping[str, str]
    identity: str
    path: Path
    start: RunFolder | None = None

    @property
    def label(self) -> str:
        """The model and the seed, as messages name the run."""
        return f"{self.experiment.model_key} seed {self.experiment.config.seed}"

    def lock(self) -> AbstractContextManager[None]:
        """The lock that whoever writes to the run folder holds."""
        return RunFolder(self.path).lock()

    @property
    def members(self) -> dict[str, str]:
        """Stage of a fusion's member -> the identity of a run of the member alone."""
        return {
            stage: _identity(replace(self.experiment, model=own), self.hashes, self.device)
            for stage, own in self.experiment.model.frozen.items()
            if stage.startswith(MEMBER)
        }

    def finished(self) -> RunFolder | None:
        """The folder of the finished run; None where there is none, or it is to be trained again.

        Raises
        ------
        Damaged
            The run is finished, and a file of it is not what was written.
        """
        folder = RunFolder(self.path)
        if self.experiment.config.force or not folder.finished:
            return None
        folder.verify(largest=LARGEST)
        return folder


def prepared_run(
    experiment: Experiment, *, phases: Phases, elsewhere: Path | None = None
) -> IdentifiedRun:
    """Prepare what a run shares with others, and identify the run.

    Parameters
    ----------
    experiment : Experiment
    phases : Phases
        Measures the preparation.
    elsewhere : Path, optional
        Where backbones and stages are looked for and kept, instead of beside the data.

    Raises
    ------
    PaddockError
        If the data is at fault, or there is no such device.
    """
    with phases("prepare"):
        shared = shared_data(experiment.config, elsewhere=elsewhere)
    return identified(experiment, shared)


def identified(experiment: Experiment, shared: SharedData) -> IdentifiedRun:
    """Identify a run on its data.

    Parameters
    ----------
    experiment : Experiment
    shared : SharedData
        What `shared_data` gives for its configuration.

    Raises
    ------
    PaddockError
        If there is no such device.
    """
    config = experiment.config
    device = own_device(device_name(config.device))
    hashes = {**shared.hashes, "slices": definition_hash(config.protocol.slices)}
    start = start_folder(experiment)
    identity = _identity(experiment, hashes, device, start=start)
    return IdentifiedRun(
        experiment=experiment,
        shared=shared,
        device=device,
        precision=precision_name(config.precision, device=device, resolved=experiment.model),
        hashes=hashes,
        sources=component_sources(experiment),
        identity=identity,
        start=start,
        path=run_path(
            config.runs_dir,
            dataset=shared.data.name,
            protocol=config.protocol.name,
            model_key=experiment.model_key,
            config_hash=identity,
            seed=config.seed,
        ),
    )


def _identity(
    experiment: Experiment,
    hashes: Mapping[str, str],
    device: str,
    *,
    start: RunFolder | None = None,
) -> str:
    config = experiment.config
    return config_hash(
        model=experiment.model.content,
        sources=component_sources(experiment),
        hashes=hashes,
        protocol=plain(config)["protocol"],
        device=device.partition(":")[0],
        threads=config.threads,
        precision=precision_name(config.precision, device=device, resolved=experiment.model),
        processes=processes.size(),
        start=None if start is None else start_content(start)["hash"],
    )


def reuse(this: IdentifiedRun, console: "Console") -> RunFolder | None:
    """The folder of the run, if it was finished before; it is uploaded where the store lacks it.

    Of several processes the first says and uploads.

    Parameters
    ----------
    this : IdentifiedRun
    console : Console
        Where it is said that the run is reused.

    Raises
    ------
    Damaged
        A file of the finished run is not what was written.
    """
    folder = this.finished()
    if folder is None or processes.rank() > 0:
        return folder
    folder.clean()
    console.print(f"{this.label}: finished before, reused ({this.path})", highlight=False)
    tracking = this.experiment.config.tracking
    if not is_published(folder, tracking):
        with this.lock():
            if not is_published(folder, tracking):
                Tracker(tracking, folder).finish()
    return folder


def say_if_tuned_elsewhere(experiment: Experiment, shared: SharedData, console: "Console") -> None:
    """Say that the model's values were tuned on other data, where they were.

    Parameters
    ----------
    experiment : Experiment
    shared : SharedData
    console : Console
    """
    tuned = experiment.config.tuned
    if tuned.get("data_hash") not in (None, shared.data.hash):
        console.print(
            f"{tuned.get('study')} was tuned on other data than this {shared.data.name}: "
            "its values may not be the best here",
            highlight=False,
        )


def say_result(folder: RunFolder, *, label: str, metric: str, console: "Console") -> None:
    """Say in a line how a finished run did.

    Parameters
    ----------
    folder : RunFolder
    label : str
        How messages name the run.
    metric : str
        The metric that chose its epoch, without a phase.
    console : Console
    """
    result = folder.result
    reused = (
        f", {seconds:.1f} s of them by an earlier run"
        if (seconds := result["reused_seconds"])
        else ""
    )
    valid, test = (
        _shown(result["metrics"].get(f"{phase}/{metric}")) for phase in ("valid", "test")
    )
    console.print(
        f"{label}: {result['epochs']} epochs, best {result['best_epoch']}, "
        f"valid {metric} {valid}, test {test}, "
        f"{result['phases']['train']['seconds']:.1f} s{reused}",
        highlight=False,
    )


def _shown(value: float | None) -> str:
    return NOT_APPLICABLE if value is None else f"{value:.4f}"
