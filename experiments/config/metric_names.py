"""How a metric is called: "test/full/ndcg_at_10", its parts, how it is shown, and which value is better.

A name is <phase>/<ranking>/<metric>_at_<cut-off>, or <phase>/slice/<slice>/<ranking>/... for a part
of the targets. The phase is left out where it is clear ("full/ndcg_at_10", as in a protocol), and
the cut-off where a metric has none ("test/ratings/rmse"). MLflow takes no "@" in a name, which is
why it is stored as "_at_".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from experiments.components.registry import functions
from paddock import ListMeasure, Metric

PHASES = ("train", "valid", "test")

RATING_ERRORS = ("test/ratings/rmse", "test/ratings/mae")
"""Errors of predicted ratings, which only some models report."""

LEAKAGE = "leakage"
"""Stands in the place of a ranking where a language model completes lists of the catalogue."""

HIGHER, LOWER, NEITHER = "higher", "lower", "neither"

BETTER = {
    "rmse": LOWER,
    "mae": LOWER,
    "invalid": LOWER,
    "targets": NEITHER,
    "users": NEITHER,
}
"""What is no declared metric -> which value is the better one."""

_ABBREVIATED = ("ndcg", "mrr", "map", "rmse", "mae")
_USUAL: tuple[str, ...] = ("hit", "ndcg")
_USUAL_CUTOFF = 10


@dataclass(frozen=True, kw_only=True)
class MetricName:
    """The parts of a metric's name.

    Attributes
    ----------
    metric : str
        Such as "ndcg".
    cutoff : int or None
        The length of the list that counts; None where the metric has no cut-off.
    ranking : str
        "full" or "c20"; "ratings" for errors of ratings; "" where there is none.
    slice : str
        Such as "items_cold"; "" for all targets.
    phase : str
        "train", "valid" or "test"; "" where the name leaves it out.
    """

    metric: str
    cutoff: int | None = None
    ranking: str = ""
    slice: str = ""
    phase: str = ""

    def __str__(self) -> str:
        parts = [self.phase, *(("slice", self.slice) if self.slice else ()), self.ranking]
        metric = self.metric if self.cutoff is None else at(self.metric, self.cutoff)
        return "/".join([*filter(None, parts), metric])

    @property
    def group(self) -> str:
        """Everything but phase and metric, which the columns of a table share: "full"."""
        return "/".join(filter(None, ["slice" if self.slice else "", self.slice, self.ranking]))

    @property
    def better(self) -> str:
        """Which value is the better one: "higher", "lower" or "neither"."""
        declared = functions(ListMeasure).get(self.metric) or functions(Metric).get(self.metric)
        if declared is not None:
            return str(declared.declaration.better)
        return BETTER.get(self.metric, HIGHER)

    @property
    def is_accuracy(self) -> bool:
        """Whether it is a metric of a whole ranking that a model is compared by.

        Metrics beyond accuracy, of slices, of generated answers and of probes are not.
        """
        return (
            self.phase in ("", "test")
            and self.cutoff is not None
            and not self.slice
            and "/" not in self.ranking
            and self.ranking not in ("", LEAKAGE)
            and self.metric not in functions(ListMeasure)
        )


def at(metric: str, cutoff: int) -> str:
    """The stored name of a metric at a cut-off: "ndcg_at_10".

    Parameters
    ----------
    metric : str
        Such as "ndcg".
    cutoff : int
        Length of the list.
    """
    return f"{metric}_at_{cutoff}"


@cache
def parse(name: str) -> MetricName:
    """The parts of a stored name.

    Parameters
    ----------
    name : str
        Such as "test/full/ndcg_at_10".
    """
    *before, last = name.split("/")
    phase = before.pop(0) if before and before[0] in PHASES else ""
    slice_name = ""
    if len(before) > 1 and before[0] == "slice":
        slice_name, before = before[1], before[2:]
    cut = re.fullmatch(r"(.+)_at_(\d+)", last)
    return MetricName(
        metric=cut[1] if cut else last,
        cutoff=int(cut[2]) if cut else None,
        ranking="/".join(before),
        slice=slice_name,
        phase=phase,
    )


def stored(text: str) -> str:
    """The stored name, without the phase, of a name in any spelling.

    Parameters
    ----------
    text : str
        A name as a person writes it, such as "test/full/ndcg@10".

    Returns
    -------
    str
        "full/ndcg_at_10" for "test/full/ndcg@10".
    """
    return text.replace("@", "_at_").removeprefix("test/")


def short(name: str) -> str:
    """The head of a column on a terminal: "ndcg@10".

    Parameters
    ----------
    name : str
        A stored name.
    """
    parts = parse(name)
    return parts.metric if parts.cutoff is None else f"{parts.metric}@{parts.cutoff}"


def title(name: str) -> str:
    """The head of a column on a page, in the spelling of papers: "NDCG@10".

    Parameters
    ----------
    name : str
        A stored name.
    """
    measure, at_sign, cutoff = short(name).partition("@")
    spelled = measure.upper() if measure in _ABBREVIATED else measure.capitalize()
    return f"{spelled}{at_sign}{cutoff}"


def long_name(name: str) -> str:
    """The head of a column on a terminal with its ranking: "full ndcg@10".

    Parameters
    ----------
    name : str
        A stored name.
    """
    return f"{parse(name).group} {short(name)}".strip()


def long_title(name: str) -> str:
    """The title with the ranking: "full NDCG@10".

    Parameters
    ----------
    name : str
        A stored name.
    """
    return f"{parse(name).ranking} {title(name)}".strip()


def names_of(cutoffs: Mapping[str, Sequence[int]], metrics: Sequence[str]) -> list[str]:
    """Every metric at every cut-off of every ranking.

    Parameters
    ----------
    cutoffs : mapping
        Ranking -> its cut-offs.
    metrics : sequence of str
        Such as ["hit", "ndcg"].

    Returns
    -------
    list of str
        "full/hit_at_1" and so on; without a phase, in the order of what was given.
    """
    return [
        f"{ranking}/{at(metric, cutoff)}"
        for ranking, own in cutoffs.items()
        for metric in metrics
        for cutoff in own
    ]


def by_ranking(names: Iterable[str]) -> dict[str, list[str]]:
    """Names grouped by what is between phase and metric, the full ranking first.

    Parameters
    ----------
    names : iterable of str
        Stored names.

    Returns
    -------
    dict of str to list of str
        Such as {"full": ["test/full/ndcg_at_10"]}.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(parse(name).group, []).append(name)
    return dict(sorted(groups.items(), key=lambda item: (not item[0].endswith("full"), item[0])))


