"""A tracking store full of runs that nobody trained, in the form in which Paddock tracks them.

Per-user values are drawn: a model's quality, a user's own luck that all models share, and noise. The
better model is hence known, which the tests of the report use, and so is how many runs there are,
which its benchmark does.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

BEGUN = 1_750_000_000_000
"""Milliseconds since 1970: when the first run began."""

HASHES = {
    "paddock.dataset_hash": "d" * 64,
    "paddock.split_hash": "5" * 64,
    "paddock.candidates_c20_test_hash": "c" * 64,
    "paddock.slices_hash": "e" * 64,
}
RANKINGS = {"full": (1, 5, 10, 20), "c20": (1, 5, 10)}
SLICES = ("items_cold", "items_warm", "users_cold", "users_warm")


@dataclass(frozen=True, kw_only=True)
class Fake:
    """One run to make up.

    Attributes
    ----------
    quality : float
        The probability of a hit at the largest cut-off of the full ranking.
    tags, params : dict
        Beside, or instead of, the usual ones; a tag of None is left out.
    per_user : bool
        Whether the table of users is logged.
    members : bool
        Whether it tells who is in which slice.
    scored : bool
        Whether it could score the test part.
    """

    model: str
    seed: int = 1
    config: str = "a"
    quality: float = 0.3
    seconds: float = 10.0
    status: str = "FINISHED"
    epochs: int = 5
    users: int = 200
    tags: Mapping[str, str | None] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    per_user: bool = True
    slices: Sequence[str] = SLICES
    members: bool = True
    scored: bool = True

    @property
    def config_hash(self) -> str:
        return hashlib.sha256(f"{self.model} {self.config}".encode()).hexdigest()


def client_of(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def make_store(
    folder: Path, fakes: Sequence[Fake], *, experiment: str = "ml-100k/loo", uri: str | None = None
) -> str:
    """Log the runs into `folder`/mlflow.db, or to the store at `uri`; returns the address."""
    uri = uri or f"sqlite:///{folder / 'mlflow.db'}"
    client = client_of(uri)
    found = client.get_experiment_by_name(experiment)
    location = None if uri.startswith("http") else (folder / "artifacts" / experiment).as_uri()
    experiment_id = (
        found.experiment_id
        if found is not None
        else client.create_experiment(experiment, artifact_location=location)
    )
    for place, fake in enumerate(fakes):
        _log(client, experiment_id, fake, BEGUN + 60_000 * place)
    return uri


def make_study(
    uri: str,
    model: str,
    *,
    trials: int,
    seconds: float | None = None,
    epochs: int | None = None,
    timeout: float | None = None,
    experiment: str = "ml-100k/loo",
) -> str:
    """Log a study whose value depends on the learning rate alone; returns its name.

    `seconds` and `epochs` are those of each trial, `timeout` the seconds that limited the study.
    """
    from mlflow.entities import Metric, Param

    client, name = client_of(uri), f"{experiment}/{model}"
    found = client.get_experiment_by_name(f"{experiment}/hpo")
    where = found.experiment_id if found else client.create_experiment(f"{experiment}/hpo")
    space = {
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "hidden_size": {"choices": [32, 64, 128]},
    }
    tags = {"paddock.study": name, "paddock.kind": "study"}
    if timeout is not None:
        tags["paddock.timeout"] = str(timeout)
    took = {"seconds": seconds, "epochs": epochs}
    study = client.create_run(where, run_name=model, tags=tags)
    client.log_batch(
        study.info.run_id,
        metrics=[Metric("trials/complete", trials - 1, 0, 0), Metric("trials/pruned", 1, 0, 0)],
        params=[Param(f"search.{key}", json.dumps(values)) for key, values in space.items()],
    )
    rng = np.random.default_rng(trials)
    for number in range(trials):
        exponent = rng.uniform(-4, -1)
        trial = client.create_run(
            where,
            run_name=f"trial {number}",
            tags={
                "paddock.kind": "trial",
                "paddock.study": name,
                "paddock.state": "pruned" if number == trials - 1 else "complete",
            },
        )
        client.log_batch(
            trial.info.run_id,
            metrics=[
                Metric("valid/full/ndcg_at_10", -((exponent + 2.5) ** 2), 0, 0),
                *(Metric(key, value, 0, 0) for key, value in took.items() if value is not None),
            ],
            params=[
                Param("learning_rate", str(10**exponent)),
                Param("hidden_size", str(rng.choice([32, 64, 128]))),
            ],
        )
        client.set_terminated(trial.info.run_id)
    client.set_terminated(study.info.run_id)
    return name


def values_of(fake: Fake) -> dict[str, np.ndarray]:
    """A value for every user and metric, by column: (users,) each."""
    luck = np.random.default_rng(7).random(fake.users)
    digest = hashlib.sha256(f"{fake.config_hash} {fake.seed}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:4]))
    rank = np.floor(20 * (0.6 * luck + 0.4 * rng.random(fake.users)) ** 1.2 / fake.quality * 0.6)
    columns: dict[str, np.ndarray] = {}
    for ranking, cutoffs in RANKINGS.items():
        among = rank if ranking == "full" else np.floor(rank / 5)
        for cutoff in cutoffs:
            inside = among < cutoff
            columns[f"{ranking}/hit_at_{cutoff}"] = inside.astype(float)
            columns[f"{ranking}/ndcg_at_{cutoff}"] = inside / np.log2(among + 2)
            columns[f"{ranking}/recall_at_{cutoff}"] = inside.astype(float)
            columns[f"{ranking}/precision_at_{cutoff}"] = inside / cutoff
            columns[f"{ranking}/mrr_at_{cutoff}"] = inside / (among + 1)
            columns[f"{ranking}/map_at_{cutoff}"] = inside / (among + 1)
    return columns


def members_of(fake: Fake) -> dict[str, np.ndarray]:
    """Whether each user is in a slice, by the slice's column: (users,) each."""
    turn = np.arange(fake.users) % max(1, len(fake.slices))
    return {f"slice/{part}": turn == place for place, part in enumerate(fake.slices)}


