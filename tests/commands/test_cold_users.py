"""Users that training never shows: who scores them, from what, and what is said of who cannot."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from experiments.config.compose import compose, typed
from experiments.evaluation.applicability import NEW_USERS, NO_HISTORY
from experiments.protocol.shared_data import shared_data
from experiments.runs.folder import RunFolder
from tests.commands.command_line import CommandLine

COLD = ("dataset=tiny", "protocol.settings.share=0.3", "threads=1", "device=cpu")
QUICK = ("model.epochs=2",)
READ_HISTORIES = {"ease": (), "slist": (), "user_knn": (), "sasrec": QUICK, "als": QUICK}
TEST = "test/full/ndcg_at_10"
GOLDEN_POP = 0.0540


def trained(paddock: CommandLine, model: str, protocol: str, *more: str) -> RunFolder:
    return paddock.trained(f"model={model}", f"protocol={protocol}", *COLD, *more)


@pytest.mark.parametrize(
    ("model", "protocol", "more", "reason"),
    [
        ("bpr", "cold-users", QUICK, NEW_USERS),
        ("bpr", "cold-users-5", QUICK, NEW_USERS),
        ("lightgcn", "cold-users-5", QUICK, NEW_USERS),
        # They read histories, beside an untrained vector of the user.
        ("recbole", "cold-users-5", ("model.name=SimpleX", *QUICK), NEW_USERS),
        ("recbole", "cold-users-5", ("model.name=FPMC", *QUICK), NEW_USERS),
        ("ease", "cold-users", (), NO_HISTORY),
        ("sasrec", "cold-users", QUICK, NO_HISTORY),
        ("ease", "cold-users-5", ("protocol.inputs=recbole",), NEW_USERS),
        ("pop", "cold-users", (), None),
        ("profile", "cold-users", QUICK, None),
        ("user_knn", "cold-users", (), None),
        ("pop", "cold-users-5", (), None),
        ("profile", "cold-users-5", QUICK, None),
        *((model, "cold-users-5", more, None) for model, more in READ_HISTORIES.items()),
    ],
)
def test_who_can_score_new_users(
    paddock: CommandLine, model: str, protocol: str, more: tuple[str, ...], reason: str | None
) -> None:
    made = trained(paddock, model, protocol, *more)
    result = made.result
    assert result["users"] == 60
    if reason is None:
        assert "not_applicable" not in result
        assert 0 < result["metrics"][TEST] < 1
        assert not [tag for tag in made.run["tags"] if tag.startswith("paddock.note.")]
    else:
        assert result["not_applicable"] == {"valid": reason, "test": reason}
        assert result["metrics"] == {}
        assert made.curve == []  # no epoch could have been chosen
        assert made.run["tags"]["paddock.note.not_applicable"] == reason


def test_popularity_ranks_by_the_users_that_it_was_shown(paddock: CommandLine) -> None:
    """Its value follows from the split alone: a target's rank is the mean over the orders of its ties."""
    made = trained(paddock, "pop", "cold-users-5")
    config = typed(compose(["model=pop", "protocol=cold-users-5", *COLD]))
    split = shared_data(replace(config, data_dir=str(paddock.data_dir))).split
    counts = np.bincount(split.train_items, minlength=split.n_items + 1)
    values = []
    for user in split.users("test"):
        (target,) = split.targets("test").of(user)
        others = np.setdiff1d(
            np.arange(1, split.n_items + 1), [target, *split.history("test").of(user)]
        )
        above = int((counts[others] > counts[target]).sum())
        level = int((counts[others] == counts[target]).sum())
        ranks = np.arange(above + 1, above + level + 2)
        values.append(np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0.0).mean())
    assert len(values) == 60
    assert made.result["metrics"][TEST] == pytest.approx(np.mean(values), abs=1e-9)
    assert trained(paddock, "pop", "cold-users").result["metrics"][TEST] == pytest.approx(
        GOLDEN_POP, abs=1e-4
    )


def test_nothing_of_held_out_users_is_trained_on(paddock: CommandLine) -> None:
    """Training is the same to the bit, whatever is given of them."""
    for model, more in (("sasrec", ("model.epochs=1",)), ("slist", ())):
        two, five = (
            load_file(
                trained(paddock, model, "cold-users-5", f"protocol.history={given}", *more).path
                / "model"
                / "model.safetensors"
            )
            for given in (2, 5)
        )
        assert two.keys() == five.keys()
        assert all((two[name] == five[name]).all() for name in two)


def test_a_history_tells_more_than_none(paddock: CommandLine) -> None:
    """Tiny's users follow planted sequences; popularity knows nothing of them."""
    by_history = trained(paddock, "user_knn", "cold-users-5").result["metrics"]
    by_none = trained(paddock, "pop", "cold-users-5").result["metrics"]
    assert by_history["test/c20/hit_at_10"] > by_none["test/c20/hit_at_10"]


def test_rows_without_a_number_stand_last(paddock: CommandLine) -> None:
    trained(paddock, "bpr", "cold-users", *QUICK)
    trained(paddock, "pop", "cold-users")
    answer = paddock("mode=leaderboard", "protocol=cold-users", *COLD[:2])
    rows = [line.split() for line in answer.out.splitlines() if "pop" in line or "bpr" in line]
    assert [row[0] for row in rows] == ["pop", "bpr"]
    assert rows[1].count("n/a") >= 3
    assert NEW_USERS in " ".join(answer.out.split())
    told = paddock("mode=recommend", "user=u1", "model=bpr", "protocol=cold-users", *COLD, *QUICK)
    assert told.code != 0
    assert "cannot score" in told.err + told.out
