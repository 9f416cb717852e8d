"""Descriptions and views of studies in MLflow: what was searched, what was found, which trials."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.config.metric_names import long_title
from experiments.runs.configuration import DECIMALS
from experiments.tracking.dashboard import key_of, view, write_page
from experiments.tracking.notes import cut, note_tags, table, view_links
from experiments.tracking.store import Store

VIEWS = ("Studies", "Trials")
"""Titles of the views of an experiment of studies."""

OBJECTIVE, TRIALS = "objective", "trials"
"""Tags that show, rounded, the best valid value of a study or of a trial, and how many trials ended how."""

_MOST_STUDIES = 25


def objective_title(metric: str) -> str:
    """What a study maximises, as a reader reads it: "valid full NDCG@10".

    Parameters
    ----------
    metric : str
        Such as "valid/full/ndcg_at_10".
    """
    return f"{metric.partition('/')[0]} {long_title(metric)}"


def shown_value(value: float | None) -> str:
    """A value of the objective as it is shown; a dash where there is none.

    Parameters
    ----------
    value : float or None
    """
    return "–" if value is None or math.isnan(value) else f"{value:.{DECIMALS}f}"


def shown_counts(counts: Mapping[str, int]) -> str:
    """How many trials there are: "30: 21 complete, 9 pruned".

    Parameters
    ----------
    counts : mapping of str to int
        State -> number of trials; states without any are not named.
    """
    named = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    return f"{sum(counts.values())}: {named}" if named else "0"


def study_note(
    *,
    name: str,
    metric: str,
    counts: Mapping[str, int],
    best: int,
    value: float,
    params: Mapping[str, Any],
    command: str,
) -> str:
    """The description of a study's parent run.

    Parameters
    ----------
    name : str
        <dataset>/<protocol>/<study>.
    metric : str
        The objective.
    counts : mapping of str to int
        State -> number of trials.
    best : int
        The number of the best trial.
    value : float
        Its objective.
    params : mapping of str to object
        Its hyper-parameters.
    command : str
        What goes on with the study.

    Returns
    -------
    str
        Markdown.
    """
    dataset, protocol, own = name.split("/")
    rows = [(key, str(each)) for key, each in sorted(params.items())]
    return cut(
        [
            f"Study **{own}** on {dataset}, protocol {protocol}: the most {objective_title(metric)}. "
            f"Trials: {shown_counts(counts)}.",
            "",
            f"Best: trial {best}, {objective_title(metric)} {shown_value(value)}, of the valid part "
            "that chose it; the test of its runs stands in the experiment of the protocol.",
            *(table(["hyper-parameter", "value"], rows) if rows else []),
            "",
            "The same command goes on with it:",
            "",
            "```sh",
            command,
            "```",
        ]
    )


def arrange_studies(store: Store, experiment_id: str) -> None:
    """Bring the description and the views of an experiment of studies up to date.

    Parameters
    ----------
    store : Store
    experiment_id : str
        The experiment <dataset>/<protocol>/hpo.
    """
    client = store.client
    experiment = client.get_experiment(experiment_id)
    studies = client.search_runs(
        [experiment_id],
        "tags.`paddock.kind` = 'study'",
        order_by=["attributes.start_time DESC"],
        max_results=_MOST_STUDIES,
    )
    if not studies:
        return
    metrics = sorted({_objective(study) for study in studies if _objective(study)})
    write_page(client, experiment, _views(metrics), _experiment_note(experiment, studies))


def send_study_note(client: Any, run_id: str, note: str) -> None:
    """Set the description of a study's run, unless a person wrote another.

    Parameters
    ----------
    client : mlflow.MlflowClient
    run_id : str
    note : str
        Markdown.
    """
    present = client.get_run(run_id).data.tags
    for key, value in note_tags(note, present).items():
        client.set_tag(run_id, key, value)


def _views(metrics: Sequence[str]) -> dict[str, str]:
    # With objectives of several names no single column orders all studies.
    order = f"metrics.`{metrics[0]}`" if len(metrics) == 1 else "attributes.start_time"
    studies = [f"tags.`{OBJECTIVE}`", f"tags.`{TRIALS}`", "tags.`paddock.model`"]
    trials = [f"tags.`{OBJECTIVE}`", "tags.`paddock.state`", "tags.`paddock.study`"]
    return {
        "Studies": view("tags.`paddock.kind` = 'study'", studies, order=order),
        "Trials": view("tags.`paddock.kind` = 'trial'", trials, order=order),
    }


def _experiment_note(experiment: Any, studies: Sequence[Any]) -> str:
    dataset, protocol, _ = experiment.name.split("/")
    runs = f"#/experiments/{experiment.experiment_id}/runs"
    rows = []
    for study in studies:
        metric, tags = _objective(study), study.data.tags
        rows.append(
            (
                f"[{study.info.run_name}]({runs}/{study.info.run_id})",
                objective_title(metric) if metric else "–",
                shown_value(study.data.metrics.get(metric)),
                tags.get(TRIALS, "–"),
            )
        )
    views = {title: key_of(title) for title in VIEWS}
    return cut(
        [
            f"Studies on data set **{dataset}**, protocol **{protocol}**, the newest first. "
            f"Views: {view_links(runs, views)}.",
            *table(["study", "objective", "best", "trials"], rows),
        ]
    )


def _objective(study: Any) -> str:
    return str(study.data.params.get("study.metric", ""))
