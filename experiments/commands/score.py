"""Lists of another system through the one evaluator, kept and tracked like a run."""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.commands.phases import Phases
from experiments.config.schema import Config
from experiments.errors import PaddockError
from experiments.evaluation.evaluate import Evaluation, evaluate
from experiments.evaluation.lists import Lists, ListScorer, Measurable, measurable, read_lists
from experiments.evaluation.scoring import ranking_task
from experiments.files import atomic_path, write_text
from experiments.paths import CONF
from experiments.protocol.shared_data import SharedData, shared_data
from experiments.protocol.slices import definition_hash
from experiments.runs import provenance
from experiments.runs.configuration import NOTE
from experiments.runs.folder import LARGEST, RunFolder, run_path
from experiments.runs.identity import FORMAT, command, config_hash, plain, spelled
from experiments.tracking import Tracker, is_published

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

MODEL = "External"
"""What run.json calls the model of a run whose lists came from elsewhere."""

NAME = "external"
"""What tables call such a run by default."""


def score(config: Config, *, choices: "Mapping[str, str]", console: "Console") -> RunFolder:
    """Score the lists of `config.lists` on the test part; lists that were scored before are not again.

    Parameters
    ----------
    config : Config
        Its `lists`, `name`, data set, protocol and seed count.
    choices : mapping of str to str
        Group -> YAML file that the configuration was composed from.
    console : Console

    Returns
    -------
    RunFolder
        Finished, as of a run.

    Raises
    ------
    PaddockError
        The name is a model's, or the lists cannot be read or measured.
    """
    key = _checked_name(config.name or NAME)
    phases = Phases()
    with phases("prepare"):
        shared = shared_data(config)
        lists = read_lists(Path(str(config.lists)), shared.data)
    run = _content(config, key, shared, lists, choices)
    path = run_path(
        config.runs_dir,
        dataset=shared.data.name,
        protocol=config.protocol.name,
        model_key=key,
        config_hash=run["config_hash"],
        seed=config.seed,
    )
    folder = RunFolder(path)
    label = f"{key} seed {config.seed}"
    with folder.lock():
        if folder.finished and not config.force:
            folder.verify(largest=LARGEST)
            console.print(f"{label}: scored before, reused ({path})", highlight=False)
        else:
            found = measurable(lists, ranking_task("test", shared, config.protocol))
            with phases("evaluate"):
                made = _evaluated(lists, found, shared)
            folder = _write(path, run, found, made, shared, phases)
        if not is_published(folder, config.tracking):
            Tracker(config.tracking, folder).finish()
    for note in folder.run["tags"].values():
        console.print(f"{label}: {note}", highlight=False, markup=False)
    console.print(f"{label}: {_best_known(folder, config)}", highlight=False)
    return folder


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name, re.ASCII):
        raise PaddockError(
            f"name={name!r:.100} names no folder: letters, digits, '.', '_' and '-', 64 at most"
        )
    if (CONF / "model" / f"{name}.yaml").exists():
        raise PaddockError(f"name={name} is a model of Paddock's: call the other system otherwise")
    return name


def _content(
    config: Config,
    key: str,
    shared: SharedData,
    lists: Lists,
    choices: "Mapping[str, str]",
) -> dict[str, Any]:
    """What run.json says of lists before they are scored."""
    model = {"name": MODEL, "lists": lists.hash}
    hashes = {**shared.hashes, "slices": definition_hash(config.protocol.slices)}
    content = plain(config) | {"model": model}
    del content["tracking"]
    return {
        "format": FORMAT,
        "dataset": shared.data.name,
        "protocol": config.protocol.name,
        "model": MODEL,
        "model_key": key,
        "config_hash": config_hash(
            model=model,
            sources={},
            hashes=hashes,
            protocol=content["protocol"],
            device="cpu",
            threads=1,
        ),
        "seed": config.seed,
        "command": _command(config, key, choices),
        "config": content,
        "hashes": hashes,
        "sources": {},
        "git": provenance.git(),
        "packages": provenance.packages(),
        "host": provenance.host(),
    }


def _command(config: Config, key: str, choices: "Mapping[str, str]") -> str:
    """The command of a run on the same data and protocol, with the lists in the place of its model."""
    words = shlex.split(command(config, choices=choices))
    kept = [word for word in words if not re.match(r"~?model[.=]", word)]
    asked = [f"lists={spelled(str(config.lists))}", f"name={spelled(key)}"]
    return shlex.join([*kept, "mode=score", *asked])


def _evaluated(lists: Lists, found: Measurable, shared: SharedData) -> Evaluation:
    targets = shared.split.targets("test")
    return evaluate(ListScorer(lists, targets=targets, n_items=shared.data.n_items), found.task)


def _best_known(folder: RunFolder, config: Config) -> str:
    """The metric that selects models, or the first that the lists could be measured by."""
    metrics = folder.result["metrics"]
    name = f"test/{config.protocol.valid_metric}"
    name = name if name in metrics else next(iter(metrics))
    return f"{name} {metrics[name]:.4f}"


def _write(
    path: Path,
    run: dict[str, Any],
    found: Measurable,
    made: Evaluation,
    shared: SharedData,
    phases: Phases,
) -> RunFolder:
    from omegaconf import OmegaConf

    said = "; ".join(("lists of another system", *found.notes))
    write_text(path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(run["config"])))
    folder = RunFolder.create(path, {**run, "tags": {f"{NOTE}lists": said}, "params_trained": None})
    with atomic_path(path / "per_user.parquet") as temporary:
        made.per_user.write_parquet(temporary)
    folder.finish(
        {
            "metrics": {f"test/{name}": value for name, value in made.aggregates.items()},
            "unseen": {"test": shared.split.unseen("test")._asdict()},
            "reused_seconds": 0.0,
            "phases": phases.measured,
            "best_epoch": None,
            "epochs": 0,
            "users": made.n_users,
            "scoring_ms_per_user": None,
        }
    )
    return folder
