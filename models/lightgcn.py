"""LightGCN (He et al., SIGIR 2020), with the propagation matrix in compressed rows.

U users, N items (padding included), M = U + N nodes, D width, B batch.
"""

import numpy as np
import scipy.sparse as sp
import torch
from recbole.model.general_recommender import LightGCN as RecBoleLightGCN

from models._sparse import torch_csr
from paddock import ModelConfig, choices, integers, key, log_uniform


class SymmetricProduct(torch.autograd.Function):
    """The product A X of a constant symmetric sparse matrix and a dense one.

    A equals its transpose, so that the backward pass is the same product; torch's own backward of
    a sparse product would transpose A and gather its gradient every time.
    """

    @staticmethod
    def forward(ctx, matrix_MM, dense_MD):  # type: ignore[no-untyped-def]
        """The product A X.

        Parameters
        ----------
        ctx : FunctionCtx
            torch's context of the function.
        matrix_MM : Tensor
            A, sparse and symmetric, shape (M, M).
        dense_MD : Tensor
            X, shape (M, D).
        """
        ctx.matrix_MM = matrix_MM
        return matrix_MM @ dense_MD

    @staticmethod
    def backward(ctx, gradient_MD):  # type: ignore[no-untyped-def]
        """The gradient of X, A times the gradient of the product; A has none.

        Parameters
        ----------
        ctx : FunctionCtx
            torch's context of the function.
        gradient_MD : Tensor
            Gradient of the product, shape (M, D).
        """
        return None, ctx.matrix_MM @ gradient_MD


def normalised_adjacency(interactions_UN: sp.spmatrix) -> torch.Tensor:
    """D^-1/2 A D^-1/2 of the graph of users and items.

    Parameters
    ----------
    interactions_UN : spmatrix
        Users by items, shape (U, N); a repeated interaction is one edge.

    Returns
    -------
    Tensor
        Sparse CSR, float32, shape (M, M): users first, then items.
    """
    seen_UN = interactions_UN.tocsr()  # a repeated interaction is one entry: one edge
    adjacency_MM = sp.bmat([[None, seen_UN], [seen_UN.T, None]], format="csr", dtype=np.float32)
    degree_M = np.diff(adjacency_MM.indptr)
    # RecBole's epsilon, added in double precision: it keeps isolated nodes finite.
    scale_M = np.power(degree_M + 1e-7, -0.5)
    rows_E = np.repeat(scale_M, degree_M)
    values_E = (rows_E * scale_M[adjacency_MM.indices]).astype(np.float32)
    return torch_csr(
        sp.csr_matrix((values_E, adjacency_MM.indices, adjacency_MM.indptr), adjacency_MM.shape)
    )


class LightGCNConfig(ModelConfig):
    """LightGCN: embeddings averaged over the layers of the user-item graph."""

    search = {
        "learning_rate": log_uniform(5e-4, 2e-2),
        "train_batch_size": choices(2048, 8192),
    }

    embedding_size: int = key(64, "Width of the embeddings.", least=1, search=choices(32, 64, 128))
    n_layers: int = key(2, "Layers of propagation.", least=1, search=integers(1, 4))
    reg_weight: float = key(
        1e-5, "Weight of the embeddings' norms.", least=0, search=log_uniform(1e-6, 1e-2)
    )
    require_pow: bool = key(False, "Squared norms, as in the paper (eq. 15); else plain norms.")


class LightGCN(RecBoleLightGCN):
    """RecBole's LightGCN: same parameters, loss and scores for equal weights.

    The normalised adjacency matrix is built in compressed rows without a Python dictionary of its
    entries (RecBole's way fails on scipy 1.13 and later). `require_pow` chooses the regulariser:
    True is the squared norm of the paper (eq. 15), False (RecBole's default) the plain norm.
    """

    def get_norm_adj_mat(self) -> torch.Tensor:
        """D^-1/2 A D^-1/2 as a sparse CSR tensor of shape (M, M)."""
        return normalised_adjacency(self.interaction_matrix)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean of the embeddings of all layers (eq. 4 and 8), shapes (U, D) and (N, D)."""
        layer_MD = self.get_ego_embeddings()
        total_MD = layer_MD
        for _ in range(self.n_layers):
            layer_MD = SymmetricProduct.apply(self.norm_adj_matrix, layer_MD)
            total_MD = total_MD + layer_MD
        mean_MD = total_MD / (self.n_layers + 1)
        users_UD, items_ND = torch.split(mean_MD, [self.n_users, self.n_items])
        return users_UD, items_ND
