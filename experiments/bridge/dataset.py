"""RecBole's Dataset over arrays that are prepared and split already.

RecBole reads text files with pandas, numbers the tokens, and splits by itself. Here ids, order and
parts come from the prepared data set and the protocol's split, so that every model of every family
sees the same training rows; nothing is parsed, and pandas is not involved.

R training rows, P training rows with a predecessor, L longest history, U users, N items (both with
padding).
"""

from typing import Any

import numpy as np
import polars as pl
import torch
from recbole.config import Config
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType, ModelType
from torch.nn.utils.rnn import pad_sequence

from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import TRAIN, Sequences, Split

ID_SOURCES = {"user": FeatureSource.USER_ID, "item": FeatureSource.ITEM_ID}
SEQUENTIAL_WITH_FEATURES = ("DIN",)
"""Sequential models that read every column of the users and items, without naming any."""

FEATURE_SOURCES = {"user": FeatureSource.USER, "item": FeatureSource.ITEM}


class TrainingRows(Dataset):
    """The training part as a RecBole Dataset, for models that read single interactions.

    Parameters
    ----------
    config : Config
        RecBole's Config of the stage.
    data : Prepared
        The prepared data set.
    split : Split
        Its parts.
    ratings : bool
        Whether the rows hold the training ratings.
    """

    def __init__(
        self, config: Config, *, data: Prepared, split: Split, ratings: bool = False
    ) -> None:
        self._data = data
        self._split = split
        self._with_ratings = ratings
        super().__init__(config)

    def holds(self, history: Sequences) -> bool:
        """Whether a history is that of the training part.

        Parameters
        ----------
        history : Sequences
            The interactions of every user, in time order.
        """
        # Of the split and not of `inter_feat`, which RecBole's loaders shuffle.
        split = self._split
        return np.array_equal(history.items, split.train_items) and np.array_equal(
            history.row_of_item(), split.train_users
        )

    def _from_scratch(self) -> None:
        self._get_preset()
        self._get_field_from_config()
        tokens = {"user": self._data.user_tokens, "item": self._data.item_tokens}
        for side, field in (("user", self.uid_field), ("item", self.iid_field)):
            self.set_field_property(field, FeatureType.TOKEN, ID_SOURCES[side], 1)
            self._set_tokens(field, np.asarray(tokens[side]))
            self.alias[f"{side}_id"] = np.array([field])
        self._rest_fields = np.array([])
        self.feat_name_list = ["inter_feat"]
        self.inter_feat = Interaction(
            {
                self.uid_field: torch.from_numpy(self._split.train_users.astype(np.int64)),
                self.iid_field: torch.from_numpy(self._split.train_items.astype(np.int64)),
            }
        )
        if self._with_ratings:
            self._add_ratings()
        self.user_feat = self.item_feat = None
        self._check_selected()
        if (
            self.config["MODEL_TYPE"] == ModelType.CONTEXT
            or self.config["model"] in SEQUENTIAL_WITH_FEATURES
            or self.config["selected_features"]
        ):
            self.user_feat = self._features("user", self._data.user_features)
            self.item_feat = self._features("item", self._data.item_features)

    def _add_ratings(self) -> None:
        given = self._data.ratings
        if given is None:
            raise PaddockError(
                f"{self._data.name} has no ratings, which {self.config['model']} learns from: "
                "name their column in dataset.columns.rating"
            )
        field = self.config["RATING_FIELD"]
        self.set_field_property(field, FeatureType.FLOAT, FeatureSource.INTERACTION, 1)
        rated = torch.from_numpy(given[self._split.rows(TRAIN)])
        self.inter_feat.update(Interaction({field: rated}))

    def _check_selected(self) -> None:
        columns = list(self._data.feature_types.get("item", {}))[1:]
        for name in self.config["selected_features"] or ():
            if name not in columns:
                raise PaddockError(
                    f"model.selected_features holds {name}, which is no column of the items of "
                    f"{self._data.name}; choose of {', '.join(columns) or 'none, for it has none'}"
                )

    def _set_tokens(self, field: str, tokens: np.ndarray) -> None:
        self.field2id_token[field] = tokens
        self.field2token_id[field] = {token: index for index, token in enumerate(tokens)}

    def _features(self, side: str, table: pl.DataFrame) -> Interaction | None:
        """One row an id, row 0 for padding: token ids from 1, floats in 0..1, the mean where missing.

        Models embed the floats that `numerical_features` names and pass over others, which DSSM
        nevertheless counts: these stay out.
        """
        types = self._data.feature_types.get(side, {})
        if len(types) < 2:
            return None
        id_field = self.uid_field if side == "user" else self.iid_field
        columns: dict[str, torch.Tensor] = {id_field: torch.arange(table.height + 1)}
        numerical = self.config["numerical_features"] or ()
        for name, kind in list(types.items())[1:]:
            if kind.startswith("float") and name not in numerical:
                continue
            values, length = self._encode(name, kind, table[name])
            columns[name] = values
            self.set_field_property(name, FeatureType(kind), FEATURE_SOURCES[side], length)
            if kind.startswith("float"):
                self.field2bucketnum[name] = 2
                # Pairs of (value, bucket), as FLEmbedding reads them; there is one bucket, 1.
                columns[name] = torch.stack([values, torch.ones_like(values)], dim=-1)
        return Interaction(columns)

    def _encode(self, name: str, kind: str, column: pl.Series) -> tuple[torch.Tensor, int]:
        if kind == "float":
            filled = column.cast(pl.Float64).fill_null(strategy="mean").fill_null(0.0).to_numpy()
            # Scaled to 0..1 as RecBole does by default (normalize_all): raw years saturate an FM.
            width = np.ptp(filled) or 1.0
            scaled = (filled - filled.min()) / width
            return torch.tensor(np.r_[0.0, scaled], dtype=torch.float32), 1
        if kind == "float_seq":
            rows = [torch.zeros(1), *(torch.tensor(row or [0.0]) for row in column.to_list())]
            padded = pad_sequence(rows, batch_first=True)
            return padded.float(), padded.shape[1]
        flat = column.explode() if kind == "token_seq" else column
        vocabulary = flat.drop_nulls().unique(maintain_order=True)
        self._set_tokens(name, np.array(["[PAD]", *vocabulary.to_list()]))
        ids = self.field2token_id[name]
        if kind == "token":
            encoded = [0, *(0 if token is None else ids[token] for token in column.to_list())]
            return torch.tensor(encoded), 1
        lists = [
            torch.zeros(1, dtype=torch.int64),
            *(torch.tensor([ids[t] for t in row or []] or [0]) for row in column.to_list()),
        ]
        padded = pad_sequence(lists, batch_first=True)
        return padded, padded.shape[1]


