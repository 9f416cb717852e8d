"""Declarations of components, and the console command.

A model, a strategy, a split, a metric, a reader, a report section or a callback is declared with
what this package holds, whether it is part of Paddock or of a plug-in. Importing it imports neither
torch nor RecBole.
"""

from paddock.callbacks import Callback, RunInfo
from paddock.components import (
    ITEM_TEXTS,
    USER_FEATURES,
    ListMeasure,
    Metric,
    ModelConfig,
    Reader,
    ReportSection,
    Split,
    StrategyConfig,
    UserColumn,
    list_measure,
    metric,
    reader,
    report_section,
    split,
)
from paddock.keys import (
    EVALUATION,
    Key,
    Schema,
    choices,
    integers,
    key,
    log_integers,
    log_uniform,
    uniform,
)

__all__ = [
    "EVALUATION",
    "ITEM_TEXTS",
    "USER_FEATURES",
    "Callback",
    "Key",
    "ListMeasure",
    "Metric",
    "ModelConfig",
    "Reader",
    "ReportSection",
    "RunInfo",
    "Schema",
    "Split",
    "StrategyConfig",
    "UserColumn",
    "choices",
    "integers",
    "key",
    "list_measure",
    "log_integers",
    "log_uniform",
    "metric",
    "reader",
    "report_section",
    "split",
    "uniform",
]
