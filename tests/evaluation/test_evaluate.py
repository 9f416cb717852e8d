from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.components.registry import functions
from experiments.config.compose import compose, typed
from experiments.config.protocol_keys import check_protocol
from experiments.config.schema import RankingConfig
from experiments.errors import PaddockError
from experiments.evaluation.counters import _count_by_sorting
from experiments.evaluation.evaluate import RankingTask, evaluate, mean_over_users, topk
from experiments.protocol.candidates import candidates
from experiments.protocol.split import TEST, Sequences, split_interactions
from paddock import Metric
from tests.protocol.toy import CandidateTable, Table, loo, naive_metrics, random_toy, split_of, toy

from .test_metrics import over_all_orders

N_USERS, N_ITEMS = 120, 90
METRICS = list(functions(Metric))
CUTOFFS = [1, 5, 10]
FULL = {"full": RankingConfig(cutoffs=CUTOFFS)}
C20 = {"c20": RankingConfig(candidates=20, cutoffs=CUTOFFS)}
CONF = Path(__file__).parents[2] / "conf" / "protocol"


@pytest.fixture(scope="module")
def data():
    return random_toy(2, n_users=N_USERS, n_items=N_ITEMS, longest=30, shortest=2)


@pytest.fixture(scope="module")
def several(data):
    """A split with up to six targets a user, some of whom have none."""
    rng = np.random.default_rng(1)
    part = rng.choice([0, 0, 0, 1, 2], len(data.items))
    for user in range(1, N_USERS + 1):
        tests = np.flatnonzero((data.users == user) & (part == TEST))
        part[tests[6:]] = 0
    return split_of(data, part)


@pytest.fixture(scope="module")
def drawn(data, several, tmp_path_factory):
    """Candidate files by split and phase."""
    folder = tmp_path_factory.mktemp("candidates")

    def draw(split, phase="test", size=20):
        return {"c20": candidates(data, split, phase, size=size, seed=5, folder=folder)}

    return draw


@pytest.fixture(scope="module")
def random_scores():
    rng = np.random.default_rng(3)
    shape = (N_USERS + 1, N_ITEMS + 1)
    return rng.permuted(np.tile(np.arange(shape[1], dtype=float), (shape[0], 1)), axis=1)


def run(scorer, split, candidates=None, phase="test", metrics=tuple(METRICS), **more):
    options = {name: more.pop(name) for name in ("progress", "block") if name in more}
    rankings = FULL | (C20 if candidates else {})
    task = RankingTask(
        split=split,
        phase=phase,
        rankings=more.pop("rankings", rankings),
        candidates=candidates or {},
        metrics=metrics,
        **more,
    )
    return evaluate(scorer, task, **options)


def values_of(evaluation, name):
    return dict(zip(evaluation.per_user["user"], evaluation.per_user[name], strict=True))


def competitors(split, phase, user):
    history = set(split.history(phase).of(user)) - set(split.targets(phase).of(user))
    return [item for item in range(1, split.n_items + 1) if item not in history]


def assert_naive(evaluation, scores, split, phase, drawn):
    """Every value against lists sorted user by user."""
    for user in split.users(phase):
        targets = set(split.targets(phase).of(user))
        ranked = sorted(competitors(split, phase, user), key=lambda item: -scores[user, item])
        rows = drawn.items_TC[drawn.users == user]
        for k in CUTOFFS:
            expected = naive_metrics(ranked, targets, k)
            lists = [
                naive_metrics(sorted(row, key=lambda item: -scores[user, item]), {target}, k)
                for row, target in zip(rows, drawn.targets[drawn.users == user], strict=True)
            ]
            for name in METRICS:
                column = f"{name}_at_{k}"
                got = values_of(evaluation, f"full/{column}")[user]
                assert got == pytest.approx(expected[name], abs=1e-12)
                mean = np.mean([values[name] for values in lists])
                got = values_of(evaluation, f"c20/{column}")[user]
                assert got == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("phase", ["valid", "test"])
def test_one_target_against_naive_lists(data, drawn, random_scores, phase):
    split = loo(data)
    files = drawn(split, phase)
    evaluation = run(Table(random_scores), split, files, phase)
    assert_naive(evaluation, random_scores, split, phase, files["c20"])


def test_several_targets_against_naive_lists(several, drawn, random_scores):
    assert several.targets("test").lengths.max() > 3
    files = drawn(several)
    evaluation = run(Table(random_scores), several, files)
    assert_naive(evaluation, random_scores, several, "test", files["c20"])


