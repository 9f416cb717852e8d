"""A finished run recommends: to its users, to histories, profiles and words."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.runs.folder import RunFolder
from experiments.serving.finished import best_run, config_of, find_run
from experiments.serving.recommender import Recommender
from experiments.serving.requests import Answer, Request
from tests.commands.command_line import CommandLine

MODELS = {
    "sasrec": ("model.epochs=2", "model.hidden_size=16"),
    "ease": (),
    "alpharec": ("model.epochs=1", "model.text_encoder.dimensions=32"),
    "bpr": ("model.epochs=1",),
    "profile": ("model.epochs=2",),
    "fusion": ("model.members.sasrec.epochs=2", "model.members.sasrec.hidden_size=16"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    paddock = CommandLine(tmp_path_factory.mktemp("serving"))
    for model, words in MODELS.items():
        paddock.trained("dataset=tiny", "device=cpu", f"model={model}", *words)
    return paddock


@pytest.fixture(scope="module")
def of(trained: CommandLine) -> Callable[[str], Recommender]:
    made: dict[str, Recommender] = {}

    def load(model: str) -> Recommender:
        if model not in made:
            folder = best_run(trained.runs_dir, dataset="tiny", model=model)
            made[model] = Recommender.load(folder.path, text_encoder=None)
        return made[model]

    return load


def ids(answer: Answer) -> list[str]:
    return [item.item for item in answer.items]


def history_of(data: Prepared, token: str) -> tuple[str, ...]:
    user = data.user_id(token)
    assert user is not None
    return tuple(
        str(data.item_tokens[item])
        for item in data.items[data.indptr[user] : data.indptr[user + 1]]
    )


@pytest.mark.parametrize("model", ["sasrec", "ease", "fusion"])
def test_somebody_new_with_a_users_history_gets_that_users_items(of, model: str) -> None:  # type: ignore[no-untyped-def]
    recommender = of(model)
    for token in ("u1", "u17"):
        known = recommender.recommend(Request(user=token, k=20))
        history = history_of(recommender.data, token)
        new = recommender.recommend(Request(history=history, k=20))
        assert (known.rule, new.rule) == ("user", "history")
        assert ids(known) == ids(new)
        np.testing.assert_allclose(
            [item.score for item in known.items], [item.score for item in new.items], rtol=1e-4
        )
        assert not set(ids(known)) & set(history)


def test_later_items_follow_a_users_own(of) -> None:  # type: ignore[no-untyped-def]
    recommender = of("sasrec")
    history = history_of(recommender.data, "u3")
    later = [each for each in recommender.data.item_tokens[1:] if each not in history][:2]
    with_user = recommender.recommend(Request(user="u3", history=tuple(later)))
    alone = recommender.recommend(Request(history=(*history, *later)))
    assert ids(with_user) == ids(alone)
    assert ids(with_user) != ids(recommender.recommend(Request(user="u3")))


def test_a_graph_keeps_the_histories_of_others(of) -> None:  # type: ignore[no-untyped-def]
    recommender = of("alpharec")
    later = recommender.data.item_tokens[1]
    user = recommender.data.user_id("u3")
    scoring = recommender.scoring
    items = [*scoring.items_of(user), 1]
    history = scoring.with_row(user, items)
    assert list(history.of(user)) == items
    others = [row for row in range(1, recommender.data.n_users + 1) if row != user]
    assert all(list(history.of(row)) == scoring.items_of(row) for row in others)
    assert recommender.recommend(Request(user="u3", history=(later,))).items


def test_a_vector_a_user_scores_no_other_history(of) -> None:  # type: ignore[no-untyped-def]
    recommender = of("bpr")
    assert len(recommender.recommend(Request(user="u5")).items) == 10
    with pytest.raises(PaddockError, match="cannot score another history: sequential models"):
        recommender.recommend(Request(history=("i1",)))


@pytest.mark.parametrize("name", ["FPMC", "HGN"])
def test_who_has_no_vector_is_scored_by_the_history_alone(name: str, tmp_path: Path) -> None:
    """A model that reads a history and a vector a user has none of somebody new, and says so."""
    words = ("dataset=tiny", "device=cpu", "model=recbole", f"model.name={name}", "model.epochs=1")
    recommender = Recommender.load(CommandLine(tmp_path).trained(*words).path)
    answer = recommender.recommend(Request(history=("i3", "i9"), k=5))
    assert any("learned a vector of each of its users" in note for note in answer.notes)
    assert recommender.recommend(Request(user="u1", history=("i9",), k=5)).notes == ()
    model = recommender.scoring.model
    if name == "FPMC":
        # Eq. 6 of the paper without the user's part: the last item's product with the next.
        last = model.LI_emb.weight[recommender.resolve_title("i9")]
        expected = (model.IL_emb.weight @ last).detach().numpy()
        scores = recommender.scores(None, [3, recommender.resolve_title("i9")])
        np.testing.assert_allclose(scores[1:], expected[1:], rtol=1e-4, atol=1e-6)


def test_a_profile_is_read_where_the_model_reads_one(of) -> None:  # type: ignore[no-untyped-def]
    recommender = of("profile")
    column = recommender.data.user_features.columns[1]
    value = str(recommender.data.user_features[column][0])
    answer = recommender.recommend(Request(profile={column: value}))
    assert answer.rule == "profile"
    assert answer.items[0].reasons[0].evidence == (f"{column}={value}",)
    with pytest.raises(PaddockError, match=r"profile: .*nowhere"):
        recommender.recommend(Request(profile={"nowhere": "x"}))
    with pytest.raises(PaddockError, match="reads no columns of users"):
        of("sasrec").recommend(Request(profile={column: value}))


def test_conditions_exclusions_and_dislikes(of) -> None:  # type: ignore[no-untyped-def]
    recommender = of("sasrec")
    plain = recommender.recommend(Request(user="u1", k=30))
    column = "year" if "year" in recommender.items.columns else recommender.items.columns[2]
    value = str(recommender.items[column][0])
    kept = recommender.recommend(Request(user="u1", k=30, where=f'{column} = "{value}"'))
    cells = dict(zip(recommender.items["item_id"], recommender.items[column], strict=True))
    assert kept.items
    for item in kept.items:
        cell = cells[item.item]
        assert value in (cell.to_list() if isinstance(cell, pl.Series) else [str(cell)])
    first = ids(plain)[0]
    assert first not in ids(recommender.recommend(Request(user="u1", exclude=(first,), k=30)))
    pushed = recommender.recommend(Request(user="u1", dislikes=(first,), k=30))
    assert first not in ids(pushed)
    near_N = recommender.space.similar([recommender.data.item_id(first)])[0]
    nearest = max(ids(plain)[1:], key=lambda item: near_N[recommender.data.item_id(item)])
    before = {item.item: item.score for item in plain.items}
    after = {item.item: item.score for item in pushed.items}
    if nearest in after:
        assert after[nearest] < before[nearest]
    for item in plain.items[1:]:  # what is unlike the disliked one keeps its score
        if item.item in after and near_N[recommender.data.item_id(item.item)] <= 0:
            assert after[item.item] == pytest.approx(item.score, rel=1e-5)


def test_words_find_items_that_have_them(of) -> None:  # type: ignore[no-untyped-def]
    recommender = of("sasrec")
    word = recommender.data.item_titles[5].split()[0]
    answer = recommender.search(word, k=50)
    assert answer.rule == "query"
    texts = dict(zip(recommender.data.item_tokens, recommender.data.item_texts, strict=True))
    titles = dict(zip(recommender.data.item_tokens, recommender.data.item_titles, strict=True))
    assert answer.items
    for item in answer.items:
        assert word.lower() in (texts[item.item] or titles[item.item]).lower()
        assert word.lower() in item.reasons[0].evidence
    assert recommender.search("xyzzyx").items == ()
    both = recommender.recommend(Request(history=("i3",), query=word, k=50))
    assert both.rule == "query+history"


def test_reasons_name_the_nearest_item_of_the_history(of) -> None:  # type: ignore[no-untyped-def]
    recommender = of("sasrec")
    answer = recommender.recommend(Request(history=("i3", "i9", "i20"), k=8))
    vectors = recommender.scoring.model.item_embedding.weight.detach().numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    history = [recommender.data.item_id(token) for token in ("i3", "i9", "i20")]
    for item in answer.items:
        near = unit[history] @ unit[recommender.data.item_id(item.item)]
        (reason,) = item.reasons
        if near.max() >= 0.1:
            assert reason.kind == "history"
            assert reason.evidence == (("i3", "i9", "i20")[near.argmax()],)
        else:
            assert reason.kind == "popular"


def test_titles_stand_for_items(of) -> None:  # type: ignore[no-untyped-def]
    recommender = of("sasrec")
    titles = recommender.data.item_titles
    unique = next(item for item in range(1, len(titles)) if titles.count(titles[item]) == 1)
    assert recommender.resolve_title(titles[unique].upper()) == unique
    assert recommender.resolve_title(str(recommender.data.item_tokens[unique])) == unique
    with pytest.raises(PaddockError, match="nearest titles are"):
        recommender.resolve_title("qqqq wwww")


def test_nobody_gets_what_most_have(of) -> None:  # type: ignore[no-untyped-def]
    recommender = of("sasrec")
    answer = recommender.recommend(Request(k=5))
    counts = np.bincount(recommender.data.items)
    assert answer.rule == "popular"
    assert answer.notes[0].startswith("no user, history, profile or query was given")
    assert answer == recommender.recommend(Request(history=(), query="", k=5))
    assert [item.score for item in answer.items] == sorted(counts, reverse=True)[:5]


def test_similar_items_are_those_of_the_space(of) -> None:  # type: ignore[no-untyped-def]
    for model, learned in (("sasrec", True), ("ease", False)):
        recommender = of(model)
        assert recommender.space.learned is learned
        answer = recommender.similar("i7", k=5)
        scores = [item.score for item in answer.items]
        assert scores == sorted(scores, reverse=True)
        assert "i7" not in ids(answer)
    data = recommender.data
    users = [set(data.users[data.items == item].tolist()) for item in range(data.n_items + 1)]
    for item in answer.items:
        one, other = users[data.item_id("i7")], users[data.item_id(item.item)]
        expected = len(one & other) / np.sqrt(len(one) * len(other))
        assert item.score == pytest.approx(expected, rel=1e-5)


def test_more_than_there_is(of) -> None:  # type: ignore[no-untyped-def]
    recommender = of("sasrec")
    answer = recommender.recommend(Request(history=("i1",), k=100_000))
    assert len(answer.items) == recommender.data.n_items - 1
    assert "are left of 100000" in answer.notes[-1]


def test_the_origin_names_run_data_and_code(of, trained: CommandLine) -> None:  # type: ignore[no-untyped-def]
    recommender = of("sasrec")
    folder = find_run(recommender.origin.folder, runs_dir=trained.runs_dir)
    assert recommender.origin.model == "sasrec"
    assert recommender.origin.data == recommender.data.hash
    assert recommender.origin.commit == folder.run["git"]["commit"]
    plain = recommender.recommend(Request(user="u1", k=1)).as_plain()
    assert plain["origin"]["folder"] == str(folder.path)


def test_the_best_run_is_that_of_the_greatest_valid_metric(trained: CommandLine) -> None:
    values = {
        run.path: run.result["metrics"]["valid/full/ndcg_at_10"]
        for run in trained.runs
        if run.finished
    }
    assert best_run(trained.runs_dir).path == max(values, key=lambda path: values[path])
    with pytest.raises(
        PaddockError, match=r"no finished run of model=lightgcn .*run.py model=lightgcn"
    ):
        best_run(trained.runs_dir, model="lightgcn")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"k": 0}, "k=0"),
        ({"history": "i1"}, "is a list of items"),
        ({"history": ("i1",) * 1001}, "at most 1000"),
        ({"query": "x" * 2001}, "at most 2000"),
    ],
)
def test_requests_are_bounded(values, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PaddockError, match=said):
        Request(**values)


def test_unknown_runs(tmp_path: Path) -> None:
    with pytest.raises(PaddockError, match="neither a run folder nor"):
        find_run("nowhere", runs_dir=tmp_path)


def test_changed_code_is_said(trained: CommandLine, tmp_path: Path) -> None:
    (folder,) = [run.path for run in trained.runs if run.run["model_key"] == "ease"]
    copied = tmp_path / "runs" / "tiny" / "loo" / "ease-0" / "seed-1"
    shutil.copytree(folder, copied)
    request = Request(user="u1", k=1)
    assert Recommender.load(copied).recommend(request).notes == ()
    sources = RunFolder(copied).run["sources"]
    (name,) = [each for each in sources if each.startswith("model ")]
    RunFolder(copied).update(sources={**sources, name: "0" * 64})
    (note,) = Recommender.load(copied).recommend(request).notes
    assert f"the code of {name} is not that which trained this run" in note


def test_a_run_with_control_texts_is_not_the_best(trained: CommandLine, tmp_path: Path) -> None:
    folder = best_run(trained.runs_dir)
    copied = tmp_path / "tiny" / "loo" / "copied-0" / "seed-1"
    shutil.copytree(folder.path, copied)
    assert best_run(tmp_path).path == copied
    config = RunFolder(copied).run["config"]
    RunFolder(copied).update(config={**config, "text_control": "shuffled"})
    with pytest.raises(PaddockError, match="no finished run of any model"):
        best_run(tmp_path)


def test_a_value_that_looks_like_an_interpolation_is_a_value(
    trained: CommandLine, tmp_path: Path
) -> None:
    copied = tmp_path / "tiny" / "loo" / "copied-0" / "seed-1"
    shutil.copytree(best_run(trained.runs_dir).path, copied)
    config = RunFolder(copied).run["config"]
    dataset = {**config["dataset"], "licence": "see ${where}"}
    RunFolder(copied).update(config={**config, "dataset": dataset})
    assert config_of(RunFolder(copied)).dataset.licence == "see ${where}"
