"""A served run under load, RecBole's answer to one request, and lists for a million users.

    python -m benchmarks.serving [--dataset ml-1m] [--rate 50] [--seconds 20] [--workers 1,2]
    python -m benchmarks.serving --only batch [--users N] [--items N] [--budget S]

**Load.** SASRec is trained for one epoch (its weights do not matter here), `mode=serve` runs it in processes of one
thread, and this process asks it: users of the data set and new histories by turns, k = 10. At a fixed
rate requests are sent when they are due, whatever is still on its way, and a request's time counts from the moment that it
was due; then eight connections ask without pause, for the requests a second that there is room for. The asking
process shares the machine.

**RecBole.** `full_sort_topk` of `recbole.utils.case_study` for one user, in process and without HTTP: RecBole's own
data set and loader, SASRec of the same sizes with fresh weights.

**Batch.** `user=all` over generated factors of width 64: 1,000,000 users of 20 items on average, 100,000 items, a Parquet file of
20 items a user. After `--budget` seconds the users that are done are scaled up to all of them, which the file says; what a
process holds does not grow with the users that are done.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from benchmarks.data import data_folder, overrides
from benchmarks.measure import machine, peak_megabytes
from benchmarks.process import ROOT, one_thread, python_output
from experiments.files import write_json
from experiments.runs.provenance import packages

OUT = Path(__file__).resolve().parent / "out" / "serving.json"
K = 10
CONNECTIONS = 8
WIDTH, LISTED, MEAN_ITEMS = 64, 20, 20
"""Of the generated factors, of a list, and of a history."""

Ask = Callable[[int], dict[str, Any]]


class _Enough(Exception):
    """The budget is used up."""


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds.

    Parameters
    ----------
    seconds : sequence of float
        Of requests.
    """
    found = np.percentile(np.asarray(seconds) * 1e3, (50, 95, 99))
    return dict(
        zip(("p50_ms", "p95_ms", "p99_ms"), (round(float(x), 2) for x in found), strict=True)
    )


@contextmanager
def served(folder: Path, *, workers: int) -> Iterator[str]:
    """The address of `mode=serve` over a run, in processes of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = (
        f"run_id={folder}",
        f"serve.port={port}",
        f"serve.workers={workers}",
        "serve.feedback=null",
    )
    process = subprocess.Popen(
        [sys.executable, "run.py", "mode=serve", "tracking=off", *words],
        cwd=ROOT,
        env=one_thread(),
        stdout=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(address: str, process: subprocess.Popen[bytes], seconds: float = 120.0) -> None:
    import httpx

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}")
        with suppress(httpx.TransportError):
            if httpx.get(f"{address}/healthz").status_code == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the service did not answer in {seconds:.0f} s")


async def at_rate(address: str, ask: Ask, *, rate: float, seconds: float) -> list[float]:
    """Seconds of requests that are sent when they are due, from that moment to their answer."""
    import httpx

    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        begin = time.perf_counter()

        async def one(number: int) -> float:
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            (await client.post("/recommend", json=ask(number))).raise_for_status()
            return time.perf_counter() - due

        return list(await asyncio.gather(*(one(number) for number in range(int(rate * seconds)))))


async def without_pause(address: str, ask: Ask, *, seconds: float) -> float:
    """Requests a second of connections that ask again as soon as they are answered."""
    import httpx

    end = time.perf_counter() + seconds
    count = 0

    async def connection(number: int) -> None:
        nonlocal count
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            while time.perf_counter() < end:
                (await client.post("/recommend", json=ask(number))).raise_for_status()
                number += CONNECTIONS
                count += 1

    await asyncio.gather(*(connection(number) for number in range(CONNECTIONS)))
    return count / seconds


def load(dataset: str, *, rate: float, seconds: float, workers: Sequence[int]) -> dict[str, Any]:
    """The service under load, by the number of its processes."""
    from paddock import api

    with TemporaryDirectory() as root:
        words = (
            "model=sasrec",
            *overrides(dataset),
            "model.epochs=1",
            "tracking=off",
            "device=cpu",
        )
        run = api.run(*words, root=root)
        data = run.recommender().data
        rng = np.random.default_rng(0)
        users = rng.integers(1, data.n_users + 1, 1000)
        histories = rng.integers(1, data.n_items + 1, (1000, 20))

        def ask(number: int) -> dict[str, Any]:
            place = number % 1000
            if number % 2:
                history = [data.item_tokens[item] for item in histories[place]]
                return {"history": history, "k": K}
            return {"user": data.user_tokens[users[place]], "k": K}

        found = []
        for count in workers:
            with served(run.folder, workers=count) as address:
                asyncio.run(at_rate(address, ask, rate=20, seconds=3))  # warm
                taken = asyncio.run(at_rate(address, ask, rate=rate, seconds=seconds))
                most = asyncio.run(without_pause(address, ask, seconds=seconds))
            found.append(
                {
                    "workers": count,
                    "rate": rate,
                    "requests": len(taken),
                    **percentiles(taken),
                    "requests_a_second": round(most, 1),
                }
            )
        return {"dataset": dataset, "items": data.n_items, "served": found}


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
