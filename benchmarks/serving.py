"""A served run under load, RecBole's answer to one request, and lists for a million users.

    python -m benchmarks.serving [--dataset ml-1m] [--rate 50] [--seconds 20] [--workers 1,2]
    python -m benchmarks.serving --only batch [--users N] [--items N] [--budget S]

**Load.** SASRec is trained for one epoch (its weights do not matter here) and tracked; `mode=serve` and `mlflow models
serve` run it by turns in processes of one thread, and this process asks them the same: users of the data set and new
histories by turns, k = 10. At a fixed rate requests are sent when they are due, whatever is still on its way, and a
request's time counts from the moment that it was due; then eight connections ask without pause, for the requests a second
that there is room for. The asking process shares the machine. Ratios are MLflow's times over ours, and our requests a
second over MLflow's. What the logged model adds to the run's artifacts is measured beside it.

**RecBole.** `full_sort_topk` of `recbole.utils.case_study` for one user, in process and without HTTP: RecBole's own
data set and loader, SASRec of the same sizes with fresh weights.

**Batch.** `user=all` over generated factors of width 64: 1,000,000 users of 20 items on average, 100,000 items, a Parquet file of
20 items a user. After `--budget` seconds the users that are done are scaled up to all of them, which the file says; what a
process holds does not grow with the users that are done.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks.data import data_folder, overrides
from benchmarks.measure import machine, peak_megabytes
from benchmarks.process import python_output
from benchmarks.served import Ask, measured, mlflow_server, paddock_server, percentiles
from experiments.files import write_json
from experiments.runs.provenance import packages

if TYPE_CHECKING:
    from experiments.data.prepared import Prepared

OUT = Path(__file__).resolve().parent / "out" / "serving.json"
K = 10
WIDTH, LISTED, MEAN_ITEMS = 64, 20, 20
"""Of the generated factors, of a list, and of a history."""


class _Enough(Exception):
    """The budget is used up."""


def load(dataset: str, *, rate: float, seconds: float, workers: Sequence[int]) -> dict[str, Any]:
    """The service and MLflow's server of one run under the same load, in turns, by the number of their processes."""
    from paddock import api

    with TemporaryDirectory() as root:
        uri = f"sqlite:///{root}/mlflow.db"
        words = (
            "model=sasrec",
            *overrides(dataset),
            "model.epochs=1",
            "tracking=local",
            f"tracking.uri={uri}",
            f"tracking.artifacts={root}/artifacts",
            "device=cpu",
        )
        run = api.run(*words, root=root)
        recommender = run.recommender()
        run_id = recommender.origin.run_id
        assert run_id is not None
        ask = _asked(recommender.data)
        found = []
        for count in workers:
            with paddock_server(run.folder, workers=count) as server:
                ours = measured(server, ask, rate=rate, seconds=seconds)
            with mlflow_server(run_id, uri=uri, workers=count) as server:
                theirs = measured(server, ask, rate=rate, seconds=seconds)
            found.append(
                {"workers": count, "paddock": ours, "mlflow": theirs, **_ratios(ours, theirs)}
            )
        return {
            "dataset": dataset,
            "items": recommender.data.n_items,
            "served": found,
            "logged_model": _logged(run.folder, run_id),
        }


def _asked(data: "Prepared") -> Ask:
    """Users of the data set and new histories by turns."""
    rng = np.random.default_rng(0)
    users = rng.integers(1, data.n_users + 1, 1000)
    histories = rng.integers(1, data.n_items + 1, (1000, 20))

    def ask(number: int) -> dict[str, Any]:
        place = number % 1000
        if number % 2:
            return {"history": [str(data.item_tokens[item]) for item in histories[place]], "k": K}
        return {"user": str(data.user_tokens[users[place]]), "k": K}

    return ask


