"""RecBole's HyperTuning in a process of its own, until it is ended: a line of JSON for each trial.

The first line says that everything is imported. What each trial does is RecBole's own
`objective_function`, with RecBole's own class: read the data set, split it, train with early
stopping, evaluate. It is spared three things: reading ratings, which fails on pandas 3; checkpoints,
which torch 2.6 refuses to load; and its default of two users in a batch of a full ranking, where 256
go here.
"""

import json
import math
import os
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

from benchmarks.setup_model import recbole_class

NEVER = 10**9
NO_TENSORBOARD = SimpleNamespace(add_scalar=lambda *_: None, add_hparams=lambda *_: None)


def hyperopt_space(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """The parameters of a search space, as `Space.plain` tells them, in hyperopt's terms."""
    from hyperopt import hp

    space = {}
    for parameter in parameters:
        name, kind, low, high = (parameter[key] for key in ("name", "kind", "low", "high"))
        if parameter["when"]:
            raise ValueError(f"{name} is conditional, which HyperTuning's spaces are not")
        if kind == "categorical":
            space[name] = hp.choice(name, list(parameter["choices"]))
        elif kind == "int":
            space[name] = hp.choice(name, list(range(low, high + 1, parameter["step"] or 1)))
        elif parameter["log"]:
            space[name] = hp.loguniform(name, math.log(low), math.log(high))
        elif parameter["step"]:
            space[name] = hp.quniform(name, low, high, parameter["step"])
        else:
            space[name] = hp.uniform(name, low, high)
    return space


def fixed_values(request: dict[str, Any], folder: str) -> dict[str, Any]:
    """What no trial changes: the model's other values, the data, leave-one-out, full ranking."""
    source = Path(request["source"])
    return {
        **request["model"],
        "dataset": source.name,
        "data_path": str(source.parent),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {
            "split": {"LS": "valid_and_test"},
            "order": "TO",
            "group_by": "user",
            "mode": "full",
        },
        "metrics": ["NDCG"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "eval_batch_size": 256 * request["n_items"],
        "use_gpu": False,
        "seed": request["seed"],
        "checkpoint_dir": folder,
        "show_progress": False,
        "state": "ERROR",
    }


def stand_in_for_ray() -> None:
    """What RecBole imports of ray, which fails on numpy 2; without a cluster it does nothing."""
    ray, tune = ModuleType("ray"), ModuleType("ray.tune")
    vars(tune)["report"] = lambda **metrics: None
    vars(ray)["tune"] = tune
    sys.modules.update({"ray": ray, "ray.tune": tune})


def main() -> None:
    """Tune what the only argument says."""
    request = json.loads(sys.argv[1])
    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    answers = sys.stdout

    def tell(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content, default=float) + "\n")
        answers.flush()

    with TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        import torch

        stand_in_for_ray()
        from recbole.quick_start import quick_start
        from recbole.trainer import trainer
        from recbole.trainer.hyper_tuning import HyperTuning

        torch.set_num_threads(1)
        # Importing `models` puts ours under RecBole's names.
        quick_start.get_model = recbole_class
        # Which also takes its TensorBoard away; writing to none costs nothing.
        trainer.get_tensorboard = lambda logger: NO_TENSORBOARD
        fixed = fixed_values(request, folder)

        def objective(params: dict[str, Any], files: Any) -> dict[str, Any]:
            result = quick_start.objective_function({**fixed, **params}, files, saved=False)
            value = float(result["best_valid_score"])
            tell({"seconds": time.perf_counter() - began, "value": value, "params": params})
            return dict(result)

        tuning = HyperTuning(
            objective,
            space=hyperopt_space(request["parameters"]),
            algo=request["algorithm"],
            max_evals=NEVER,
            early_stop=NEVER,
        )
        os.chdir(folder)  # RecBole leaves logs where it is started
        tell({"ready": True})
        began = time.perf_counter()
        tuning.run()


if __name__ == "__main__":
    main()
