"""Which models are compared, by kind, and with which hyper-parameters.

A library keeps its documented defaults where they are a recipe for data of this size; otherwise it gets
ours. The note of a side says which, and everything that was set stands in the results.
"""

from dataclasses import dataclass

from benchmarks.peers.environments import OURS
from benchmarks.peers.turn import Side

SAME = "hyper-parameters of ours"
DEFAULTS = "its own defaults"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Models of one kind: ours and those of others.

    Attributes
    ----------
    ours
        By `conf/model/`, its hyper-parameters.
    patience
        Validations in a row without a better one, after which any side stops; 0: never.
    peers
        Those of other libraries.
    """

    ours: Side
    patience: int
    peers: tuple[Side, ...]


KINDS = {
    "als": Kind(
        ours=Side(library=OURS, model="als", passes=50),
        patience=5,
        peers=(
            Side(
                library="implicit",
                model="als",
                settings={"factors": 64, "regularization": 10.0, "alpha": 1.0},
                passes=50,
                note=SAME,
            ),
            Side(library="implicit", model="als", passes=15, note=DEFAULTS),
        ),
    ),
    "bpr": Kind(
        ours=Side(library=OURS, model="bpr", passes=300),
        patience=10,
        peers=(
            Side(
                library="implicit",
                model="bpr",
                settings={"factors": 63},
                passes=300,
                note="its own defaults; 63 factors and a bias, which make 64; passes as ours",
            ),
        ),
    ),
    "itemknn": Kind(
        ours=Side(library=OURS, model="itemknn"),
        patience=0,
        peers=(Side(library="implicit", model="itemknn", settings={"K": 100}, note=SAME),),
    ),
    "ease": Kind(ours=Side(library=OURS, model="ease"), patience=0, peers=()),
    "sasrec": Kind(ours=Side(library=OURS, model="sasrec", passes=200), patience=10, peers=()),
    "pop": Kind(  # of the benchmark's own test
        ours=Side(library=OURS, model="pop"),
        patience=0,
        peers=(Side(library="implicit", model="pop"),),
    ),
}

DEFAULT_KINDS = tuple(name for name in KINDS if name != "pop")