def _ratios(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """How many times as long MLflow's server takes, and how many times as much the service answers."""
    return {
        "ratio_p50": round(theirs["p50_ms"] / ours["p50_ms"], 2),
        "ratio_p99": round(theirs["p99_ms"] / ours["p99_ms"], 2),
        "ratio_requests_a_second": round(
            ours["requests_a_second"] / theirs["requests_a_second"], 2
        ),
    }


def _logged(folder: Path, run_id: str) -> dict[str, float]:
    """What the model adds to the run's artifacts in MLflow, weights left out, and the CPU seconds that take it there."""
    from experiments.runs.folder import RunFolder
    from experiments.tracking.package import packaged

    seconds = []
    for _ in range(3):
        begin = time.process_time()
        with packaged(RunFolder(folder), run_id=run_id) as made:
            seconds.append(time.process_time() - begin)
            size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    return {
        "bytes": size,
        "first_cpu_seconds": round(seconds[0], 2),
        "later_cpu_seconds": round(min(seconds[1:]), 2),
    }


def recbole_side(dataset: str, *, requests: int) -> dict[str, Any]:
    """RecBole's `full_sort_topk`, one user a call, in this process."""
    import recbole
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model
    from recbole.utils.case_study import full_sort_topk

    import experiments.bridge.config  # noqa: F401  (lets RecBole run beside current packages)

    folder = data_folder(dataset) or Path(recbole.__file__).parent / "dataset_example" / dataset
    config = Config(
        model="SASRec",
        dataset=dataset,
        config_dict={
            "data_path": str(folder.parent),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "train_neg_sample_args": None,
            "eval_args": {
                "split": {"LS": "valid_and_test"},
                "order": "TO",
                "mode": "full",
                "group_by": "user",
            },
            "use_gpu": False,
            "state": "ERROR",
            "show_progress": False,
        },
    )
    made = create_dataset(config)
    train, _, test = data_preparation(config, made)
    model = get_model("SASRec")(config, train.dataset).eval()
    users = np.random.default_rng(0).integers(1, made.user_num, requests + 20)
    taken = []
    with torch.no_grad():
        for user in users:
            begin = time.perf_counter()
            full_sort_topk(np.array([user]), model, test, k=K, device=torch.device("cpu"))
            taken.append(time.perf_counter() - begin)
    return {
        **percentiles(taken[20:]),
        "requests": requests,
        "a_second": round(requests / sum(taken[20:]), 1),
    }


def batch(folder: Path, *, n_users: int, n_items: int, budget: float) -> dict[str, Any]:
    """Lists of all users by generated factors, in this process."""
    import torch

    from experiments.serving.batch import write_lists
    from experiments.serving.recommender import Recommender

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    draw = torch.Generator().manual_seed(0)
    users_UD = torch.randn(n_users + 1, WIDTH, generator=draw)
    items_DN = torch.randn(WIDTH, n_items + 1, generator=draw)
    rng = np.random.default_rng(0)
    lengths = np.concatenate(([0], rng.integers(1, 2 * MEAN_ITEMS, n_users)))
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    data = SimpleNamespace(
        n_users=n_users,
        n_items=n_items,
        indptr=indptr,
        items=rng.integers(1, n_items + 1, indptr[-1]).astype(np.int32),
        user_tokens=[f"u{user}" for user in range(n_users + 1)],
        item_tokens=[f"i{item}" for item in range(n_items + 1)],
        item_titles=[f"Title {item}" for item in range(n_items + 1)],
    )
    generated = SimpleNamespace(
        data=data, scores_of_users=lambda users_B: users_UD[torch.from_numpy(users_B)] @ items_DN
    )
    before, begin, done = peak_megabytes(), time.perf_counter(), 0

    def tick(users: int) -> None:
        nonlocal done
        done += users
        if time.perf_counter() - begin > budget and done < n_users:
            raise _Enough

    with suppress(_Enough):
        write_lists(folder / "lists.parquet", cast(Recommender, generated), k=LISTED, tick=tick)
    seconds = time.perf_counter() - begin
    return {
        "users": n_users,
        "items": n_items,
        "measured_users": done,
        "measured_seconds": round(seconds, 1),
        "seconds_of_all": round(seconds * n_users / done, 1),
        "scaled_up": done < n_users,
        "megabytes_before": round(before),
        "peak_megabytes": round(peak_megabytes()),
    }


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset", default="ml-1m", help="ml-100k, or one of PADDOCK_BENCH_DATA")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--workers", default="1,2", help="processes of the service")
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of the batch")
    parser.add_argument("--only", choices=("load", "recbole", "batch"))
    parser.add_argument("--child", choices=("recbole", "batch"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child == "recbole":
        print(json.dumps(recbole_side(given.dataset, requests=200)))
        return
    if given.child == "batch":
        size = {"n_users": given.users, "n_items": given.items, "budget": given.budget}
        with TemporaryDirectory() as folder:
            print(json.dumps(batch(Path(folder), **size)))
        return
    found: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() and given.only else {}
    same = sys.argv[1:]
    if given.only in (None, "load"):
        workers = [int(text) for text in given.workers.split(",")]
        found["load"] = load(given.dataset, rate=given.rate, seconds=given.seconds, workers=workers)
    for part in ("recbole", "batch"):
        if given.only in (None, part):
            printed = python_output(
                "-W", "ignore", "-m", "benchmarks.serving", "--child", part, *same
            )
            found[part] = json.loads(printed.splitlines()[-1])
    print(json.dumps(found, indent=2))
    write_json(OUT, {**found, "packages": packages(), "host": machine()})


if __name__ == "__main__":
    main()
