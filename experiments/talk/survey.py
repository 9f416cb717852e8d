"""The short survey of a cold start, made of the data set's profile columns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from experiments.errors import PaddockError
from experiments.talk.catalogue import Catalogue
from experiments.talk.state import State


@dataclass(frozen=True)
class Question:
    """A question on a profile column.

    Attributes
    ----------
    column : str
    options : tuple of str
        What can be answered; empty: a number.
    """

    column: str
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """The column as people call it."""
        return self.column.replace("_", " ")


def survey(catalogue: Catalogue) -> tuple[Question, ...]:
    """A question for each profile column, those with the fewest options first, numbers last."""
    questions = [Question(column, values) for column, values in catalogue.profile.items()]
    return tuple(sorted(questions, key=lambda each: (not each.options, len(each.options))))


def next_question(state: State, catalogue: Catalogue) -> Question | None:
    """The question that was neither asked nor answered; None where all were."""
    for question in survey(catalogue):
        if question.column not in {*state.asked, *state.profile}:
            return question
    return None


def answered(state: State, answers: Mapping[str, str], catalogue: Catalogue) -> State:
    """The state after answers to the survey; an empty answer is none.

    Parameters
    ----------
    state : State
    answers : mapping of str to str
        Column to value.
    catalogue : Catalogue

    Raises
    ------
    PaddockError
        An unknown column, or a value that the column has not.
    """
    given = {column: str(value).strip() for column, value in answers.items() if str(value).strip()}
    for column, value in given.items():
        if column not in catalogue.profile:
            known = ", ".join(catalogue.profile) or "none"
            raise PaddockError(f"the profile has no column {column!r}; known are {known}")
        options = catalogue.profile[column]
        if options and value not in options:
            raise PaddockError(f"{column} is none of {', '.join(options[:20])}: {value!r}")
        if not options and not value.removeprefix("-").replace(".", "", 1).isdigit():
            raise PaddockError(f"{column} is a number: {value!r}")
    profile = {
        **{key: value for key, value in state.profile.items() if key not in answers},
        **given,
    }
    return replace(state, profile=profile, asked=tuple(dict.fromkeys([*state.asked, *answers])))
