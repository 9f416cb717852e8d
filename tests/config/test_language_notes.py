"""What a run says of its language model."""

import pytest

from experiments.config.compose import compose
from experiments.config.models import model
from experiments.config.resolve import resolve_model


@pytest.mark.parametrize(
    ("chosen", "tags"),
    [
        ([], {"paddock.mechanics_only": "true"}),
        (["llm=smollm2"], {"paddock.note.llm": "LLM smollm2"}),
        (["llm=opt-125m"], {"paddock.note.llm": "LLM opt-125m"}),
        (["model.llm.gguf=folder/of/Some-1B.gguf"], {"paddock.note.llm": "LLM Some-1B.gguf"}),
    ],
)
def test_only_the_tiny_language_model_is_of_mechanics_alone(
    chosen: list[str], tags: dict[str, str]
) -> None:
    resolved = resolve_model(compose(["model=a_llmrec", "dataset=tiny", *chosen]).model)
    declared = model("ALLMRec").config
    assert declared is not None
    assert declared.notes(resolved.values, full=False) == tags
