"""What models are trained on, and where."""

from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.data.prepared import Prepared
from experiments.protocol.split import Split


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """What models are trained on, and where.

    Attributes
    ----------
    data : Prepared
    split : Split
    seed : int
    device : torch.device
    folder : Path
        Where checkpoints and finished stages are kept: the run folder.
    precision : torch.dtype
        Of the training steps, where a strategy has a choice.
    """

    data: Prepared
    split: Split
    seed: int
    device: torch.device
    folder: Path
    precision: torch.dtype = torch.float32
