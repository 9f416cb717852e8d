"""The one exception that a user's mistake raises."""


class PaddockError(ValueError):
    """A mistake in the input, described in one sentence.

    The message names the file, line, key or value at fault and what to do about it. The command
    line prints it without a traceback and exits with code 2.
    """
