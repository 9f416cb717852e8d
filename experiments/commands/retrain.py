"""A served run trained again on its data and the feedback since; promoted where it is not worse.

B users of a block, N items (padding included).
"""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from experiments.bridge.scorer import RecBoleScorer
from experiments.commands.promote import promote
from experiments.commands.start import SCRATCH, cannot_start
from experiments.commands.train import run
from experiments.config.compose import given_places
from experiments.config.experiment import Experiment
from experiments.config.resolve import resolve_model
from experiments.config.schema import ColumnsConfig, Config, FiltersConfig, Mode, TextsConfig
from experiments.data.prepared import Prepared
from experiments.data.sources.find import find_sources
from experiments.errors import PaddockError
from experiments.evaluation.evaluate import evaluate
from experiments.evaluation.scores import Ints
from experiments.evaluation.scoring import ranking_task
from experiments.protocol.sequences import by_user
from experiments.protocol.shared_data import SharedData, shared_data
from experiments.runs.configuration import NOTE
from experiments.runs.folder import RunFolder
from experiments.runs.identity import GROUPS
from experiments.serving.feedback import FeedbackStore
from experiments.serving.finished import config_of, find_run
from experiments.serving.recommender import Recommender
from experiments.serving.versions import Version, with_feedback
from experiments.tracking.publishing import publish
from experiments.training.warm import places_of

if TYPE_CHECKING:
    from rich.console import Console

IN_TIME = ("loo", "temporal")
"""Splits whose tests of a version are later than all that its parent's model was trained on."""


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """What came of a training on feedback.

    Attributes
    ----------
    version : Version
        The data set with the feedback.
    folder : RunFolder
        The run on it.
    metric : str
        By which both were compared, on the version's test part.
    before, after : float
        Of the served model and of the new one.
    """

    version: Version
    folder: RunFolder
    metric: str
    before: float
    after: float

    @property
    def worse(self) -> bool:
        """Whether the new model is worse, and is not promoted."""
        return not self.after >= self.before


def retrain(config: Config, *, console: "Console") -> Retrained:
    """Train a run's configuration again on a version of its data with feedback, and compare both.

    Both are scored on the test part of the version: the same users, targets, histories and candidates. The
    new model starts from the served weights where it can. Where it is not worse, and there is a tracking store, it is
    promoted. The decision, with all metrics of the served model, is kept in the new run's run.json.

    Parameters
    ----------
    config : Config
        Its `run_id`, `serve.feedback`, `alias`, `runs_dir`, `data_dir` and `tracking` count.
    console : Console

    Raises
    ------
    PaddockError
        There is no such run, no feedback that speaks for an item, or the split would show the served model
        the test.
    """
    served = find_run(str(config.run_id), runs_dir=config.runs_dir)
    own = config_of(served)
    if own.protocol.split not in IN_TIME:
        raise PaddockError(
            f"protocol.split={own.protocol.split} of {served.path} draws a test that the served model may "
            f"have been trained on: retrain runs of the splits {' and '.join(IN_TIME)}"
        )
    before = Recommender.of(served, data_dir=config.data_dir, progress=config.progress)
    records = FeedbackStore(str(config.serve.feedback)).read()
    version = with_feedback(before.data, records, Path(config.data_dir) / "versions")
    console.print(
        f"{version.name}: {version.added} of {len(records)} answers are interactions, {version.against} "
        f"speak against their item, {version.unknown} are of unknown items",
        highlight=False,
    )
    wanted = _on_version(own, before.data, version, config)
    scratch = cannot_start(resolve_model(own.model))
    if config.warm_start == SCRATCH:
        scratch = f"warm_start={SCRATCH}"
    wanted = replace(wanted, warm_start=None if scratch else str(served.path))
    said = f"trained from scratch: {scratch}" if scratch else "trained on from the served weights"
    console.print(said, highlight=False)
    words = shlex.split(served.run["command"])
    chosen = {
        key: value for key, _, value in (word.partition("=") for word in words) if key in GROUPS
    }
    choices = {"model": served.run["model_key"], "protocol": own.protocol.name, **chosen}
    experiment = Experiment.of(wanted, {**choices, "dataset": "atomic"}, given_places(words))
    folder = run(experiment, console=console, bars=config.progress)
    metric = f"test/{own.protocol.valid_metric}"
    served_metrics = _of_served(before, shared_data(wanted), wanted)
    made = Retrained(
        version=version,
        folder=folder,
        metric=metric,
        before=served_metrics[metric],
        after=folder.result["metrics"][metric],
    )
    console.print(
        f"{metric} on {version.name}: served {made.before:.4f}, trained again {made.after:.4f}",
        highlight=False,
    )
    refused = None
    if made.worse:
        refused = "it is worse than the served one"
    elif config.tracking.uri is None:
        refused = "tracking.uri is null"
    else:
        # Compared on the same test already; the valid parts of two versions do not compare.
        asked = replace(config, run_id=str(folder.path), force=True)
        promote(asked, console=console, name=f"{served.run['dataset']}-{own.protocol.name}")
    if refused is not None:
        console.print(f"not promoted: {refused}", highlight=False)
    decision = {
        "served": {"folder": str(served.path), "run_id": before.origin.run_id},
        "metric": metric,
        "served_metrics": served_metrics,
        "promoted": refused is None,
        "reason": refused or "it is not worse",
    }
    _keep(decision, made, config)
    return made


