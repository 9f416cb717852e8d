"""The trained model as MLflow knows it: an entity of its own that a run points to."""

import re
from collections.abc import Mapping
from typing import Any


def link_model(client: Any, child: Any, run: Mapping[str, Any]) -> None:
    """Enter the model of a finished child run as its output, unless it is there.

    The files stay where they are, among the artifacts of the run: the entity names the place.
    """
    from mlflow.entities import LoggedModelOutput

    if child.outputs is not None and child.outputs.model_outputs:
        return
    run_id = child.info.run_id
    model = client.create_logged_model(
        child.info.experiment_id,
        name=re.sub(r"[^\w-]", "-", f"{run['model_key']}-seed-{run['seed']}"),
        source_run_id=run_id,
        model_type=run["model"],
        tags={
            "paddock.config_hash": run["config_hash"],
            "paddock.seed": str(run["seed"]),
            "paddock.files": f"runs:/{run_id}/model",
        },
    )
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])


def delete_models(client: Any, run: Any) -> None:
    """Remove the entities of a run that is about to be deleted."""
    if run.outputs is not None:
        for output in run.outputs.model_outputs:
            client.delete_logged_model(output.model_id)
