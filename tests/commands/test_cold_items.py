"""Items that training never shows: who ranks them, and what is said of who cannot."""

from experiments.evaluation.scoring import KNOWS_NO_NEW_ITEM
from tests.commands.command_line import CommandLine


def test_texts_rank_what_interactions_cannot(paddock: CommandLine) -> None:
    cold = ("dataset=tiny", "protocol=loo-cold-items", "protocol.settings.share=0.2")
    told = {}
    for model in ("content_knn", "slist", "pop"):
        run = paddock.trained(f"model={model}", *cold)
        told[model] = run
        assert run.result["unseen"]["test"]["targets"] == run.result["users"]
    shuffled = paddock.trained("model=content_knn", "text_control=shuffled", *cold)
    hits = {name: run.result["metrics"]["test/full/hit_at_10"] for name, run in told.items()}
    # SLIST has no weight for them: all are level, below what the history leads to.
    assert hits["content_knn"] > 2 * max(hits["slist"], hits["pop"])
    assert hits["content_knn"] > shuffled.result["metrics"]["test/full/hit_at_10"]
    notes = {name: run.run["tags"].get("paddock.note.new_items") for name, run in told.items()}
    assert notes == {"content_knn": None, "slist": KNOWS_NO_NEW_ITEM, "pop": KNOWS_NO_NEW_ITEM}
    usual = paddock.trained("model=pop", "dataset=tiny")
    assert "paddock.note.new_items" not in usual.run["tags"]
