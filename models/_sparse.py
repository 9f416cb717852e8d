"""Sparse matrices of scipy as torch's."""

import warnings

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor


def torch_csr(matrix: sp.spmatrix) -> Tensor:
    """A sparse CSR tensor, float32, of a matrix's shape.

    Parameters
    ----------
    matrix : spmatrix
        Entries that stand twice are added.
    """
    csr = matrix.tocsr().astype(np.float32, copy=False)
    csr.sum_duplicates()
    with warnings.catch_warnings():
        # torch calls its CSR tensors beta, at every first use.
        warnings.filterwarnings("ignore", message="Sparse")
        return torch.sparse_csr_tensor(
            torch.from_numpy(csr.indptr.astype(np.int64)),
            torch.from_numpy(csr.indices.astype(np.int64)),
            torch.from_numpy(csr.data),
            size=csr.shape,
            check_invariants=True,
        )
