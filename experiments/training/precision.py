"""Products of bfloat16 in a training step; weights, optimizer, sums and losses stay float32."""

from contextlib import AbstractContextManager, nullcontext

import torch


def mixed(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Products in that precision within the block (torch's autocast)."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)
