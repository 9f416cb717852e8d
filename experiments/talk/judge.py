"""A language model judges answers by a rubric: accuracy, helpfulness, readability.

The rubric with its examples is in rubric.yaml. Before its scores mean anything it is calibrated: on answers that were labelled by
hand its agreement with the labels is counted, and Cohen's kappa (Cohen, 1960), which takes out what chance alone would give,
plain and with quadratic weights (Cohen, 1968), for which a near miss is less wrong than a far one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from experiments.errors import PaddockError
from experiments.paths import SHARE
from experiments.talk.prompts import DATA_ONLY, as_data, turns
from experiments.visible import visible

if TYPE_CHECKING:
    from experiments.language.client import Client

RUBRIC = Path(__file__).with_name("rubric.yaml")
ANSWERS = SHARE / "datasets" / "talk" / "answers.yaml"
LEVELS = (1, 2, 3)
LONGEST_WHY = 300
"""Characters of a reason."""


@dataclass(frozen=True)
class Judged:
    """An answer to be judged.

    Attributes
    ----------
    message, answer : str
    evidence : tuple of str
        All that the answer may rest on.
    """

    message: str
    answer: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What a judge says of an answer.

    Attributes
    ----------
    scores : mapping of str to int
        Criterion to level; empty where there is no verdict.
    why : str
        The judge's reason, or why there is no verdict.
    """

    scores: Mapping[str, int]
    why: str


class Judge:
    """Judges answers by the rubric, at temperature 0.

    Parameters
    ----------
    client : Client
    """

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._verdicts: dict[Judged, Verdict] = {}

    @property
    def identity(self) -> str:
        """The language model."""
        return self._client.identity

    def verdict(self, judged: Judged) -> Verdict:
        """The verdict on an answer, which is asked for once; without scores where the model gives none.

        Parameters
        ----------
        judged : Judged
        """
        if judged not in self._verdicts:
            self._verdicts[judged] = self._asked(judged)
        return self._verdicts[judged]

    def _asked(self, judged: Judged) -> Verdict:
        prompt = turns(_task(), _shown(judged.message, judged.evidence, judged.answer))
        try:
            read = self._client.structured(prompt, schema(), max_tokens=300, temperature=0.0)
        except PaddockError as error:
            return Verdict({}, str(error))
        scores = {name: int(read[name]) for name in criteria()}
        return Verdict(scores, visible(" ".join(read["why"].split()))[:LONGEST_WHY])


@dataclass(frozen=True)
class Agreement:
    """How far a judge agrees with labels.

    Attributes
    ----------
    answers : int
        With a verdict.
    share : float
        Of answers on which they agree.
    kappa, weighted_kappa : float
        Cohen's, plain and with quadratic weights: 0 is chance, 1 is agreement on all; NaN where both give one level alone.
    """

    answers: int
    share: float
    kappa: float
    weighted_kappa: float


def criteria() -> tuple[str, ...]:
    """The names of the rubric's criteria."""
    return tuple(_rubric()["criteria"])


def schema() -> dict[str, Any]:
    """The JSON schema of a verdict: the reason first, so that the scores follow from it."""
    names = criteria()
    return {
        "type": "object",
        "properties": {
            "why": {"type": "string"},
            **{name: {"type": "integer", "enum": [*LEVELS]} for name in names},
        },
        "required": ["why", *names],
        "additionalProperties": False,
    }


def read_answers(path: Path | str = ANSWERS) -> list[tuple[Judged, dict[str, int]]]:
    """The labelled answers of a YAML file: what is judged, and its level by each criterion.

    Parameters
    ----------
    path : Path or str

    Raises
    ------
    PaddockError
        The file cannot be read, or an entry lacks a text or a level.
    """
    try:
        entries = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PaddockError(f"talk.answers={path} cannot be read: {error}") from None
    if not isinstance(entries, list):
        raise PaddockError(f"talk.answers={path} is no list of answers")
    return [_labelled(entry, number, path) for number, entry in enumerate(entries, start=1)]


def calibrated(
    judge: Judge, labelled: Sequence[tuple[Judged, Mapping[str, int]]]
) -> dict[str, Agreement]:
    """How far a judge agrees with the labels, by criterion.

    Parameters
    ----------
    judge : Judge
    labelled : sequence
        Of `read_answers`.
    """
    pairs = [(judge.verdict(judged).scores, labels) for judged, labels in labelled]
    given = [pair for pair in pairs if pair[0]]
    return {
        name: agreement([scores[name] for scores, _ in given], [each[name] for _, each in given])
        for name in criteria()
    }


def agreement(judged: Sequence[int], labelled: Sequence[int]) -> Agreement:
    """How far levels agree.

    Parameters
    ----------
    judged, labelled : sequence of int
        Of the same answers.
    """
    from sklearn.metrics import cohen_kappa_score

    if not judged:
        return Agreement(0, float("nan"), float("nan"), float("nan"))
    if len({*judged, *labelled}) == 1:
        return Agreement(len(judged), 1.0, float("nan"), float("nan"))
    plain, weighted = (
        float(cohen_kappa_score(judged, labelled, labels=[*LEVELS], weights=weights))
        for weights in (None, "quadratic")
    )
    share = float(np.mean(np.asarray(judged) == np.asarray(labelled)))
    return Agreement(len(judged), share, plain, weighted)


@cache
def _rubric() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(RUBRIC.read_text(encoding="utf-8"))
    return read


@cache
def _task() -> str:
    rubric = _rubric()
    parts = [
        "You judge the answers of a recommender. Judge only what stands in the answer, by the evidence; what you know "
        f"of the items yourself does not count. {DATA_ONLY} Give a reason in one sentence, then a level for each criterion."
    ]
    for name, criterion in rubric["criteria"].items():
        levels = "\n".join(f"  {level}: {text}" for level, text in criterion["levels"].items())
        parts.append(f"{name}: {criterion['asks']}\n{levels}")
    for example in rubric["examples"]:
        shown = _shown(example["message"], example["evidence"], example["answer"])
        parts.append(
            f"Example:\n{shown}\nVerdict: {as_data('verdict', {'why': example['why'], **example['scores']})}"
        )
    return "\n\n".join(parts)


def _shown(message: str, evidence: Sequence[str], answer: str) -> str:
    return "\n".join(
        [as_data("message", message), as_data("evidence", [*evidence]), as_data("answer", answer)]
    )


def _labelled(entry: Any, number: int, path: Path | str) -> tuple[Judged, dict[str, int]]:
    try:
        judged = Judged(entry["message"], entry["answer"], tuple(entry["evidence"]))
        labels = {name: entry[name] for name in criteria()}
        texts = (judged.message, judged.answer, *judged.evidence)
        if not all(isinstance(text, str) for text in texts) or set(labels.values()) - {*LEVELS}:
            raise TypeError
    except (KeyError, TypeError):
        raise PaddockError(
            f"{path}: answer {number} needs message, answer, evidence: [TEXT, ...] and a level of 1, 2 or 3 for each of "
            f"{', '.join(criteria())}"
        ) from None
    return judged, labels
