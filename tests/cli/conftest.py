"""The command line in a folder of its own."""

from pathlib import Path

import pytest

from .command_line import CommandLine


@pytest.fixture
def paddock(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)
