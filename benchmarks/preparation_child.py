"""One preparation in a process of its own: SIDE FOLDER OUT; it prints a line of JSON."""

import importlib
import json
import sys
import time
from pathlib import Path

from benchmarks.measure import peak_megabytes


def recbole(folder: Path, out: Path) -> tuple[float, list[int]]:
    """RecBole's Dataset of the interactions, built into leave-one-out parts."""
    # It lets RecBole find the names that numpy 2 dropped, and must come first.
    importlib.import_module("models")
    from recbole.config import Config
    from recbole.data import create_dataset

    # RecBole reads the command line too.
    sys.argv = sys.argv[:1]
    config = Config(
        model="BPR",
        dataset=folder.name,
        config_dict={
            "data_path": str(folder.parent),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": {
                "split": {"LS": "valid_and_test"},
                "order": "TO",
                "group_by": "user",
                "mode": "full",
            },
            "checkpoint_dir": str(out),
            "show_progress": False,
            "state": "ERROR",
        },
    )
    started = time.perf_counter()
    parts = create_dataset(config).build()
    return time.perf_counter() - started, [len(part) for part in parts]


def paddock(folder: Path, out: Path) -> tuple[float, list[int]]:
    """Our prepared data set and its leave-one-out split."""
    from experiments.config.schema import DatasetConfig, ProtocolConfig
    from experiments.data.prepare import prepare
    from experiments.protocol.split import TEST, TRAIN, VALID, split_interactions

    started = time.perf_counter()
    data = prepare(DatasetConfig(source=str(folder)), data_dir=out)
    split = split_interactions(data, ProtocolConfig(name="loo", split="loo"))
    seconds = time.perf_counter() - started
    return seconds, [int((split.part == part).sum()) for part in (TRAIN, VALID, TEST)]


def main() -> None:
    side, folder, out = sys.argv[1:4]
    run = {"recbole": recbole, "paddock": paddock}[side]
    seconds, parts = run(Path(folder), Path(out))
    print(json.dumps({"seconds": seconds, "parts": parts, "megabytes": peak_megabytes()}))


if __name__ == "__main__":
    main()