@pytest.mark.parametrize("ranking", ["full", "c20"])
def test_equal_to_ranx(data, several, drawn, random_scores, ranking, ranx):
    split = several if ranking == "full" else loo(data)
    files = drawn(split)
    evaluation = run(Table(random_scores), split, files)
    rows = files["c20"]
    qrels, lists = {}, {}
    for user in split.users("test"):
        targets = split.targets("test").of(user)
        items = rows.items_TC[rows.users == user][0]
        items = competitors(split, "test", user) if ranking == "full" else items
        qrels[f"u{user:04}"] = {f"i{item}": 1 for item in targets}
        lists[f"u{user:04}"] = {f"i{item}": float(random_scores[user, item]) for item in items}
    theirs_of = {"hit": "hit_rate"}
    names = {
        f"{name}_at_{k}": f"{theirs_of.get(name, name)}@{k}"
        for name in ("hit", "ndcg", "recall", "precision", "mrr")
        for k in CUTOFFS
    }
    expected = ranx.evaluate(
        ranx.Qrels(qrels), ranx.Run(lists), list(names.values()), return_mean=False
    )
    for name, theirs in names.items():
        got = evaluation.per_user[f"{ranking}/{name}"].to_numpy()
        np.testing.assert_allclose(got, expected[theirs], atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_ties_and_minus_infinity_against_all_orders(draws):
    """Few items, few different scores, one or several targets, an unmasked -inf among them."""
    n_items = 6
    history = draws.draw(st.lists(st.integers(1, n_items), max_size=4), label="history")
    target_sets = [
        draws.draw(st.lists(st.integers(1, n_items), min_size=1, max_size=most, unique=True))
        for most in (1, draws.draw(st.sampled_from([1, 3])))
    ]
    rows = [history + targets for targets in target_sets]
    part = [[0] * len(history) + [TEST] * len(targets) for targets in target_sets]
    split = split_of(toy(rows, n_items), np.concatenate(part))
    scores = np.array(
        draws.draw(
            st.lists(
                st.lists(st.sampled_from([-np.inf, 0.0, 1.0]), min_size=7, max_size=7),
                min_size=3,
                max_size=3,
            )
        )
    )
    evaluation = run(Table(scores), split)
    for user, targets in enumerate(target_sets, start=1):
        items = competitors(split, "test", user)
        assert set(targets) <= set(items)
        expected = over_all_orders(
            [scores[user, item] for item in items], [items.index(i) for i in targets], CUTOFFS
        )
        got = {name: values_of(evaluation, f"full/{name}")[user] for name in expected}
        assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 3.5, -np.inf])
def test_a_constant_scorer_gets_chance(data, several, drawn, value):
    scorer = Table(np.full((N_USERS + 1, N_ITEMS + 1), value))
    recall = values_of(run(scorer, several), "full/recall_at_10")
    for user in several.users("test"):
        left = len(competitors(several, "test", user))
        assert recall[user] == pytest.approx(10 / left)
    split = loo(data)
    evaluation = run(scorer, split, drawn(split))
    assert set(evaluation.per_user["c20/hit_at_1"]) == {1 / 20}
    for user, hit in values_of(evaluation, "full/hit_at_1").items():
        left = N_ITEMS - len(split.history("test").of(user))
        assert hit == 1 / left
        assert values_of(evaluation, "full/recall_at_10")[user] == pytest.approx(10 / left)
    assert evaluation.means["c20/hit_at_1"] == pytest.approx(1 / 20)


@pytest.mark.parametrize("history_on_top", [False, True])
def test_a_perfect_scorer_gets_one(data, several, drawn, history_on_top):
    for split in (loo(data), several):
        scores = np.zeros((N_USERS + 1, N_ITEMS + 1))
        history = split.history("test")
        scores[history.row_of_item(), history.items] = 1e9 if history_on_top else 0
        scores[:, 0] = 1e12
        targets = split.targets("test")
        scores[targets.row_of_item(), targets.items] = 5
        means = run(Table(scores), split, drawn(split)).means
        assert means["full/ndcg_at_10"] == means["full/hit_at_1"] == means["full/mrr_at_1"] == 1
        # Targets of one user compete with each other for the first place, but not in his rows.
        assert means["c20/hit_at_1"] == means["c20/ndcg_at_10"] == 1


def test_a_reversed_scorer_gets_nothing(data, several, drawn):
    for split in (loo(data), several):
        scores = np.ones((N_USERS + 1, N_ITEMS + 1))
        targets = split.targets("test")
        scores[targets.row_of_item(), targets.items] = 0
        evaluation = run(Table(scores), split, drawn(split))
        assert set(evaluation.means.values()) == {0.0}


