"""Which rows a report has, whom the best one stands against, and what stands beside a row."""

from pathlib import Path

import pytest

from benchmarks.synthetic_store import Fake
from reports.text import escaped
from tests.reports.conftest import SEEDS, Report, Stored

LEAD = "full/ndcg_at_10"
UNREAD, BACKBONE = "reads no valid item", "its backbone reads no valid item"


def several(model: str, quality: float, **more: object) -> list[Fake]:
    """A run for every seed."""
    return [Fake(model=model, seed=seed, quality=quality, **more) for seed in SEEDS]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Popularity, A-LLMRec on SASRec, models far below, two that were trained on valid too."""
    on_sasrec = {"model.backbone.name": "SASRec"}
    refitted = {"params": {"protocol.refit": "valid"}, "config": "refitted"}
    return stored(
        tmp_path_factory.mktemp("rows"),
        [
            *several("pop", 0.5),
            *several("sasrec", 0.7),
            *several("a_llmrec", 0.69, params=on_sasrec, tags={"paddock.note.inputs": BACKBONE}),
            *several("bpr", 0.2, tags={"paddock.note.inputs": UNREAD}),
            *several("sasrec", 0.95, **refitted),
            *several("bpr", 0.9, **refitted),
        ],
    )


def test_the_winner_stands_against_a_fair_opponent(store: str, report: Report) -> None:
    """Neither the model that re-ranks its list nor popularity, which are both better than BPR."""
    made = report(store)
    assert made.code == 0, made.err
    best, first = made.row("sasrec"), made.summary["headline"].partition("c20")[0]
    assert best["metrics"][LEAD]["comparison"]["against"] == "bpr"
    assert best["metrics"][LEAD]["gain"] == pytest.approx(
        best["metrics"][LEAD]["mean"] / made.row("bpr")["metrics"][LEAD]["mean"] - 1
    )
    assert first.startswith("sasrec has the best full NDCG@10")
    assert "against bpr ² (significant)" in first
    assert "a_llmrec ¹, built on sasrec, is no opponent of it." in first
    assert "pop, better than that, learns nothing of the users." in first
    # The others stand against the best row.
    assert made.row("pop")["metrics"][LEAD]["comparison"]["against"] == "sasrec"
    # Who asks for a baseline gets it.
    asked = report(store, "baselines=[pop]")
    assert asked.row("sasrec")["metrics"][LEAD]["comparison"]["against"] == "pop"
    assert "against pop, which learns nothing of the users" in asked.summary["headline"]


def test_no_headline_names_a_winner_without_significance(
    stored: Stored, tmp_path: Path, report: Report
) -> None:
    for number, (fakes, said) in enumerate(
        (
            ([*several("sasrec", 0.7), *several("gru4rec", 0.7, config="b")], "not significant"),
            ([Fake(model="sasrec", per_user=False), Fake(model="bpr", quality=0.2)], "not tested"),
            ([Fake(model="sasrec", quality=0.7), Fake(model="bpr", quality=0.1)], "other seeds"),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        told = report(stored(folder, fakes)).summary["headline"]
        assert "has the highest mean" in told
        assert said in told
        assert "has the best" not in told


def test_equal_models_share_the_headline(stored: Stored, tmp_path: Path, report: Report) -> None:
    same = [
        Fake(model=model, config="a", seed=seed, tags={"paddock.model_key": key})
        for model, key in (("bpr", "one"), ("bpr", "two"))
        for seed in SEEDS
    ]
    for fake, key in zip(same, ("one",) * 3 + ("two",) * 3, strict=True):
        fake.tags["paddock.config_hash"] = key * 20  # type: ignore[index]
    told = report(stored(tmp_path, same)).summary["headline"]
    assert "one and two share the best full NDCG@10" in told


def test_only_the_models_that_are_asked_for(store: str, report: Report) -> None:
    made = report(store, "models=[bpr, pop]")
    assert {row["label"] for row in made.summary["rows"]} == {"bpr", "pop"}
    assert [row["label"] for row in made.summary["rows_apart"]] == ["bpr"]
    assert "models=[bpr,pop]" in (made.folder / "table.md").read_text(encoding="utf-8")
    refused = report(store, "models=[bpr,sasrek]")
    assert refused.code != 0
    assert refused.err == (
        "error: models: no run of sasrek in ml-100k/loo; there are a_llmrec, bpr, pop, sasrec\n"
    )


def test_refitted_models_stand_apart(store: str, report: Report) -> None:
    made = report(store)
    summary = made.summary
    assert {row["label"] for row in summary["rows"]} == {"pop", "sasrec", "a_llmrec", "bpr"}
    assert {row["label"]: len(row["runs"]) for row in summary["rows_apart"]} == {
        "sasrec": 3,
        "bpr": 3,
    }
    # BPR's refitted runs are better than SASRec's others, and neither gain nor mark knows of them.
    apart = {row["label"]: row["metrics"][LEAD] for row in summary["rows_apart"]}
    assert apart["bpr"]["mean"] > made.row("sasrec")["metrics"][LEAD]["mean"]
    assert made.row("sasrec")["metrics"][LEAD]["mark"] == "best"
    assert apart["bpr"]["comparison"]["against"] == "sasrec"
    assert apart["bpr"]["gain"] == pytest.approx(apart["bpr"]["mean"] / apart["sasrec"]["mean"] - 1)
    page = (made.folder / "index.html").read_text(encoding="utf-8")
    assert page.index('id="table-full"') < page.index('id="table-apart-full"')
    # The other way round.
    turned = report(store, "refit=valid")
    assert {row["label"] for row in turned.summary["rows"]} == {"sasrec", "bpr"}
    assert len(turned.summary["rows_apart"]) == 4
    assert turned.row("sasrec")["metrics"][LEAD]["mean"] == apart["sasrec"]["mean"]
    assert "did you mean valid?" in report(store, "refit=vaild").err


def test_notes_of_models_stand_beside_their_rows(store: str, report: Report) -> None:
    made = report(store)
    markdown = (made.folder / "table.md").read_text(encoding="utf-8")
    page = (made.folder / "index.html").read_text(encoding="utf-8")
    latex = (made.folder / "table.tex").read_text(encoding="utf-8")
    for sign, number, label, note in (("¹", 1, "a_llmrec", BACKBONE), ("²", 2, "bpr", UNREAD)):
        assert f"| {label} {sign} |" in markdown
        assert f"- {sign} {note}." in markdown
        assert f'<th scope="row">{label} {sign}</th>' in page
        assert f"<li>{sign} {note}.</li>" in page
        assert f"$^{{{number}}}$ &" in latex
    assert "| sasrec |" in markdown


def test_who_cannot_score_the_test_has_no_number(
    stored: Stored, tmp_path: Path, report: Report
) -> None:
    note = "not applicable: it knows items by their interactions alone"
    unable = {"scored": False, "tags": {"paddock.note.not_applicable": note}}
    fakes = [*several("content_knn", 0.5), *several("slist", 0.3), *several("bpr", 0.9, **unable)]
    made = report(stored(tmp_path, fakes))
    assert made.code == 0, made.err
    assert made.summary["headline"].startswith("content_knn has the best full NDCG@10")
    assert made.row("bpr")["metrics"] == {}
    compared = [
        each["comparison"]["against"]
        for label in ("content_knn", "slist")
        for each in made.row(label)["metrics"].values()
    ]
    assert set(compared) == {"content_knn", "slist"}
    markdown = (made.folder / "table.md").read_text(encoding="utf-8")
    *_, line = (line for line in markdown.splitlines() if line.startswith("| bpr ¹ | n/a | n/a |"))
    assert "0." not in line
    assert f"- ¹ {note}." in markdown
    page = (made.folder / "index.html").read_text(encoding="utf-8")
    assert '<span class="number">n/a</span>' in page


def test_slices_tell_their_users_and_name_no_winner_of_a_tie(
    stored: Stored, tmp_path: Path, report: Report
) -> None:
    same = {"paddock.config_hash": "b" * 64}
    fakes = [
        *several("bpr", 0.3, users=100),
        *several("bpr", 0.3, users=100, tags={**same, "paddock.model_key": "twin"}),
    ]
    page = (report(stored(tmp_path, fakes)).folder / "index.html").read_text(encoding="utf-8")
    assert "cold items (n = 25)" in page
    assert "on cold items (n = 25) nobody alone (2 are level)" in page


def test_names_are_no_markup_in_markdown_and_figures(
    stored: Stored, tmp_path: Path, report: Report
) -> None:
    hostile = "<b>x</b> | *y* [z](http://h) `c` $\\frac{"
    fakes = [
        *several("bpr", 0.3, tags={"paddock.model_key": hostile, "paddock.note.x": "a\n# b"}),
        *several("sasrec", 0.6),
    ]
    made = report(stored(tmp_path, fakes))
    assert made.code == 0, made.err
    markdown = (made.folder / "table.md").read_text(encoding="utf-8")
    assert "<b>" not in markdown
    assert "\n# b" not in markdown
    line = next(line for line in markdown.splitlines() if line.startswith("| &lt;b&gt;"))
    assert line.replace("\\|", "").count("|") == 7
    page = (made.folder / "index.html").read_text(encoding="utf-8")
    assert "<b>x" not in page
    # plotly takes text for HTML, so that it is given the text of the text.
    assert '"name":"&lt;b&gt;x' in page
    assert (made.folder / "figures" / "curves.svg").read_text(encoding="utf-8").count(
        "$\\frac{"
    ) > 0


def test_markdown_is_escaped_and_names_stay_legible() -> None:
    assert escaped("a_llmrec † on ml-100k") == "a_llmrec † on ml-100k"
    assert escaped("_x_ *y* `z` [a](b) <i> a|b\nc") == (
        "\\_x\\_ \\*y\\* \\`z\\` \\[a\\](b) &lt;i&gt; a\\|b c"
    )
