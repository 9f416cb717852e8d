"""What is known of the items beside the targets: who trained on them, and what they are like.

Dimensions: N items and the padding (row 0), F features, R training interactions.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.data.prepared import Prepared
from experiments.protocol.sequences import sorted_distinct
from experiments.protocol.split import Split

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue:
    """The items as the metrics beyond accuracy see them.

    Attributes
    ----------
    interactions_N : int64, (n_items + 1,)
        Training interactions of each item, repeats included.
    users_N : int64, (n_items + 1,)
        Users that have the item in training.
    n_users : int
        Users with a training interaction.
    features_NF : scipy.sparse.csr_matrix or None
        Sets of features, 1.0 where the item has the feature.
    """

    interactions_N: NDArray[np.int64]
    users_N: NDArray[np.int64]
    n_users: int
    features_NF: "csr_matrix | None" = None

    @property
    def n_items(self) -> int:
        """Items, the padding left out."""
        return len(self.interactions_N) - 1


def catalogue(split: Split, features_NF: "csr_matrix | None" = None) -> Catalogue:
    """The catalogue of a split, with the item features where there are any.

    Parameters
    ----------
    split : Split
    features_NF : scipy.sparse.csr_matrix, (n_items + 1, F), or None
        As `item_features` gives them.
    """
    size = split.n_items + 1
    users_R, items_R = split.train_users.astype(np.int64), split.train_items
    users, items = np.divmod(sorted_distinct(users_R * size + items_R), size)
    assert features_NF is None or features_NF.shape[0] == size, "one row of features an item"
    return Catalogue(
        interactions_N=np.bincount(items_R, minlength=size),
        users_N=np.bincount(items, minlength=size),
        n_users=len(sorted_distinct(users)),
        features_NF=features_NF,
    )


def item_features(data: Prepared) -> "csr_matrix | None":
    """The set of features of every item, (n_items + 1, F), or None where nothing is known.

    The tokens of the item file's sequence columns, such as genres; a token counts apart in each
    column; the column of the titles and joined ones are passed over, so that a list is as diverse with
    `dataset.join` as without. Where there are none, the words of the item
    texts in lower case.

    Parameters
    ----------
    data : Prepared

    Returns
    -------
    scipy.sparse.csr_matrix, (n_items + 1, F), or None
        1.0 where the item has the feature; row 0 is empty.
    """
    from scipy.sparse import csr_matrix, hstack

    title = data.manifest["text"]["title"]
    columns = [
        name
        for name, kind in data.feature_types["item"].items()
        if kind == "token_seq" and name != title and name not in data.joined_columns
    ]
    sets = [data.item_features[name] for name in columns]
    if not any(tokens.list.len().sum() for tokens in sets):
        sets = [pl.Series(data.item_texts[1:]).str.to_lowercase().str.extract_all(r"\w+")]
    if not any(tokens.list.len().sum() for tokens in sets):
        return None
    return csr_matrix(hstack([_indicators(tokens, data.n_items) for tokens in sets]))


def _indicators(tokens: pl.Series, n_items: int) -> "csr_matrix":
    """1.0 where the item's list holds the token; row i is item i, row 0 is empty."""
    from scipy.sparse import csr_matrix

    pairs = (
        pl.DataFrame({"item": np.arange(1, n_items + 1), "token": tokens})
        .explode("token")
        .drop_nulls()
        .unique()
        .with_columns(pl.col("token").rank("dense") - 1)
        .sort("item", "token")
    )
    rows, places = pairs["item"].to_numpy(), pairs["token"].to_numpy().astype(np.int64)
    width = int(places.max()) + 1 if len(places) else 0
    return csr_matrix((np.ones(len(rows)), (rows, places)), shape=(n_items + 1, width))
