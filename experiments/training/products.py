"""Large float32 matrix products on the CPU.

torch gives them to MKL, which on AMD processors reaches less than half of what oneDNN does: on an EPYC
with AVX-512, 85 to 100 GFLOP/s on one core against 220, to the same rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

ROWS_MULTIPLE = 128
"""oneDNN compiles a kernel for every shape that it meets: let the rows be a multiple of this."""


@contextmanager
def onednn_products() -> Iterator[None]:
    """Let oneDNN compute the float32 products in the block, where it keeps float32.

    torch has one switch for it, which allows products of bfloat16 too. Without AMX no processor
    takes them; with AMX they would be taken, and the switch stays as it is.
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
