"""The one exception that a user's mistake raises."""


class ReportError(ValueError):
    """A mistake in the input, told in one sentence: what is at fault and what to do about it."""