def _texts_of(own: Config, data: Prepared, asked: Config) -> dict[str, Any]:
    """The texts of the parent, which stay in their file."""
    if data.texts_hash is None:
        return {}
    file = find_sources(own.dataset, data_dir=Path(asked.data_dir), progress=False).texts
    return {
        "files": replace(own.dataset.files, texts=str(file)),
        "texts": TextsConfig(**data.manifest["texts"]["columns"]),
    }


def _keep(decision: dict[str, Any], made: Retrained, config: Config) -> None:
    """Write what was decided into the new run, whose tables then show it, and send it to the store."""
    folder = made.folder
    words = (
        f"{'promoted' if decision['promoted'] else 'not promoted'}: {made.metric} {made.after:.4f}, of the "
        f"served model {made.before:.4f}"
    )
    with folder.lock():
        tags = folder.run["tags"] | {f"{NOTE}retrained": words}
        folder.update(decision=decision, tags=tags)
        publish(folder, config.tracking)


def _on_version(own: Config, data: Prepared, version: Version, asked: Config) -> Config:
    """The configuration of the served run, on the version."""
    dataset = replace(
        own.dataset,
        name=version.name,
        source=str(version.folder),
        format="atomic",
        prefix=None,
        checksum=None,
        columns=ColumnsConfig(
            user="user_id",
            item="item_id",
            time=None if data.timestamps is None else "timestamp",
            rating=None if data.ratings is None else "rating",
        ),
        # The parent was filtered; what was answered since counts as it is.
        filters=FiltersConfig(),
        **_texts_of(own, data, asked),
    )
    return replace(
        own,
        mode=Mode.run,
        dataset=dataset,
        tracking=asked.tracking,
        runs_dir=asked.runs_dir,
        data_dir=asked.data_dir,
        progress=asked.progress,
        force=False,
    )


def _of_served(before: Recommender, shared: SharedData, config: Config) -> dict[str, float]:
    """The served model's metrics on the version's test."""
    task = ranking_task("test", shared, config.protocol)
    made = evaluate(ServedScorer(before, shared), replace(task, catalogue=None, slicing=None))
    return {f"test/{name}": value for name, value in made.aggregates.items()}


class ServedScorer:
    """Scores of a model by the ids of a version of its data; it reads what is known there of its users.

    Somebody whom the model does not know has equal scores, which count in expectation.

    Parameters
    ----------
    served : Recommender
        Of the run on the parent.
    shared : SharedData
        Of the version, which has the parent's items.
    """

    full = True

    def __init__(self, served: Recommender, shared: SharedData) -> None:
        self._old_user = places_of(shared.data.user_tokens, served.data.user_tokens)
        self._old_item = places_of(shared.data.item_tokens, served.data.item_tokens)
        known = shared.split.history("test")
        users = self._old_user[known.row_of_item()]
        items = self._old_item[known.items].astype(np.int32)
        order = np.argsort(users, kind="stable")
        order = order[(users > 0)[order]]
        history = by_user(users[order], items[order], served.data.n_users)
        self._scorer: RecBoleScorer = served.scorer_of(history)

    def score(self, users_B: Ints) -> torch.Tensor:
        """Scores of all items, (B, N)."""
        old_B = self._old_user[users_B]
        scores_BN = self._scorer.score(np.maximum(old_B, 1))[:, self._old_item].clone()
        scores_BN[torch.from_numpy(old_B == 0)] = 0.0
        return scores_BN
