"""Where the parts of Paddock lie: in a checkout, or in the installed package."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages."""

IN_CHECKOUT = (ROOT / "pyproject.toml").is_file()

SHARE = ROOT if IN_CHECKOUT else ROOT / "paddock" / "share"
"""What is no code: conf/ and datasets/tiny/."""

CONF = SHARE / "conf"
MODELS = ROOT / "models"


def program(name: str) -> list[str]:
    """How a person calls run, tune, report or ui here.

    Parameters
    ----------
    name : str
        "run", "tune", "report" or "ui".

    Returns
    -------
    list of str
        ["python", "run.py"] in a checkout, ["paddock", "run"] elsewhere.
    """
    if not IN_CHECKOUT:
        return ["paddock", name]
    modules = {"report": ["reports"], "ui": ["paddock", "ui"]}
    return ["python", "-m", *modules[name]] if name in modules else ["python", f"{name}.py"]


def launched(name: str, processes: int) -> list[str]:
    """How a person calls run with so many processes that train one run.

    Parameters
    ----------
    name : str
        "run".
    processes : int
        One is called without torchrun.

    Returns
    -------
    list of str
        ["torchrun", "--standalone", "--nproc-per-node", "2", "run.py"] in a checkout.
    """
    if processes == 1:
        return program(name)
    torchrun = ["torchrun", "--standalone", "--nproc-per-node", str(processes)]
    return [*torchrun, f"{name}.py"] if IN_CHECKOUT else [*torchrun, "-m", "paddock", name]