def test_a_target_that_is_in_the_history_competes():
    split = loo(toy([[4, 2, 3, 4], [1, 2, 3, 4, 4]], 6))
    scores = np.tile(np.arange(7.0)[::-1], (3, 1))
    # Of the six items 2 and 3 (and 1) are masked, 4 is not.
    evaluation = run(Table(scores), split, rankings={"full": RankingConfig(cutoffs=[1, 2])})
    assert values_of(evaluation, "full/hit_at_1") == {1: 0.0, 2: 1.0}
    assert values_of(evaluation, "full/hit_at_2") == {1: 1.0, 2: 1.0}


def test_the_scorers_tensor_is_left_alone(data, several, drawn, random_scores):
    class Keeping(Table):
        def score(self, users_B):
            kept.append(super().score(users_B))
            return kept[-1]

    for split in (loo(data), several):
        kept = []
        scores = random_scores.copy()
        masked = split.masked("test")
        scores[masked.row_of_item(), masked.items] = np.inf
        run(Keeping(scores), split, drawn(split))
        users = torch.from_numpy(split.users("test"))
        assert torch.equal(torch.cat(kept), torch.from_numpy(scores)[users])


@pytest.mark.parametrize("phase", ["valid", "test"])
def test_blocks_do_not_show(data, several, drawn, phase, random_scores):
    scorer = Table(random_scores.round(-1))
    for split in (loo(data), several):
        files = drawn(split, phase)
        whole = run(scorer, split, files, phase).per_user
        for block in (1, 7, 10_000):
            assert run(scorer, split, files, phase, block=block).per_user.equals(whole)


def test_both_ways_of_counting_agree(monkeypatch, data, random_scores):
    split = loo(data)
    scorer = Table(random_scores.round(-1))
    compared = run(scorer, split).per_user
    module = "experiments.evaluation.counters"

    def sorting(scores, items, masked_rows, masked_items):
        rows = torch.arange(len(items))
        return _count_by_sorting(scores, rows, items, masked_rows, masked_items)

    monkeypatch.setattr(f"{module}._count_by_comparing", sorting)
    assert run(scorer, split).per_user.equals(compared)


def test_a_scorer_of_candidates(data, several, drawn, random_scores):
    for split in (loo(data), several):
        files = drawn(split)
        full = run(Table(random_scores), split, files, rankings=C20)
        alone = run(CandidateTable(random_scores), split, files, rankings=C20)
        assert alone.per_user.equals(full.per_user)
        with pytest.raises(PaddockError, match=r"'full' ranks all items.*only scores candidates"):
            run(CandidateTable(random_scores), split, files)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64, torch.int8]
)
def test_ties_are_those_of_the_scorers_own_dtype(data, several, random_scores, dtype):
    # Steps of 1/3 are told apart in float64, and many of them are one number in the others.
    # Large integers, on the contrary, are one number in float32.
    large = 2**40 if dtype == torch.int64 else 0
    scores = torch.from_numpy(random_scores / 3 + large).to(dtype)
    for split in (loo(data), several):
        own = run(Table(scores), split).per_user
        assert own.equals(run(Table(scores.double()), split).per_user)


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "plus infinity")])
def test_bad_scores_name_their_users(data, several, drawn, value, name):
    for split in (loo(data), several):
        users = split.users("test")
        bad = users[[3, 8, 20]]
        scores = np.zeros((N_USERS + 1, N_ITEMS + 1))
        for user in bad:
            scores[user, competitors(split, "test", user)[-1]] = value
        told = f"hold {name} for 3 of {len(users)} users.*user {bad[0]}, {bad[1]}, {bad[2]}\\)"
        with pytest.raises(PaddockError, match=told):
            run(Table(scores), split)
        files = drawn(split)
        scores[:] = 0
        scores[bad[0], files["c20"].items_TC[files["c20"].users == bad[0]][0]] = value
        with pytest.raises(PaddockError, match=f"hold {name} for 1 of .*user {bad[0]}\\)"):
            run(CandidateTable(scores), split, files, rankings=C20)


def test_bad_scores_where_nobody_looks_are_let_pass(data, several, drawn):
    for split in (loo(data), several):
        scores = np.random.default_rng(0).normal(size=(N_USERS + 1, N_ITEMS + 1))
        clean = run(Table(scores), split, drawn(split)).per_user
        masked = split.masked("test")
        scores[:, 0] = np.nan
        scores[masked.row_of_item(), masked.items] = np.nan
        assert run(Table(scores), split, drawn(split)).per_user.equals(clean)