def _log(client: Any, experiment_id: str, fake: Fake, begun: int) -> None:
    from mlflow.entities import Metric, Param, RunTag

    values = values_of(fake)
    members = members_of(fake)
    means = {name: float(column.mean()) for name, column in values.items()}
    ended = begun + round(1000 * fake.seconds)
    numbers: dict[str, float] = {}
    for name, mean in means.items():
        numbers |= {f"test/{name}": mean, f"valid/{name}": mean}
        numbers |= {
            f"test/{part}/{name}": float(values[name][among].mean())
            for part, among in members.items()
        }
    for part, among in members.items():
        numbers |= {f"test/{part}/{what}": float(among.sum()) for what in ("targets", "users")}
    for phase in ("prepare", "train", "evaluate"):
        numbers[f"time/{phase}_seconds"] = fake.seconds if phase == "train" else 0.1
        numbers[f"memory/{phase}_peak_mb"] = 500.0 + fake.seconds
    numbers |= {"params_trained": 1000.0 * len(fake.model), "scoring_ms_per_user": 0.05}
    if not fake.scored:
        values = {}
        numbers = {name: each for name, each in numbers.items() if not name.startswith("test/")}
    points = [Metric(name, value, ended, fake.epochs) for name, value in numbers.items()]
    selecting = means["full/ndcg_at_10"]
    for epoch in range(fake.epochs):
        share = (epoch + 1) / fake.epochs
        points.append(Metric("train/loss", 1 / (epoch + 1), begun, epoch))
        points.append(Metric("valid/full/ndcg_at_10", selecting * share**0.5, begun, epoch))
    tags = {
        "paddock.kind": "run",
        "paddock.config_hash": fake.config_hash,
        "paddock.seed": str(fake.seed),
        "paddock.command": f"python run.py model={fake.model} seed={fake.seed}",
        "paddock.model": fake.model.upper(),
        "paddock.model_key": fake.model,
        "paddock.dirty": "false",
        "mlflow.source.git.commit": "a" * 40,
        **HASHES,
        **fake.tags,
    }
    params = {
        "model.name": fake.model.upper(),
        "model.learning_rate": "0.001",
        "protocol.valid_metric": "full/ndcg_at_10",
        "protocol.rankings.full.candidates": "null",
        "protocol.rankings.c20.candidates": "20",
        "seed": str(fake.seed),
        **fake.params,
    }
    run = client.create_run(
        experiment_id,
        start_time=begun,
        run_name=f"{fake.model} seed {fake.seed}",
        tags={key: value for key, value in tags.items() if value is not None},
    )
    client.log_batch(
        run.info.run_id,
        metrics=points[:1000],
        params=[Param(key, value) for key, value in params.items()],
        tags=[RunTag("paddock.made", "up")],
    )
    if fake.per_user and fake.status == "FINISHED":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "per_user.parquet"
            users = np.arange(1, fake.users + 1, dtype=np.int32)
            columns = members if fake.members else {}
            pl.DataFrame({"user": users, **values, **columns}).write_parquet(path)
            client.log_artifact(run.info.run_id, str(path))
    if fake.status != "RUNNING":
        client.set_terminated(run.info.run_id, fake.status, ended)
