"""A recommender from a model of MLflow's, and its answers as a table."""

import shutil
import weakref
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from experiments.data.prepared import ITEMS, MANIFEST, TEXTS, USERS, open_prepared
from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder
from experiments.serving.recommender import Recommender
from experiments.serving.requests import Request
from experiments.tracking.package import decompress

if TYPE_CHECKING:
    import pandas as pd


def open_packed(packed: str | Path) -> Recommender:
    """The recommender of a model that MLflow downloaded.

    Parameters
    ----------
    packed : str or Path
        The model's artifact of that name; the weights lie in the model's own folder, above it.

    Raises
    ------
    PaddockError
        If a file of the model is damaged.
    """
    packed = Path(packed).absolute()
    # The interactions are read where they lie, as long as somebody asks.
    unpacked = Path(mkdtemp(prefix="paddock-model-"))
    data, run = unpacked / "data", unpacked / "run"
    data.mkdir()
    run.mkdir()
    for name in (MANIFEST, ITEMS, USERS, TEXTS):
        shutil.copy(packed / name, data)
    decompress(packed, data)
    for name in ("run.json", "tracking.json"):
        shutil.copy(packed / name, run)
    (run / "model").symlink_to(packed.parents[1], target_is_directory=True)
    # A model has no place of its own to keep embeddings in: queries are compared by words.
    made = Recommender.of(RunFolder(run), data=open_prepared(data), text_encoder=None)
    weakref.finalize(made, shutil.rmtree, unpacked, ignore_errors=True)
    return made


def answered(recommender: Recommender, requests: "pd.DataFrame", *, k: int) -> "pd.DataFrame":
    """A row for each request: items, titles, scores, reasons, the rule, and what was wrong with it.

    A request that cannot be answered leaves the others alone: its lists are empty, and `error` says why.

    Parameters
    ----------
    recommender : Recommender
    requests : pandas.DataFrame
        Columns `user`, `history`, `query` and `where`, each of them optional.
    k : int
        Items of a list, at most.
    """
    import pandas as pd

    rows = [_answer(recommender, row, k) for row in requests.to_dict("records")]
    columns = ["items", "titles", "scores", "reasons", "rule", "error"]
    return pd.DataFrame(rows, columns=columns, index=requests.index)


def _answer(recommender: Recommender, row: dict[Any, Any], k: int) -> dict[str, Any]:
    try:
        answer = recommender.recommend(_request(row, k))
    except PaddockError as error:
        return {
            **{name: [] for name in ("items", "titles", "scores", "reasons")},
            "rule": "",
            "error": str(error),
        }
    return {
        "items": [each.item for each in answer.items],
        "titles": [each.title for each in answer.items],
        "scores": [float(each.score) for each in answer.items],
        "reasons": ["; ".join(reason.text for reason in each.reasons) for each in answer.items],
        "rule": answer.rule,
        "error": "",
    }


def _request(row: dict[Any, Any], k: int) -> Request:
    history = row.get("history")
    items = () if history is None or isinstance(history, float) else tuple(map(str, history))
    user, query, where = (_text(row.get(name)) for name in ("user", "query", "where"))
    return Request(user=user, history=items, query=query, where=where, k=k)


def _text(value: Any) -> str | None:
    """A cell; pandas says NaN where there is none."""
    return None if value is None or value != value else str(value)
