"""RecBole's Dataset, sampler and scores over prepared arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.config import Config
from recbole.data import create_dataset

from experiments.bridge.dataset import TrainingPrefixes, TrainingRows
from experiments.bridge.scorer import RecBoleScorer, last_items
from experiments.config.resolve import resolve_model
from experiments.config.schema import DatasetConfig, ProtocolConfig
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.protocol.split import Sequences, Split, split_interactions
from experiments.training.build import build
from experiments.training.context import TrainingContext
from experiments.training.strategies.recbole_loop import training_loader

HISTORIES = [
    [4, 2, 7, 1, 3, 8, 5, 6],
    [1, 2],  # only trains
    [9],  # trains nothing that has a predecessor
    [3, 3, 1, 5],
    list(range(9, 0, -1)),
]
INTER = "user_id:token\titem_id:token\ttimestamp:float\n" + "".join(
    f"{user}\t{item}\t{time}\n"
    for user, item, time in [
        *[("a", item, t) for t, item in enumerate("xyzwv")],
        *[("b", item, t) for t, item in enumerate("vwzyx")],
    ]
)
ITEM = """item_id:token\tgenres:token_seq\tyear:float\tstudio:token\tvector:float_seq
x\tdrama crime\t1990\tA\t1 2
y\t\t\tB\t3
z\tcrime\t2010\t\t
w\tcomedy drama war\t2000\tA\t0.5 0.25 0.125
v\twar\t2000\tC\t1
"""
USER = "user_id:token\tage:float\nb\t30\na\t30\n"


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[Any, Any, Any]]:
    def make(data: Prepared, split: Split, name: str, **values: Any) -> tuple[Any, Any, Any]:
        return build(
            resolve_model({"name": name, **values}).last,
            TrainingContext(
                data=data, split=split, seed=1, device=torch.device("cpu"), folder=tmp_path
            ),
        )

    return make


@pytest.fixture
def featured(tmp_path: Path) -> tuple[Prepared, Split]:
    folder = tmp_path / "featured"
    folder.mkdir()
    for kind, content in (("inter", INTER), ("item", ITEM), ("user", USER)):
        (folder / f"featured.{kind}").write_text(content)
    data = prepare(DatasetConfig(source=str(folder)), data_dir=tmp_path / "prepared")
    return data, split_interactions(data, ProtocolConfig(name="loo", split="loo"))


@pytest.mark.parametrize("longest", [1, 2, 3, 50])
def test_prefixes_are_those_of_a_loop(prepared: Any, made: Any, longest: int) -> None:
    data, split = prepared(HISTORIES)
    _, dataset, _ = made(data, split, "SASRec", MAX_ITEM_LIST_LENGTH=longest)
    assert type(dataset) is TrainingPrefixes
    expected = []
    history = split.history("valid")
    for user in range(1, data.n_users + 1):
        items = history.of(user).tolist()
        for position in range(1, len(items)):
            before = items[max(0, position - longest) : position]
            padded = before + [0] * (longest - len(before))
            expected.append((user, items[position], padded, len(before)))
    rows = dataset.inter_feat
    columns = ("user_id", "item_id", "item_id_list", "item_length")
    assert list(zip(*(rows[name].tolist() for name in columns), strict=True)) == expected
    assert len(dataset) == len(expected)


@pytest.mark.usefixtures("recboles_own_config")
@pytest.mark.filterwarnings("ignore")  # pandas has much to say about RecBole's own data set
@pytest.mark.parametrize("longest", [3, 50])
def test_prefixes_are_recboles_own(prepared: Any, made: Any, tmp_path: Path, longest: int) -> None:
    data, split = prepared(HISTORIES)
    folder = tmp_path / "theirs"
    folder.mkdir()
    users, items = split.train_users, split.train_items
    lines = [
        f"{data.user_tokens[user]}\t{data.item_tokens[item]}\t{time}\n"
        for time, (user, item) in enumerate(zip(users, items, strict=True))
    ]
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    (folder / "theirs.inter").write_text(header + "".join(lines))
    theirs = create_dataset(
        Config(
            model="SASRec",
            dataset="theirs",
            config_dict={
                "data_path": str(tmp_path),
                "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
                "train_neg_sample_args": None,
                "MAX_ITEM_LIST_LENGTH": longest,
            },
        )
    )
    theirs._change_feat_format()
    _, ours, _ = made(data, split, "SASRec", MAX_ITEM_LIST_LENGTH=longest)

    def rows(dataset: Any) -> set[tuple[Any, ...]]:
        """By token, since RecBole numbers by itself."""

        def token(field: str, number: int) -> str:
            return str(dataset.id2token(field, number))

        rows = dataset.inter_feat
        return {
            (
                token("user_id", rows["user_id"][r].item()),
                token("item_id", rows["item_id"][r].item()),
                tuple(token("item_id", i) for i in rows["item_id_list"][r].tolist()),
                rows["item_length"][r].item(),
            )
            for r in range(len(rows))
        }

    assert len(rows(ours)) == len(ours) == len(theirs)
    assert rows(ours) == rows(theirs)
    for dataset in (ours, theirs):
        matrix = dataset.inter_matrix(form="csr")
        assert matrix.sum() > 0


def test_window_training_makes_no_rows_of_prefixes(prepared: Any, made: Any) -> None:
    """On ml-1m with L=200 they are 3 GB."""
    data, split = prepared(HISTORIES)
    _, dataset, _ = made(data, split, "SASRec", strategy="windows", loss="softmax")
    assert len(dataset) == len(split.train_items)
    assert dataset.item_id_list_field not in dataset.inter_feat
    assert dataset.max_item_list_len == 50


def test_the_interaction_matrix_is_the_training_part(prepared: Any, made: Any) -> None:
    data, split = prepared(HISTORIES)
    _, dataset, _ = made(data, split, "BPR")
    assert type(dataset) is TrainingRows
    expected = np.zeros((data.n_users + 1, data.n_items + 1))
    for user, item in zip(split.train_users, split.train_items, strict=True):
        expected[user, item] += 1
    found = dataset.inter_matrix(form="coo").toarray()
    assert np.array_equal(found, expected)
    assert found.sum() < len(data.items), "valid and test are left out"


def test_every_user_and_item_has_an_id(prepared: Any, made: Any) -> None:
    data, split = prepared(HISTORIES)
    for name in ("BPR", "SASRec"):
        _, dataset, _ = made(data, split, name)
        assert (dataset.user_num, dataset.item_num) == (data.n_users + 1, data.n_items + 1)
        tokens = [dataset.id2token("item_id", item) for item in range(1, data.n_items + 1)]
        assert tokens == data.item_tokens[1:]
        assert dataset.token2id("user_id", "3") == data.user_id("3")


def test_features(featured: tuple[Prepared, Split], made: Any) -> None:
    data, split = featured
    numerical = ["year", "vector", "age"]
    _, dataset, _ = made(data, split, "FM", numerical_features=numerical)
    items = dataset.item_feat
    row = {token: data.item_id(token) for token in "xyzwv"}
    assert items["item_id"].tolist() == list(range(6))
    studio = {t: dataset.id2token("studio", items["studio"][row[t]].item()) for t in row}
    assert studio == {"x": "A", "y": "B", "z": "[PAD]", "w": "A", "v": "C"}
    genres = {
        t: [dataset.id2token("genres", g) for g in items["genres"][row[t]].tolist()] for t in row
    }
    pad = "[PAD]"
    assert genres == {
        "x": ["drama", "crime", pad],
        "y": [pad, pad, pad],
        "z": ["crime", pad, pad],
        "w": ["comedy", "drama", "war"],
        "v": ["war", pad, pad],
    }
    assert dataset.num("genres") == 1 + 4
    # 1990 to 2010 as 0 to 1; the missing year is the mean of the others, which is 2000.
    year = {t: items["year"][row[t]].tolist() for t in row}
    expected = {"x": [0.0, 1.0], "y": [0.5, 1.0], "z": [1.0, 1.0], "w": [0.5, 1.0], "v": [0.5, 1.0]}
    assert year == expected
    assert items["vector"].shape == (6, 3, 2)
    assert items["vector"][row["w"], :, 0].tolist() == [0.5, 0.25, 0.125]
    assert items["vector"][row["z"], :, 0].tolist() == [0.0, 0.0, 0.0]
    # All users are equally old.
    assert dataset.user_feat["age"][:, 0].tolist() == [0.0, 0.0, 0.0]
    joined = dataset[torch.arange(3)]
    assert torch.equal(joined["studio"], items["studio"][joined["item_id"]])


def test_floats_that_no_model_embeds_stay_out(featured: tuple[Prepared, Split], made: Any) -> None:
    data, split = featured
    _, dataset, _ = made(data, split, "FM")
    assert set(dataset.item_feat.columns) == {"item_id", "genres", "studio"}


def test_models_of_interactions_alone_get_no_features(
    featured: tuple[Prepared, Split], made: Any
) -> None:
    data, split = featured
    _, dataset, _ = made(data, split, "BPR")
    assert dataset.item_feat is None
    assert set(dataset[torch.arange(2)].columns) == {"user_id", "item_id"}


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 50), max_size=9), min_size=1, max_size=6),
    st.integers(1, 12),
    st.data(),
)
def test_last_items(histories: list[list[int]], longest: int, draw: st.DataObject) -> None:
    lengths = [0, *map(len, histories)]
    history = Sequences(
        indptr=np.concatenate(([0], np.cumsum(lengths))),
        items=np.array([item for items in histories for item in items], dtype=np.int32),
    )
    users = draw.draw(st.lists(st.integers(0, len(histories)), min_size=1))
    items_BL, lengths_B = last_items(history, np.array(users), longest)
    assert items_BL.dtype == lengths_B.dtype == torch.int64
    assert items_BL.shape == (len(users), longest)
    for user, items, length in zip(users, items_BL.tolist(), lengths_B.tolist(), strict=True):
        expected = ([[], *histories][user])[-longest:]
        assert items[:length] == expected
        assert items[length:] == [0] * (longest - len(expected))


def test_popularity_of_negatives_counts_the_training_part(prepared: Any, made: Any) -> None:
    # Items 1 and 2 alone train; 3 and 4 are everyone's valid and test items.
    data, split = prepared([[1, 3, 4], [1, 3, 4], [2, 3, 4], [1, 4, 3]])
    popularity = {"distribution": "popularity"}
    _, dataset, config = made(data, split, "BPR", train_neg_sample_args=popularity)
    negatives = [
        item
        for _ in range(40)
        for batch in training_loader(config, dataset)
        for item in batch["neg_item_id"].tolist()
    ]
    assert {data.item_tokens[item] for item in negatives} == {"1", "2"}


def test_negatives_are_no_training_items_and_may_be_targets(prepared: Any, made: Any) -> None:
    data, split = prepared([[1, 2, 3, 4, 5], [2, 1, 5, 4, 3], [6, 1, 2, 3, 4]])
    _, dataset, config = made(data, split, "BPR")
    trained = set(zip(split.train_users.tolist(), split.train_items.tolist(), strict=True))
    drawn = set()
    for _ in range(60):
        for batch in training_loader(config, dataset):
            drawn |= set(zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist(), strict=True))
    everything = {(u, i) for u in range(1, 4) for i in range(1, data.n_items + 1)}
    assert drawn == everything - trained


def test_sequences_with_negatives(prepared: Any, made: Any) -> None:
    data, split = prepared(HISTORIES)
    _, dataset, config = made(data, split, "FPMC")
    batch = next(iter(training_loader(config, dataset)))
    assert (batch["neg_item_id"] > 0).all()
    assert len(batch) == len(dataset)


class Pairs(torch.nn.Module):
    """Scores a pair by its ids, and sees its columns."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.columns: set[str] = set()

    def full_sort_predict(self, batch: Any) -> torch.Tensor:
        raise NotImplementedError

    def predict(self, batch: Any) -> torch.Tensor:
        self.columns |= set(batch.columns)
        assert len(batch) <= 24
        return 1000 * batch["user_id"] + batch["item_id"] + self.weight


