"""The splits by their names in `protocol.split`: each gives every interaction its part."""

from collections.abc import Callable

from experiments.config import ProtocolConfig
from experiments.splits.loo import leave_one_out
from experiments.splits.parts import Interactions, Parts
from experiments.splits.random import random_by_user
from experiments.splits.temporal import temporal

SPLITS: dict[str, Callable[[Interactions, ProtocolConfig], Parts]] = {
    "loo": leave_one_out,
    "temporal": temporal,
    "random": random_by_user,
}
