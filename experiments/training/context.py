"""What models are trained on, and where."""

from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.data.prepared import Prepared
from experiments.protocol.candidates import Candidates
from experiments.protocol.split import Split


@dataclass(frozen=True, kw_only=True)
class Selecting:
    """What selects, where that is a ranking of candidates.

    Attributes
    ----------
    candidates : Candidates
        Of the valid part.
    metric : str
        Such as "ndcg".
    cutoff : int or None
        The length of the list that counts.
    """

    candidates: Candidates
    metric: str
    cutoff: int | None


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """The data, the seed and the device that a model is trained with.

    Attributes
    ----------
    data : Prepared
        The prepared data set.
    split : Split
        Its parts: train, valid and test.
    seed : int
        Of all random numbers.
    device : torch.device
        Where the model computes.
    folder : Path
        Where checkpoints and finished stages are kept: the run folder.
    precision : torch.dtype
        Precision of the training steps, for strategies with mixed precision.
    selecting : Selecting or None
        The ranking of candidates that the valid metric is of; None for one of all items.
    """

    data: Prepared
    split: Split
    seed: int
    device: torch.device
    folder: Path
    precision: torch.dtype = torch.float32
    selecting: Selecting | None = None
