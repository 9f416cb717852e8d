"""The exceptions that the command line answers in one sentence."""


class PaddockError(ValueError):
    """A mistake in the input, described in one sentence.

    The message names the file, line, key or value at fault and what to do about it. The command
    line prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 2


class FailedError(PaddockError):
    """What the machine refused, or a damaged file: nothing is wrong with the command itself."""

    exit_code = 1
