"""A finished run as a model of MLflow's own kind: loaded, served and scored in batches by its tools.

The folder `model` of the run's artifacts is the model: the weights as the run folder has them, the data that
they were trained on, compressed, and the file of code that opens both. Nothing in it is pickled.
"""

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from experiments.data.prepared import INTERACTIONS, ITEMS, MANIFEST, TEXTS, USERS
from experiments.files import write_json
from experiments.integrity import Damaged, read_sealed
from experiments.paths import ROOT
from experiments.runs.folder import RunFolder
from experiments.runs.provenance import packages

CODE = ROOT / "experiments" / "serving" / "served_model.py"
"""What MLflow executes to open the model."""

PACKED = "packed"
"""The folder of the model with the run and its data."""

COMPRESSED = f"{INTERACTIONS}.zst"

_REQUIRED = ("recbole", "torch", "numpy", "scipy", "polars", "pyarrow", "safetensors", "mlflow")
"""Packages whose versions the model asks for, beside Paddock itself."""


def data_of(run: dict[str, Any]) -> Path | None:
    """The prepared data set that a run was trained on; None where it is not on this machine.

    Parameters
    ----------
    run : dict
        The content of its run.json.
    """
    config = run.get("config", {})
    wanted = run["hashes"].get("dataset")
    for manifest in Path(config.get("data_dir", "")).glob(f"{run['dataset']}-*/{MANIFEST}"):
        try:
            if read_sealed(manifest, remedy="it is not used").get("hash") == wanted:
                return manifest.parent
        except Damaged:
            continue
    return None


def can_be_packaged(run: dict[str, Any]) -> bool:
    """Whether a run has a model, and its data is here.

    Parameters
    ----------
    run : dict
        The content of its run.json.
    """
    return "model/model.safetensors" in run.get("files", {}) and data_of(run) is not None


@contextmanager
def packaged(folder: RunFolder, *, run_id: str) -> Iterator[Path]:
    """The folder of the model without its weights, which the artifacts of the run hold already.

    Parameters
    ----------
    folder : RunFolder
        Of a run that `can_be_packaged`.
    run_id : str
        MLflow's id of the run.
    """
    from mlflow.pyfunc import save_model

    run = folder.run
    data = data_of(run)
    assert data is not None
    with TemporaryDirectory(prefix="paddock-") as temporary:
        packed, made = Path(temporary) / PACKED, Path(temporary) / "model"
        packed.mkdir()
        shutil.copy(folder.path / "run.json", packed)
        write_json(packed / "tracking.json", {"run_id": run_id})
        for name in (MANIFEST, ITEMS, USERS, TEXTS):
            shutil.copy(data / name, packed)
        _compress(data / INTERACTIONS, packed / COMPRESSED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # asks for types where there is a signature
            save_model(
                made,
                python_model=str(CODE),
                artifacts={PACKED: str(packed)},
                signature=_signature(),
                input_example=_example(data),
                pip_requirements=["paddock", *_requirements()],
                metadata={name: run[name] for name in ("dataset", "protocol", "model")},
            )
        yield made


def decompress(packed: Path, target: Path) -> None:
    """Write the interactions of a packed data set as they were.

    Parameters
    ----------
    packed : Path
        The folder `PACKED` of a model.
    target : Path
        The folder of the data set.
    """
    import pyarrow as pa

    with (
        pa.input_stream(str(packed / COMPRESSED), compression="zstd") as source,
        (target / INTERACTIONS).open("wb") as file,
    ):
        shutil.copyfileobj(source, file, 2**20)


def _compress(source: Path, target: Path) -> None:
    import pyarrow as pa

    with source.open("rb") as file, pa.output_stream(str(target), compression="zstd") as stream:
        shutil.copyfileobj(file, stream, 2**20)


def _requirements() -> list[str]:
    known = packages()
    return [f"{name}=={known[name]}" for name in _REQUIRED if name in known]


def _signature() -> Any:
    """A row is a request, and is answered by a row."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    text: Any = DataType.string
    texts: Any = Array(DataType.string)
    numbers: Any = Array(DataType.double)
    asked = {"user": text, "history": texts, "query": text, "where": text}
    answered = {
        "items": texts,
        "titles": texts,
        "scores": numbers,
        "reasons": texts,
        "rule": text,
        "error": text,
    }
    return ModelSignature(
        inputs=Schema([ColSpec(kind, name, required=False) for name, kind in asked.items()]),
        outputs=Schema([ColSpec(kind, name) for name, kind in answered.items()]),
        params=ParamSchema([ParamSpec("k", DataType.long, 10)]),
    )


def _example(data: Path) -> Any:
    """A request of the data set's first user."""
    import pandas as pd
    import polars as pl

    first = str(pl.scan_parquet(data / USERS).head(1).collect().item(0, 0))
    return pd.DataFrame({"user": [first]})
