"""python -m benchmarks.peers: other libraries against ours."""

import argparse
from pathlib import Path

import benchmarks.peers as peers
from benchmarks.data import LARGER
from benchmarks.peers.cases import DEFAULT_KINDS, KINDS
from benchmarks.peers.table import RESULTS, markdown
from experiments.files import read_json


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=peers.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", default="ml-100k", choices=("ml-100k", *LARGER, "tiny"))
    parser.add_argument("--kinds", default=",".join(DEFAULT_KINDS), help="some of the kinds")
    parser.add_argument("--libraries", help="some of the libraries; by default all")
    parser.add_argument("--rounds", type=int, default=peers.ROUNDS)
    parser.add_argument("--seconds", type=float, default=peers.SECONDS, help="CPU seconds a turn")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="one short round on the tiny data set")
    parser.add_argument("--show", action="store_true", help="print kept results as Markdown")
    given = parser.parse_args()
    if given.show:
        print(markdown(read_json(path) for path in sorted(given.out.glob("*.json"))), end="")
        return
    kinds = given.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"unknown kind {', '.join(sorted(unknown))}: choose from {', '.join(KINDS)}")
    peers.measure(
        "tiny" if given.quick else given.data,
        kinds,
        rounds=1 if given.quick else given.rounds,
        seconds=3.0 if given.quick else given.seconds,
        libraries=given.libraries and given.libraries.split(","),
        out=given.out,
    )


if __name__ == "__main__":
    main()
