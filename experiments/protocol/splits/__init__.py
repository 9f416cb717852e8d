"""The splits by their names in `protocol.split`: each gives every interaction its part."""

from collections.abc import Callable

from experiments.config.schema import ProtocolConfig
from experiments.protocol.splits.loo import leave_one_out
from experiments.protocol.splits.parts import Interactions, Parts
from experiments.protocol.splits.random import random_by_user
from experiments.protocol.splits.temporal import temporal

SPLITS: dict[str, Callable[[Interactions, ProtocolConfig], Parts]] = {
    "loo": leave_one_out,
    "temporal": temporal,
    "random": random_by_user,
}
