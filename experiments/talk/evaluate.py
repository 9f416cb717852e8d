"""A conversation measured on a finished run: what it finds, what it understands, and how its answers are judged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from experiments.config.schema import Config
from experiments.errors import PaddockError
from experiments.protocol.split import Split
from experiments.talk.engine import Engine
from experiments.talk.evidence import evidence_of
from experiments.talk.judge import Judge, Judged, calibrated, criteria, read_answers
from experiments.talk.measure import HALVES, Reads, is_of, measure, read_messages
from experiments.talk.phrasing import phrased
from experiments.talk.replay import drawn_users, replay
from experiments.talk.state import State
from experiments.talk.turn import Turn
from experiments.talk.understand import Understood
from experiments.talk.understand_llm import understand_by_model

if TYPE_CHECKING:
    from experiments.data.prepared import Prepared
    from experiments.language.client import Client

NO_MODEL = "No language model reads messages or judges answers: name one by llm_client=server or llm_client=smollm2."


@dataclass
class Evaluation:
    """What was measured.

    Attributes
    ----------
    users : int
        Simulated users.
    metrics : dict of str to float
        Under names that MLflow accepts.
    notes : list of str
        What was not measured, and why.
    judge : Judge or None
    judged : dict of str to list of Judged
        Who worded the answers ("template", "llm") to answers with a verdict or without one.
    """

    users: int
    metrics: dict[str, float]
    notes: list[str] = field(default_factory=list)
    judge: Judge | None = None
    judged: dict[str, list[Judged]] = field(default_factory=dict)


def evaluated(
    config: Config, engine: Engine, data: "Prepared", split: Split, client: "Client | None"
) -> Evaluation:
    """Measure an engine that knows the training part alone.

    Parameters
    ----------
    config : Config
    engine : Engine
        Without a language model: the replay is that of rules and templates.
    data : Prepared
    split : Split
    client : Client or None
        The language model that reads messages beside the rules, words answers beside the templates, and judges both.

    Raises
    ------
    PaddockError
        The split leaves no user, or a file of labels cannot be read.
    """
    users = drawn_users(split, config.talk.users, seed=config.seed)
    if not users:
        raise PaddockError(f"protocol={config.protocol.name} leaves no user of {data.name} to test")
    kept = config.talk.judged if client is not None else 0
    replayed = replay(engine, data, split, users=users, keep=kept)
    made = Evaluation(len(users), replayed.metrics())
    _measure_understanding(made, config, engine, client)
    if client is None:
        made.notes.append(NO_MODEL)
        return made
    made.judge = Judge(client)
    _calibrate(made, made.judge, config)
    _judge(made, made.judge, engine, client, replayed.kept)
    return made


def _measure_understanding(
    made: Evaluation, config: Config, engine: Engine, client: "Client | None"
) -> None:
    """Precision and recall of each slot on the labelled messages, by the rules and by the language model."""
    path = config.talk.labels
    entries = read_messages() if path is None else read_messages(path)
    rules = engine.understanding
    if not is_of(entries, engine.catalogue):
        made.notes.append(
            "The labelled messages name items that this data set does not have: understanding is not measured."
        )
        return
    readers: dict[str, Reads] = {"rules": rules.understand}
    read_by: list[str] = []
    if client is not None:
        readers["llm"] = partial(_read, client, engine, read_by)
    for name, reads in readers.items():
        for half in HALVES:
            chosen = [each for each in entries if each["half"] == half]
            for slot, found in measure(chosen, rules.catalogue, reads).items():
                at = f"talk/understanding/{name}/{half.replace(' ', '_')}/{slot}"
                made.metrics[f"{at}/precision"] = found.precision
                made.metrics[f"{at}/recall"] = found.recall
    if read_by:
        # The others were answered by the rules, and count as the model's.
        made.metrics["talk/understanding/llm/used"] = read_by.count("llm") / len(read_by)


def _read(client: "Client", engine: Engine, read_by: list[str], message: str) -> Understood:
    understood = understand_by_model(client, message, State(), engine.understanding)
    read_by.append(understood.by)
    return understood


def _calibrate(made: Evaluation, judge: Judge, config: Config) -> None:
    path = config.talk.answers
    labelled = read_answers() if path is None else read_answers(path)
    for name, agreement in calibrated(judge, labelled).items():
        at = f"talk/judge/agreement/{name}"
        values = {
            "share": agreement.share,
            "kappa": agreement.kappa,
            "weighted_kappa": agreement.weighted_kappa,
        }
        # NaN: there is no such number.
        made.metrics |= {f"{at}/{key}": value for key, value in values.items() if value == value}
    given = sum(bool(judge.verdict(each).scores) for each, _ in labelled)
    made.metrics["talk/judge/agreement/given"] = given / len(labelled)
    if not given:
        first = judge.verdict(labelled[0][0]).why
        made.notes.append(f"The language model gave no verdict on any labelled answer: {first}.")


def _judge(
    made: Evaluation,
    judge: Judge,
    engine: Engine,
    client: "Client",
    turns: Sequence[tuple[str, Turn]],
) -> None:
    """Judge the answers of turns, as the templates and as the language model word them."""
    wordings: Mapping[str, Callable[[str, Turn], tuple[str, bool]]] = {
        "template": lambda _, turn: (turn.words, True),
        "llm": partial(_worded, client, engine),
    }
    for name, wording in wordings.items():
        worded = [(message, turn, *wording(message, turn)) for message, turn in turns]
        made.metrics[f"talk/say/{name}/used"] = _mean([used for *_, used in worded])
        made.judged[name] = [
            Judged(message, words, tuple(_evidence(turn, engine)))
            for message, turn, words, used in worded
            if used
        ]
        verdicts = [judge.verdict(each).scores for each in made.judged[name]]
        given = [scores for scores in verdicts if scores]
        made.metrics[f"talk/judge/{name}/given"] = _mean([bool(each) for each in verdicts])
        if given:
            for criterion in criteria():
                mean = _mean([scores[criterion] for scores in given])
                made.metrics[f"talk/judge/{name}/{criterion}"] = mean


def _worded(client: "Client", engine: Engine, message: str, turn: Turn) -> tuple[str, bool]:
    """The language model's words for a turn, and whether they may be used."""
    words, why = phrased(
        client,
        turn.words,
        turn.items,
        message,
        titles=engine.understanding.titles,
        catalogue=engine.catalogue,
    )
    return words, not why


def _evidence(turn: Turn, engine: Engine) -> Iterator[str]:
    yield from map(evidence_of, turn.items)
    for name, items in (("likes", turn.state.likes), ("dislikes", turn.state.dislikes)):
        if items:
            yield f"{name}: {', '.join(engine.catalogue.title_of(item) for item in items)}"
    yield f"ranked by: {turn.trace['origin'].get('model', '')}, {turn.trace['rule']}"
    yield from (f"{name}: {value}" for name, value in turn.trace["counted"].items() if value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
