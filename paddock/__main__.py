"""The console command: paddock run|tune|report|talk|doctor."""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

COMMANDS = {
    "run": ("experiments.commands.run", "train and score a model, or a grid of them (run.py)"),
    "tune": ("experiments.tuning.cli", "tune a model's hyper-parameters (tune.py)"),
    "report": ("reports.__main__", "compare tracked runs, with significance (python -m reports)"),
    "ui": ("experiments.commands.ui", "open MLflow at the leaderboard (make ui)"),
    "talk": (
        "experiments.commands.talk_page",
        "open the page that talks about a data set (make talk)",
    ),
    "doctor": ("experiments.commands.doctor", "what is installed here, and what is missing"),
}
"""Command -> the module whose `main` it calls, and a line of help."""

EXAMPLES = """\
examples:
  paddock run model=sasrec dataset=ml-100k seed=3
  paddock run -m model=pop,bpr,sasrec seed=1,2,3
  paddock tune model=sasrec dataset=ml-100k study.n_trials=30
  paddock report dataset=ml-100k
  paddock COMMAND --help"""


def main() -> None:
    """Call the command that sys.argv names, with the rest of its arguments."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return
    if arguments[0] in ("-V", "--version"):
        print(f"paddock {_version()}")
        return
    name = arguments[0]
    if name not in COMMANDS:
        print(f"error: paddock {name}: there is no such command\n\n{usage()}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"paddock {name}", *arguments[1:]]
    command: Callable[[], None] = import_module(COMMANDS[name][0]).main
    command()


def usage() -> str:
    """The help text."""
    lines = [f"  {name:<8}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: paddock COMMAND [ARGUMENTS]", "", *lines, "", EXAMPLES])


def _version() -> str:
    try:
        return version("paddock")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
