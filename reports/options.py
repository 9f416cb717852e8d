"""What a report is asked for: KEY=VALUE overrides, as run.py takes them."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from experiments.address import TRACKING_URI, from_environment
from experiments.passwords import concealed
from reports.errors import ReportError


@dataclass(frozen=True, kw_only=True)
class Options:
    """What one report is asked for.

    Attributes
    ----------
    experiment : str
        "main" is the MLflow experiment <dataset>/<protocol>; another name, <dataset>/<protocol>/<name>.
    name : str
        The folder of the report in `out`; "" makes one of the data set and the protocol.
    slice : str
        "items_cold" and the like: the report is of that slice of the test alone; "" is of all.
    metrics : tuple of str
        Columns such as "full/ndcg_at_10"; none given, Hit and NDCG of every ranking.
    models : tuple of str
        The models that the report is of, by their configuration names; none given, all of them.
    refit : str
        "none": of the models that were trained on the training part alone; "valid": of those that were
        trained on the valid part too. The others stand in a table of their own.
    baselines : tuple of str
        The models that a gain is relative to the best of; none given, all the others.
    configurations : str
        "best" shows of each model the configuration with the best valid metric, "all" shows all.
    alpha : float
        The level of significance, and 1 minus that of the intervals.
    dirty : bool
        Whether runs of uncommitted code count.
    interactive : bool
        Whether figures answer to the mouse, which adds 2 MB to the file.
    plugins : tuple of str
        Folders and packages that bring sections of the page, as run.py takes them.
    tracking_uri : str
        The store. `parse` takes it from the environment variable MLFLOW_TRACKING_URI where the
        command does not name one.
    """

    experiment: str = "main"
    dataset: str = "ml-100k"
    protocol: str = "loo"
    slice: str = ""
    name: str = ""
    out: str = "reports/out"
    metrics: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    refit: str = "none"
    baselines: tuple[str, ...] = ()
    configurations: str = "best"
    alpha: float = 0.05
    dirty: bool = False
    interactive: bool = True
    plugins: tuple[str, ...] = ()
    tracking_uri: str = "sqlite:///mlflow.db"

    @property
    def command(self) -> str:
        """What makes this report again, the store aside."""
        words = [f"{name}={getattr(self, name)}" for name in ("experiment", "dataset", "protocol")]
        words += [f"slice={self.slice}"] if self.slice else []
        words += [f"models=[{','.join(self.models)}]"] if self.models else []
        words += [f"refit={self.refit}"] if self.refit != "none" else []
        return " ".join(["python -m reports", *words])

    @property
    def experiment_name(self) -> str:
        """The name of the MLflow experiment."""
        base = f"{self.dataset}/{self.protocol}"
        return base if self.experiment == "main" else f"{base}/{self.experiment}"

    @property
    def folder(self) -> str:
        """The name of the report's folder."""
        within = f"{self.experiment_name}/{self.slice}" if self.slice else self.experiment_name
        return self.name or within.replace("/", "-")


_KEYS = {field.name.replace("tracking_", "tracking."): field for field in fields(Options)}
_CHOICES = {"configurations": ("best", "all"), "refit": ("none", "valid")}


def usage() -> str:
    """The text of --help: the keys and their defaults."""
    lines = ["python -m reports dataset=ml-100k protocol=loo", ""]
    for key, field in _KEYS.items():
        default = "[]" if field.default == () else str(field.default)
        default = default.lower() if isinstance(field.default, bool) else default
        lines.append(f"  {key}={default}")
    return "\n".join(lines)


def parse(overrides: Sequence[str]) -> Options:
    """Options from KEY=VALUE overrides.

    Parameters
    ----------
    overrides : sequence of str
        Such as ["dataset=ml-100k", "metrics=[full/ndcg@10]"].

    Raises
    ------
    ReportError
        An unknown key or an impossible value.
    """
    store = from_environment(TRACKING_URI, Options.tracking_uri)
    given: dict[str, Any] = {"tracking_uri": store}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ReportError(f"{override}: give KEY=VALUE, as in dataset=ml-100k")
        if key not in _KEYS:
            raise ReportError(f"{key}: there is no such key; {nearest(key, list(_KEYS))}")
        field = _KEYS[key]
        given[field.name] = _value(key, text, field.default)
    given["tracking_uri"] = concealed(given["tracking_uri"])
    options = Options(**given)
    _check(options)
    return options


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint naming the nearest known name, or the names to choose from."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(sorted(known))}"


def _value(key: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise ReportError(f"{key}={text}: give true or false")
        return text == "true"
    if isinstance(default, float):
        try:
            return float(text)
        except ValueError:
            raise ReportError(f"{key}={text}: give a number, such as {default}") from None
    if isinstance(default, tuple):
        inner = text.removeprefix("[").removesuffix("]")
        return tuple(part.strip() for part in inner.split(",") if part.strip())
    return text


def _check(options: Options) -> None:
    if not 0 < options.alpha < 1:
        raise ReportError(f"alpha={options.alpha} must be above 0 and below 1")
    for key, choices in _CHOICES.items():
        if (given := getattr(options, key)) not in choices:
            raise ReportError(f"{key}={given}: {nearest(given, choices)}")
    for key in ("experiment", "dataset", "protocol", "out"):
        if not getattr(options, key):
            raise ReportError(f"{key} is empty: give a name, as in {key}={_KEYS[key].default}")
    if not re.fullmatch(r"\w[\w.-]*", options.folder):
        raise ReportError(
            f"name={options.folder} names a folder: use letters, digits, '_', '-' and '.'"
        )