def test_scores_that_overflow_their_sum_are_legal(data):
    scores = np.full((N_USERS + 1, N_ITEMS + 1), 3e38, dtype=np.float32)
    assert run(Table(scores), loo(data)).n_users == len(loo(data).users("test"))


def test_candidate_files_must_fit(data, several, drawn, random_scores):
    with pytest.raises(PaddockError, match="'c20' needs a candidate file"):
        run(Table(random_scores), loo(data), rankings=C20)
    with pytest.raises(PaddockError, match="targets that are not the"):
        run(Table(random_scores), loo(data), drawn(several))
    with pytest.raises(PaddockError, match="targets that are not the"):
        run(Table(random_scores), loo(data), drawn(loo(data), "valid"))
    with pytest.raises(PaddockError, match="rows of 12"):
        run(Table(random_scores), loo(data), drawn(loo(data), size=12))


def test_the_table_and_its_means(data, drawn, random_scores):
    split = loo(data)
    calls = []
    evaluation = run(
        Table(random_scores),
        split,
        drawn(split),
        metrics=["ndcg", "hit"],
        progress=lambda done, total: calls.append((done, total)),
        block=50,
    )
    users = split.users("test")
    table = evaluation.per_user
    assert table.columns == ["user"] + [
        f"{ranking}/{metric}_at_{k}"
        for ranking in ("full", "c20")
        for metric in ("ndcg", "hit")
        for k in CUTOFFS
    ]
    assert table.schema["user"] == pl.Int32
    assert set(table.dtypes[1:]) == {pl.Float64}
    assert list(table["user"]) == list(users)
    assert evaluation.n_users == len(users) < N_USERS
    assert evaluation.means == mean_over_users(table)
    assert evaluation.means["c20/hit_at_5"] == pytest.approx(table["c20/hit_at_5"].mean())
    assert evaluation.seconds > 0
    assert calls == [(min(n, len(users)), len(users)) for n in range(50, len(users) + 50, 50)]


def test_no_gradient_is_kept(data):
    seen = []

    class Watching(Table):
        def score(self, users_B):
            seen.append(torch.is_grad_enabled())
            return super().score(users_B)

    run(Watching(np.zeros((N_USERS + 1, N_ITEMS + 1))), loo(data))
    assert seen == [False]


def test_topk_leaves_the_history_out_and_breaks_ties_by_id(data):
    split = loo(data)
    users = split.users("test")[:40]
    history = split.history("test").take(users)
    rng = np.random.default_rng(0)
    scores = rng.choice([-np.inf, 0.0, 1.0], (len(users), N_ITEMS + 1))
    scores[:, 0] = np.nan
    scores[history.row_of_item(), history.items] = np.nan
    items_BK, scores_BK = topk(torch.from_numpy(scores), history, 15)
    assert items_BK.dtype == np.int32
    assert scores_BK.dtype == np.float64
    for row in range(len(users)):
        left = [i for i in range(1, N_ITEMS + 1) if i not in set(history.of(row))]
        expected = sorted(left, key=lambda item: (-scores[row, item], item))[:15]
        assert list(items_BK[row]) == expected
        assert list(scores_BK[row]) == [scores[row, item] for item in expected]


def test_topk_of_few_items_ends_in_padding():
    history = Sequences(indptr=np.array([0, 3]), items=np.array([1, 3, 3], dtype=np.int32))
    scores = torch.tensor([[9.0, 8.0, -torch.inf, 7.0, 1.0]])
    items_BK, scores_BK = topk(scores, history, 4)
    assert items_BK.tolist() == [[4, 2, 0, 0]]
    assert scores_BK.tolist() == [[1.0, -np.inf, -np.inf, -np.inf]]
    with pytest.raises(PaddockError, match="NaN for 1 of 1 rows"):
        topk(torch.tensor([[0.0, 0.0, np.nan, 0.0, 0.0]]), history, 4)


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_protocol_files_are_sound(path, tmp_path):
    text = path.read_text()
    assert text.startswith("# python run.py ")
    assert f"protocol={path.stem}" in text.splitlines()[0]
    protocol = typed(compose([f"protocol={path.stem}"])).protocol
    assert protocol.name == path.stem
    check_protocol(protocol)
    data = random_toy(4, n_users=60, n_items=150, longest=30)
    split = split_interactions(data, protocol)
    files = {
        name: candidates(data, split, "test", size=r.candidates, seed=r.seed, folder=tmp_path)
        for name, r in protocol.rankings.items()
        if r.candidates
    }
    evaluation = run(
        Table(np.random.default_rng(0).random((61, 151))),
        split,
        files,
        rankings=protocol.rankings,
        metrics=protocol.metrics,
    )
    assert protocol.valid_metric in evaluation.means
