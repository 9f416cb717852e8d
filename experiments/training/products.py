"""Large float32 matrix products on the CPU.

torch gives them to MKL, which on AMD processors reaches less than 50 % of oneDNN's speed: 85 to 100
GFLOP/s against 220, on one core of an EPYC with AVX-512. The rounding is the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ROWS_MULTIPLE = 128
"""oneDNN compiles a kernel for every new shape; a multiple of this many rows keeps shapes few."""


@contextmanager
def onednn_products() -> Iterator[None]:
    """Let oneDNN compute the float32 products in the block, where it keeps float32.

    torch's switch for oneDNN also allows products of bfloat16. Processors without AMX never use
    them. With AMX they would be used, so that there the switch is left unchanged.
    """
    switch = getattr(torch.backends.mkldnn, "matmul", None)
    if not hasattr(switch, "fp32_precision") or torch.cpu._is_amx_tile_supported():
        yield
        return
    before = switch.fp32_precision  # type: ignore[union-attr]
    switch.fp32_precision = "bf16"  # type: ignore[union-attr]
    try:
        yield
    finally:
        switch.fp32_precision = before  # type: ignore[union-attr]
