"""The metrics that the tables of a report show."""

from collections.abc import Iterable, Sequence

from experiments.metric_names import by_ranking, default_columns, parse, stored
from reports.errors import ReportError
from reports.options import nearest


def columns(names: Iterable[str], wanted: Sequence[str]) -> dict[str, list[str]]:
    """By ranking, the metrics of the tables.

    Parameters
    ----------
    names : iterable of str
        Every metric that a run reports, by its full name: "test/full/ndcg_at_10".
    wanted : sequence of str
        As a person writes them, such as "full/ndcg@10"; none given, the default columns.

    Returns
    -------
    dict
        {"full": ["full/hit_at_1", ...], "c20": [...]}, without the phase.

    Raises
    ------
    ReportError
        A wanted metric that no run reports.
    """
    found = [parse(name) for name in sorted(names)]
    every = [
        str(each).removeprefix("test/")
        for each in found
        if each.phase == "test" and each.is_accuracy
    ]
    if not wanted:
        return default_columns(every)
    asked = [stored(each) for each in wanted]
    for metric in asked:
        if metric.startswith("ratings/"):
            raise ReportError(
                f"metrics: {metric} is no metric of a ranking, which a report compares; "
                "python run.py mode=leaderboard shows errors of ratings"
            )
        if metric not in every:
            raise ReportError(f"metrics: no run reports {metric}; {nearest(metric, every)}")
    return by_ranking(asked)
