"""The benchmark of large catalogues, on a small one."""

from pathlib import Path

import polars as pl
import pytest

from benchmarks.catalogue import HISTORY, ROWS_AN_ITEM, generate, measure


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_batches_are_trained_on_all_items(loss: str, tmp_path: Path) -> None:
    generate(tmp_path / "interactions.csv", n_items=400)
    written = pl.read_csv(tmp_path / "interactions.csv")
    assert written["item_id"].n_unique() == 400
    assert len(written) == 400 * ROWS_AN_ITEM

    found = measure(tmp_path, loss=loss, batches=2)
    assert (found["items"], found["interactions"]) == (400, len(written))
    users = len(written) // HISTORY
    assert found["batches_of_a_pass"] == -(-users // 64)
    assert found["cpu_seconds_of_a_batch"] > 0
    assert found["peak_megabytes"] >= found["megabytes_before"] > 0
