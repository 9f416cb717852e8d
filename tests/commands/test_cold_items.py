"""Items that training never shows: who ranks them, and what is said of who cannot."""

from experiments.evaluation.applicability import NEW_ITEMS
from tests.commands.command_line import CommandLine


def test_texts_rank_what_interactions_cannot(paddock: CommandLine) -> None:
    cold = ("dataset=tiny", "protocol=loo-cold-items", "protocol.settings.share=0.2")
    told = {}
    for model in ("content_knn", "slist", "pop"):
        run = paddock.trained(f"model={model}", *cold)
        told[model] = run
        assert run.result["unseen"]["test"]["targets"] == run.result["users"]
    shuffled = paddock.trained("model=content_knn", "text_control=shuffled", *cold)
    hits = told["content_knn"].result["metrics"]["test/full/hit_at_10"]
    # Ten of 24 held-out items and 96 others by chance: the texts must lift the right ones.
    assert hits > 0.3
    assert hits > shuffled.result["metrics"]["test/full/hit_at_10"]
    notes = {name: run.run["tags"].get("paddock.note.not_applicable") for name, run in told.items()}
    assert notes == {"content_knn": None, "slist": NEW_ITEMS, "pop": NEW_ITEMS}
    usual = paddock.trained("model=pop", "dataset=tiny")
    assert "paddock.note.not_applicable" not in usual.run["tags"]


def test_no_number_stands_for_who_cannot(paddock: CommandLine) -> None:
    cold = ("dataset=tiny", "protocol=loo-cold-items", "protocol.settings.share=0.2")
    able, unable = (paddock.trained(f"model={model}", *cold) for model in ("content_knn", "pop"))
    assert unable.result["not_applicable"] == {"test": NEW_ITEMS}
    # The valid part asks for items that it knows.
    assert {name.partition("/")[0] for name in unable.result["metrics"]} == {"valid"}
    assert "not_applicable" not in able.result
    answer = paddock("mode=leaderboard", *cold)
    line = next(line for line in answer.out.splitlines() if line.split()[:1] == ["pop"])
    assert "n/a" in line
    assert "0." not in line.rpartition("n/a")[0]
    assert NEW_ITEMS in " ".join(answer.out.split())
