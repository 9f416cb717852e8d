"""The exception that a mistake of a report's user raises."""

from experiments.errors import FailedError, PaddockError


class ReportError(PaddockError):
    """A mistake in the input, in one sentence: what is at fault and what to do about it."""


class StoreError(ReportError, FailedError):
    """The file of the tracking store cannot be read: nothing is wrong with the command itself."""