class TrainingHistories(TrainingRows, SequentialDataset):
    """The training part for a sequential model that is not trained by rows of prefixes.

    It has the fields of RecBole's SequentialDataset. The prefixes themselves, L ids for each of R
    interactions, are gigabytes where histories are long.
    """

    def _from_scratch(self) -> None:
        super()._from_scratch()
        self._aug_presets()
        users_R = self._split.train_users
        if not (users_R[1:] == users_R[:-1]).any():
            raise PaddockError(
                f"no user of {self._data.name} has two training interactions, so that "
                f"{self.config['model']} has no history to learn from"
            )


class TrainingPrefixes(TrainingHistories):
    """The training part as a RecBole SequentialDataset: a row for every item with a predecessor.

    RecBole builds these rows in a Python loop (sequential_dataset.py:131); the rows are equal.
    """

    def _from_scratch(self) -> None:
        super()._from_scratch()
        users_R, items_R = self._split.train_users, self._split.train_items
        first_R = np.r_[True, users_R[1:] != users_R[:-1]]
        starts_R = np.maximum.accumulate(np.where(first_R, np.arange(len(users_R)), 0))
        rows_P = np.flatnonzero(~first_R)
        lengths_P = np.minimum(rows_P - starts_R[rows_P], self.max_item_list_len)
        offsets_L = np.arange(self.max_item_list_len)
        inside_PL = offsets_L < lengths_P[:, None]
        source_PL = np.where(inside_PL, (rows_P - lengths_P)[:, None] + offsets_L, 0)
        history_PL = np.where(inside_PL, items_R[source_PL], 0).astype(np.int64)
        self.inter_feat = Interaction(
            {
                self.uid_field: torch.from_numpy(users_R[rows_P].astype(np.int64)),
                self.iid_field: torch.from_numpy(items_R[rows_P].astype(np.int64)),
                self.item_id_list_field: torch.from_numpy(history_PL),
                self.item_list_length_field: torch.from_numpy(lengths_P.astype(np.int64)),
            }
        )


def recbole_dataset(
    config: Any,
    *,
    data: Prepared,
    split: Split,
    prefixes: bool = True,
    ratings: bool = False,
) -> TrainingRows:
    """The training part in the shape that the configured model's family reads.

    Parameters
    ----------
    config : recbole.config.Config
        RecBole's Config of the stage.
    data : Prepared
        The prepared data set.
    split : Split
        Its parts.
    prefixes : bool
        Whether a sequential model is trained by rows of prefixes.
    ratings : bool
        Whether the rows hold the training ratings.
    """
    shape = TrainingRows
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL:
        shape = TrainingPrefixes if prefixes else TrainingHistories
    return shape(config, data=data, split=split, ratings=ratings)
