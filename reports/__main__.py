"""python -m reports dataset=ml-100k protocol=loo: a report from the tracking store."""

import sys
import time
from pathlib import Path

from experiments.failures import answering
from experiments.passwords import guarded_output
from reports.options import Options, parse, usage


@guarded_output()
def main() -> None:
    """Make the report that sys.argv asks for."""
    overrides = sys.argv[1:]
    with answering():
        if {"--help", "-h"} & set(overrides):
            print(usage())
            return
        _report(parse(overrides))


def _report(options: Options) -> None:
    begin = time.perf_counter()
    # Importing what draws takes seconds, which a misspelt key must not cost.
    from reports.plugins import load
    from reports.read import read
    from reports.render import files
    from reports.summarise import summarise
    from reports.write import write_folder

    load(options.plugins)
    source = read(options)
    summary = summarise(source, options)
    folder = Path(options.out) / options.folder
    write_folder(folder, files(summary))
    print(
        f"{folder / 'index.html'}: {len(summary.rows)} rows from {len(source.runs)} runs, "
        f"{len(summary.left_out)} left out, {time.perf_counter() - begin:.1f} s"
    )


if __name__ == "__main__":
    main()
