"""One training in one process and in several: seconds of an epoch, and their ratio.

    python -m benchmarks.processes [--processes 2] [--epochs 4] [--device cpu] [--json FILE] model=sasrec dataset=ml-100k

Each trains the same command in folders of its own, on prepared data. The first epoch, which warms up, is
left out; the median of the others counts, validation excluded.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.process import ONE_THREAD, ROOT
from experiments.runs.folder import find_runs


def epoch_seconds(processes: int, overrides: list[str], runs_dir: Path) -> float:
    """The median seconds of an epoch after the first.

    Parameters
    ----------
    processes : int
        That train together; one is called without torchrun.
    overrides : list of str
        Of the command.
    runs_dir : Path
        A folder without runs.

    Raises
    ------
    RuntimeError
        If the command fails; with the end of its messages.
    """
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    asked = [sys.executable, *(several if processes > 1 else []), "run.py", *overrides]
    done = subprocess.run(
        [*asked, f"runs_dir={runs_dir}"],
        cwd=ROOT,
        env=os.environ | ONE_THREAD,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{processes} processes ended with an error:\n{done.stderr[-3000:]}")
    (run,) = find_runs(runs_dir, finished=True)
    return statistics.median(record["seconds"] for record in run.curve[1:-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("overrides", nargs="+")
    given = parser.parse_args()
    if given.processes < 2 or given.epochs < 3:
        parser.error("two processes and three epochs are the least")
    overrides = [
        *given.overrides,
        "tracking=off",
        "progress=false",
        f"device={given.device}",
        f"model.epochs={given.epochs}",
        # The last epoch alone is validated, and not counted.
        f"model.eval_step={given.epochs}",
    ]
    seconds = {}
    for processes in (1, given.processes):
        with TemporaryDirectory(prefix="paddock-") as folder:
            seconds[processes] = epoch_seconds(processes, overrides, Path(folder))
        print(f"{processes} processes: {seconds[processes]:.3f} s an epoch", flush=True)
    ratio = seconds[1] / seconds[given.processes]
    print(f"{given.processes} processes train {ratio:.2f} times as fast as one")
    if given.json is not None:
        content = {
            "overrides": given.overrides,
            "device": given.device,
            "epoch_seconds": seconds,
            "ratio": ratio,
        }
        given.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
