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
            Side(
                library="lenskit",
                model="als",
                settings={"embedding_size": 64, "regularization": 10.0, "weight": 0.0},
                passes=50,
                note=f"{SAME}; it adds 1 to the weight",
            ),
            Side(library="lenskit", model="als", passes=10, note=DEFAULTS),
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
            Side(
                library="cornac",
                model="bpr",
                settings={"k": 63, "learning_rate": 0.01},
                passes=300,
                note="as implicit's; its own default has 10 factors and a rate of .001",
            ),
        ),
    ),
    "itemknn": Kind(
        ours=Side(library=OURS, model="itemknn"),
        patience=0,
        peers=(
            Side(library="implicit", model="itemknn", settings={"K": 100}, note=SAME),
            Side(library="rectools", model="itemknn", settings={"K": 100}, note=SAME),
            Side(
                library="lenskit",
                model="itemknn",
                settings={"max_nbrs": 100, "save_nbrs": 100},
                note=SAME,
            ),
        ),
    ),
    "ease": Kind(
        ours=Side(library=OURS, model="ease"),
        patience=0,
        peers=(
            Side(library="rectools", model="ease", settings={"regularization": 250.0}, note=SAME),
            Side(library="lenskit", model="ease", settings={"regularization": 250.0}, note=SAME),
            Side(
                library="cornac",
                model="ease",
                settings={"lamb": 250.0, "posB": False},
                note=SAME,
            ),
        ),
    ),
    "sasrec": Kind(
        ours=Side(library=OURS, model="sasrec", passes=200),
        patience=10,
        peers=(
            Side(
                library="rectools",
                model="sasrec",
                settings={
                    "n_blocks": 2,
                    "n_heads": 1,
                    "n_factors": 64,
                    "dropout_rate": 0.3,
                    "session_max_len": 50,
                    "lr": 2e-3,
                    "batch_size": 32,
                },
                passes=200,
                note=f"{SAME}; a pass has the last 50 items of each user",
            ),
            Side(
                library="rectools",
                model="sasrec",
                passes=200,
                note=f"{DEFAULTS}: 256 factors, the last 100 items of each user",
            ),
            Side(
                library="replay",
                model="sasrec",
                settings={
                    "num_blocks": 2,
                    "num_heads": 1,
                    "embedding_dim": 64,
                    "hidden_dim": 256,
                    "dropout": 0.3,
                    "max_sequence_length": 50,
                    "learning_rate": 2e-3,
                    "batch_size": 32,
                },
                passes=200,
                note=f"{SAME}; a pass has the last 50 items of each user",
            ),
            Side(
                library="warprec",
                model="sasrec",
                settings={
                    "n_layers": 2,
                    "n_heads": 1,
                    "embedding_size": 64,
                    "inner_size": 256,
                    "dropout_prob": 0.3,
                    "attn_dropout_prob": 0.0,
                    "max_seq_len": 50,
                    "learning_rate": 2e-3,
                    "weight_decay": 0.0,
                    "reg_weight": 0.0,
                    "neg_samples": 0,
                    "batch_size": 2048,
                },
                passes=200,
                note=f"{SAME}; a row for every prefix, 2,048 a batch",
            ),
        ),
    ),
    "pop": Kind(  # of the benchmark's own test
        ours=Side(library=OURS, model="pop"),
        patience=0,
        peers=(Side(library="implicit", model="pop"),),
    ),
}

DEFAULT_KINDS = tuple(name for name in KINDS if name != "pop")
