"""The strategies by name."""

from collections.abc import Callable
from typing import Any

from experiments.training.strategy import Strategy, Task


def strategy(name: str, task: Task) -> Strategy:
    """The strategy of that name, made for the task."""
    return _makers()[name](task)


def reads_prefixes(name: str) -> bool:
    """Whether the strategy trains a sequential model by RecBole's rows, one for every prefix."""
    return name == "recbole"


def _makers() -> dict[str, Callable[[Task], Any]]:
    from experiments.training.strategies.align import Align
    from experiments.training.strategies.masked import Masked
    from experiments.training.strategies.pairs import Pairs
    from experiments.training.strategies.prompts import LLMPrompts
    from experiments.training.strategies.ratings import Ratings
    from experiments.training.strategies.recbole_loop import RecBoleLoop
    from experiments.training.strategies.rows import Rows
    from experiments.training.strategies.windows import Windows

    own = {"align": Align, "llm": LLMPrompts, "masked": Masked, "pairs": Pairs}
    return {
        **own,
        "ratings": Ratings,
        "recbole": RecBoleLoop,
        "rows": Rows,
        "windows": Windows,
    }
