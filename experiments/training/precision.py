"""Products of bfloat16 in a training step; weights, optimizer, sums and losses stay float32."""

from contextlib import AbstractContextManager, nullcontext

import torch


def mixed(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Compute products in a precision within the block, by torch's autocast.

    Parameters
    ----------
    device : torch.device
        Where the products are computed.
    precision : torch.dtype
        torch.float32 changes nothing.
    """
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)
