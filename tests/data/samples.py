"""Small atomic files, and what prepares them."""

from collections.abc import Callable
from pathlib import Path

from experiments.config.schema import DatasetConfig

INTER = b"""user_id:token\titem_id:token\trating:float\ttimestamp:float
ann\tx\t5\t30
bob\ty\t3\t10
ann\ty\t4\t20
bob\tx\t1\t10
cid\tz\t2\t5
"""
ITEM = b"""item_id:token\ttitle:token_seq\tprice:float\tvector:float_seq\tyear:token
x\tThe  Silent Harbour\t1.5\t0.5 1 -2\t1999
y\tRed\t\t1 2 3\t
z\t\t7\t\t2001
unused\tNobody Saw It\t2\t1\t1980
"""
USER = b"""user_id:token\tage:float
cid\t20
bob\t
ann\t40
"""

Write = Callable[..., Path]


def dataset_of(folder: Path | str) -> DatasetConfig:
    """The schema's defaults, with the rating column of the small folder."""
    dataset = DatasetConfig(name="", source=str(folder))
    dataset.columns.rating = "rating"
    return dataset


def folders(data_dir: Path) -> list[str]:
    """The prepared folders, finished or not."""
    return sorted(path.name for path in data_dir.glob("*") if path.is_dir())
