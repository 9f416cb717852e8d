"""What the ranking of a language model rests on: the same evaluation with one thing taken away.

The numbers are those that a run logs under its probes' names, such as "test/history_shuffled/c20/hit_at_1".
"""

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.config.metric_names import long_title
from reports.summarise import Row, Summary


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a probe takes away, and what its number tells."""

    taken: str
    drop: str
    stays: str


PROBES = {
    "history_shuffled": Meaning(
        taken="the order of the history",
        drop="order counts",
        stays="the model reads a set, not a sequence",
    ),
    "history_removed": Meaning(
        taken="the history",
        drop="the history counts",
        stays="what ranks is popularity, or a benchmark that was read",
    ),
    "titles_neutral": Meaning(
        taken="the titles",
        drop="titles count",
        stays="soft tokens rank alone; without them chance does",
    ),
    "order_reversed": Meaning(
        taken="the order of the candidates, reversed",
        drop="their places count: not a ranking of items",
        stays="the ranking is of the items",
    ),
    "order_shuffled": Meaning(
        taken="the order of the candidates, shuffled",
        drop="their places count: not a ranking of items",
        stays="the ranking is of the items",
    ),
}
LEAKAGE, CONTROL = "test/leakage/list_hit_at_1", "test/leakage/list_control_hit_at_1"
POPULARITY = "test/popularity/spearman"
HEAD = ("taken away", "metric", "with it", "without", "difference", "if it drops", "if it stays")
WANTED = ("hit_at_1", "ndcg_at_10")
"""Of the rankings of candidates, where a run has them."""


def probed(summary: Summary) -> list[Row]:
    """The rows whose runs were measured with a probe."""
    return [row for row in (*summary.rows, *summary.apart) if body(row)]


def body(row: Row) -> list[list[str]]:
    """The table of one row.

    Parameters
    ----------
    row : Row
        A model of a language model, or any other.

    Returns
    -------
    list of list of str
        Empty without any probe.
    """
    made = []
    for probe, metric in _measured(row):
        meaning = PROBES[probe]
        own = row.configuration.mean(f"test/{metric}")
        without = row.configuration.mean(f"test/{probe}/{metric}")
        made.append(
            [
                meaning.taken,
                long_title(metric),
                f"{own:.4f}",
                f"{without:.4f}",
                f"{without - own:+.4f}",
                meaning.drop,
                meaning.stays,
            ]
        )
    return made + list(_known_before(row))


def _measured(row: Row) -> Iterator[tuple[str, str]]:
    """Probe and metric of all that every seed tells."""
    names = row.runs[0].metrics
    for probe in PROBES:
        start = f"test/{probe}/"
        for metric in (
            name.removeprefix(start) for name in sorted(names) if name.startswith(start)
        ):
            both = (f"test/{metric}", f"{start}{metric}")
            if metric.endswith(WANTED) and all(row.configuration.values(name) for name in both):
                yield probe, metric


def _known_before(row: Row) -> Iterator[list[str]]:
    """What the language model knew without any user: the catalogue's list, and which titles are popular."""
    each = row.configuration
    if each.values(LEAKAGE) and each.values(CONTROL):
        own, random = each.mean(LEAKAGE), each.mean(CONTROL)
        yield [
            "the order of the catalogue's file before a title",
            "Hit@1 among 20 titles",
            f"{own:.4f}",
            f"{random:.4f}",
            f"{random - own:+.4f}",
            "the model has read the file, and its other numbers are suspect",
            "the file was not learnt by heart",
        ]
    if each.values(POPULARITY):
        yield [
            "everything but a title",
            "rank correlation of its likelihood with its interactions",
            "–",
            f"{each.mean(POPULARITY):.4f}",
            "–",
            "near 0: no liking for popular titles",
            "above 0: compare with model=pop",
        ]
