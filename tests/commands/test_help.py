"""The help of a model and the page of all keys say what the components declare."""

from experiments.components.registry import models, strategies
from experiments.config.key_reference import page
from experiments.config.models import model
from experiments.config.recbole_models import recbole_models, refusal
from tests.commands.command_line import CommandLine


def test_help_of_a_model_lists_its_keys(paddock: CommandLine) -> None:
    answer = paddock.process("model=bert4rec", "--help", options=("-X", "importtime"))
    assert answer.code == 0
    keys = model("BERT4Rec").all_keys("masked")
    shown = {
        line.split()[0].removeprefix("model.")
        for line in answer.out.splitlines()
        if line.startswith(" model.")
    }
    assert shown == set(keys)
    (line,) = [line for line in answer.out.splitlines() if " model.mask_ratio " in line]
    assert "at least 0 and at most 1" in line
    assert "Share of a window's items that are hidden." in line
    imported = {line.rpartition("|")[2].strip() for line in answer.err.splitlines()}
    assert not imported & {"torch", "recbole", "polars", "mlflow"}


def test_help_of_a_model_knows_the_command(paddock: CommandLine) -> None:
    answer = paddock("model=bpr", "model.embedding_size=7", "--help")
    (line,) = [line for line in answer.out.splitlines() if " model.embedding_size " in line]
    assert line.split()[2] == "7"
    assert (
        "did you mean model.embedding_size?"
        in paddock("model=bpr", "model.embedding_siz=7", "--help").err
    )


def test_the_page_holds_every_component() -> None:
    text = page()
    for name in (*models(), *strategies()):
        assert f"### {name}\n" in text
    for name in recbole_models():
        if name not in models():
            assert (f"| `{name}` |" in text) == (refusal(name) is None)
