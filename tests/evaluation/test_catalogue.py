"""Which features an item has, from its columns or from its text."""

import pytest

from experiments.config.schema import DatasetConfig, TextConfig
from experiments.data.prepare import prepare
from experiments.evaluation.catalogue import item_features


@pytest.fixture
def features_of(tmp_path):
    """The features of the items a, b and c from the lines of an item file."""

    def prepared_features(lines, **text):
        folder = tmp_path / "toy"
        folder.mkdir()
        rows = ["user_id:token\titem_id:token\ttimestamp:float", "u\ta\t1", "u\tb\t2", "u\tc\t3"]
        (folder / "toy.inter").write_text("\n".join(rows) + "\n")
        if lines:
            (folder / "toy.item").write_text("\n".join(lines) + "\n")
        config = DatasetConfig(source=str(folder), text=TextConfig(**text))
        return item_features(prepare(config, data_dir=tmp_path / "prepared"))

    return prepared_features


def overlaps(features_NF):
    """Common features of all pairs of items; row and column 0 are the padding's."""
    return (features_NF @ features_NF.T).toarray().astype(int).tolist()


def test_tokens_of_sequence_columns_count_apart_and_the_title_not_at_all(features_of):
    features = features_of(
        [
            "item_id:token\ttitle:token_seq\tgenres:token_seq\tmoods:token_seq\tyear:token",
            "a\tThe War\tWar Drama War\tcalm\t1990",
            "b\tThe War\tDrama\twar\t1990",
            "c\tThe War\t\tcalm\t1990",
        ],
        title="title",
    )
    assert overlaps(features) == [[0, 0, 0, 0], [0, 3, 1, 1], [0, 1, 2, 0], [0, 1, 0, 1]]


def test_without_such_columns_the_words_of_the_text_stand_in(features_of):
    features = features_of(
        ["item_id:token\ttitle:token", "a\tThe Big, big Blue", "b\tthe blue", "c\t"],
        title="title",
        template="{title}",
    )
    assert overlaps(features) == [[0, 0, 0, 0], [0, 3, 2, 0], [0, 2, 2, 0], [0, 0, 0, 0]]


def test_items_of_which_nothing_is_known_have_no_features(features_of):
    assert features_of([]) is None


def test_the_tiny_data_set_has_genres(tiny_data):
    features = item_features(tiny_data)
    assert features.shape[0] == tiny_data.n_items + 1
    assert features.shape[1] == len(set(tiny_data.item_features["genres"].explode()))
