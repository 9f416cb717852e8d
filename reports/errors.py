"""The exception that a mistake of a report's user raises."""

from experiments.errors import PaddockError


class ReportError(PaddockError):
    """A mistake in the input, in one sentence: what is at fault and what to do about it."""