def default_columns(names: Iterable[str]) -> dict[str, list[str]]:
    """Which of some three hundred metrics a table shows.

    Parameters
    ----------
    names : iterable of str
        All that are reported, as they are stored.

    Returns
    -------
    dict
        By ranking, the full one first: Hit at the smallest cut-off, then Hit and NDCG at 10, or at
        the largest cut-off where there is no 10. A ranking that has neither Hit nor NDCG shows all
        of its metrics at that cut-off.
        {"full": ["test/full/hit_at_1", "test/full/hit_at_10", "test/full/ndcg_at_10"], ...}
    """
    known = by_ranking(name for name in names if parse(name).is_accuracy)
    return {ranking: _columns_of(own) for ranking, own in known.items()}


def _columns_of(names: Sequence[str]) -> list[str]:
    by_cutoff: dict[str, dict[int, str]] = {}
    for name in names:
        parts = parse(name)
        assert parts.cutoff is not None
        by_cutoff.setdefault(parts.metric, {})[parts.cutoff] = name
    chosen: list[str] = []
    if "hit" in by_cutoff:
        chosen.append(by_cutoff["hit"][min(by_cutoff["hit"])])
    usual = [metric for metric in _USUAL if metric in by_cutoff]
    for metric in usual or sorted(by_cutoff):
        own = by_cutoff[metric]
        chosen.append(own[_USUAL_CUTOFF if _USUAL_CUTOFF in own else max(own)])
    return list(dict.fromkeys(chosen))


def leading(names: Sequence[str], selecting: str) -> str:
    """The metric that a table is sorted by.

    Parameters
    ----------
    names : sequence of str
        The columns of the table, at least one.
    selecting : str
        The metric that chose the epochs and the hyper-parameters.

    Returns
    -------
    str
        `selecting` where it is a column, else NDCG, else the last column.
    """
    if selecting in names:
        return selecting
    named = [name for name in names if parse(name).metric == "ndcg"]
    return (named or list(names))[-1]