@pytest.mark.parametrize("name", ["BPR", "SASRec"])
def test_a_model_without_full_ranking_is_asked_for_every_pair(
    prepared: Any, made: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data, split = prepared(HISTORIES)
    length = {"MAX_ITEM_LIST_LENGTH": 2} if name == "SASRec" else {}
    _, dataset, _ = made(data, split, name, **length)
    # Two users of 11 items at once; a pair of SASRec counts twice, for its history.
    at_once = 24 * length.get("MAX_ITEM_LIST_LENGTH", 1)
    monkeypatch.setattr("experiments.bridge.scorer.PAIRS_AT_ONCE", at_once)
    model = Pairs()
    scorer = RecBoleScorer(model, dataset=dataset, history=split.history("test"))
    users = np.array([3, 1, 2, 5, 4])
    scores = scorer.score(users)
    expected = 1000 * users[:, None] + np.arange(data.n_items + 1)
    np.testing.assert_array_equal(scores.numpy(), expected)
    assert ("item_id_list" in model.columns) == (name == "SASRec")


def test_a_model_reads_its_history_before_the_target(
    tiny_data: Prepared, tiny_split: Split, made: Any
) -> None:
    model, dataset, _ = made(tiny_data, tiny_split, "SASRec", MAX_ITEM_LIST_LENGTH=5)
    read = {}

    def full_sort_predict(batch: Any) -> torch.Tensor:
        read.update(batch.interaction)
        return torch.zeros(len(batch), tiny_data.n_items + 1)

    model.full_sort_predict = full_sort_predict
    for phase, end in (("valid", -2), ("test", -1)):
        scorer = RecBoleScorer(model, dataset=dataset, history=tiny_split.history(phase))
        scorer.score(np.array([9]))
        items = tiny_data.items[tiny_data.users == 9].tolist()
        assert read["item_id_list"].tolist() == [items[:end][-5:]]
        assert read["item_length"].tolist() == [5]
