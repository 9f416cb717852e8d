"""A conversation in the terminal, or over a file of messages."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.config.schema import Config, Format
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.errors import PaddockError
from experiments.protocol.split import split_interactions
from experiments.runs.folder import RunFolder
from experiments.serving.finished import asked_run
from experiments.talk.ask.tables import Table as Answer
from experiments.talk.assemble import configured_client, engine_of, trained_engine
from experiments.talk.evaluate import Evaluation, evaluated
from experiments.talk.judge import Judged
from experiments.talk.replay import CUTOFF
from experiments.talk.say import language_of, suggestion_line
from experiments.talk.state import State
from experiments.talk.turn import Turn
from experiments.tracking.judged import track_judged
from experiments.tracking.traces import Traces, track_measures
from experiments.visible import json_text, visible

SHOWN = 20
"""Rows of an answer that a terminal shows; JSON has all."""


def talk(config: Config, *, model_key: str, console: Console) -> None:
    """Answer messages, of a file or as they are typed, until they end.

    Parameters
    ----------
    config : Config
        `user` is whose history counts from the start, `messages` the file, `format` how to answer.
    model_key : str
        Of the run that ranks; the best on valid where `run_id` names none.
    console : Console
        Where to print.

    Raises
    ------
    PaddockError
        There is no such run, or a message of the file cannot be read.
    """
    data = prepare(config.dataset, data_dir=config.data_dir, progress=config.progress)
    folder = asked_run(config, dataset=data.name, model=model_key)
    if config.talk.evaluate:
        _evaluate(config, data, folder, console)
        return
    engine = engine_of(config, data, folder)
    state = State() if config.user is None else State(user=str(config.user))
    traces = Traces(config.tracking, dataset=data.name)
    if config.messages is not None:
        for number, message in _lines(config.messages):
            try:
                made = engine.turn(state, message)
            except PaddockError as error:
                raise PaddockError(f"{config.messages}, line {number}: {error}") from None
            state = made.state
            traces.log(made.trace, message=message, words=made.words, state=asdict(state))
            _show(made, message, config.format, console)
        return
    for line in _typed(console):
        try:
            made = engine.turn(state, line)
        except PaddockError as error:
            console.print(visible(str(error)))
            continue
        state = made.state
        traces.log(made.trace, message=line, words=made.words, state=asdict(state))
        _show(made, line, config.format, console)


def _evaluate(config: Config, data: Prepared, folder: RunFolder, console: Console) -> None:
    """Let simulated users talk, have labelled messages read and answers judged; print and track what comes of it."""
    if config.k < CUTOFF:
        raise PaddockError(f"k={config.k}: a list of {CUTOFF} items is measured; leave k={CUTOFF}")
    split = split_interactions(data, config.protocol)
    engine = trained_engine(config, data, split, folder)
    client = configured_client(config, data)
    made = evaluated(config, engine, data, split, client)
    tags = {"model": engine.ranker.origin["model"], "run_id": engine.ranker.origin["run_id"]}
    measured = {
        **tags,
        "dataset_hash": data.hash,
        "split_hash": split.hash,
        "users": str(made.users),
        "llm": client.identity if client is not None else "none",
    }
    name = f"{tags['model']}, {made.users} users"
    track_measures(
        config.tracking, dataset=data.name, name=name, tags=measured, metrics=made.metrics
    )
    _track_judged(config, data.name, made, measured)
    if config.format is Format.json:
        plain = {**tags, "users": made.users, **made.metrics, "notes": made.notes}
        console.file.write(json_text(plain) + "\n")
        return
    table = Table(title=f"{tags['model']} on {data.name}, {made.users} simulated users")
    table.add_column("Measure")
    table.add_column("Value", justify="right")
    for name, value in made.metrics.items():
        table.add_row(name.removeprefix("talk/"), f"{value:.4f}")
    console.print(table)
    for note in made.notes:
        console.print(visible(note), soft_wrap=True)


def _track_judged(config: Config, dataset: str, made: Evaluation, tags: Mapping[str, str]) -> None:
    judge = made.judge
    if judge is None:
        return

    def assess(message: str, answer: str, evidence: Sequence[str]) -> tuple[Mapping[str, int], str]:
        verdict = judge.verdict(Judged(message, answer, tuple(evidence)))
        return verdict.scores, verdict.why

    for wording, answers in made.judged.items():
        track_judged(
            config.tracking,
            dataset=dataset,
            name=f"judged, worded by {wording}",
            answers=[(each.message, each.answer, each.evidence) for each in answers],
            assess=assess,
            judge=judge.identity,
            tags={**tags, "kind": "talk-judge", "wording": wording},
        )


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """The messages of a file with the numbers of their lines; empty lines are none."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PaddockError(f"messages={path} cannot be read: {error}") from None
    found = [
        (number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()
    ]
    if not found:
        raise PaddockError(f"messages={path} holds no message: write one a line")
    yield from found


def _typed(console: Console) -> Iterator[str]:
    asks = sys.stdin.isatty()
    if asks:
        console.print("Say what you like, or ask for something; an empty line ends it.")
    while True:
        try:
            line = input("> " if asks else "")
        except EOFError:
            return
        if not line.strip():
            return
        yield line


def _show(made: Turn, message: str, form: Format, console: Console) -> None:
    if form is Format.json:
        plain = {"message": message, **made.as_plain()}
        console.file.write(json_text(plain, indent=None) + "\n")
        console.file.flush()
        return
    console.print(visible(made.words, keep="\n"), soft_wrap=True)
    if made.outside is not None:
        console.print(suggestion_line(made.outside, language_of(message)), soft_wrap=True)
    if made.table is not None:
        console.print(_table(made.table))
    console.print()


def _table(answer: Answer) -> Table:
    table = Table()
    for name in answer.columns:
        table.add_column(visible(name))
    for row in answer.rows[:SHOWN]:
        table.add_row(*("" if cell is None else visible(_cell(cell)) for cell in row))
    if answer.cut or len(answer.rows) > SHOWN:
        table.caption = "more rows than these"
    return table


def _cell(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) and cell != int(cell) else str(cell)
