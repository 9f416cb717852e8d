"""Linear models from a recency-weighted history to the next item, in closed form.

R interactions in the order of users and time, P steps (interactions with a predecessor), U users, N
items (padding included).
"""

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from torch import Tensor

from models._sparse import torch_csr

_LEAST_WEIGHT = 1e-4
"""Weights of a history below this are left out: ages above nine times the decay."""

_STEPS_AT_ONCE = 1 << 17
_COLUMNS = 1024
"""Columns of a matrix of items by items that are worked on at a time."""

_RESIDUAL = 1e-6
"""Length of a residual, as a share of its history's, at which conjugate gradients end."""

_MOST_ITERATIONS = 500
_TINY = 1e-30


def recency(ages: NDArray[np.integer], decay: float) -> NDArray[np.float32]:
    """exp(-age / decay), float32.

    Parameters
    ----------
    ages : ndarray of int
        How many interactions ago; the last one has 0.
    decay : float
        tau.
    """
    return np.exp(-ages / decay).astype(np.float32)


def oldest(decay: float) -> int:
    """The greatest age whose weight counts.

    Parameters
    ----------
    decay : float
        tau.
    """
    return int(-np.log(_LEAST_WEIGHT) * decay)


def steps(
    users_R: NDArray[np.integer], items_R: NDArray[np.integer], n_items: int, decay: float
) -> tuple[sp.csr_matrix, NDArray[np.int64]]:
    """The weighted history before each step, and the step's item.

    Parameters
    ----------
    users_R, items_R : ndarray of int
        Interactions, those of a user together and in time order.
    n_items : int
        N.
    decay : float
        tau: an item that came `a` interactions before the last one of the history counts
        exp(-a / tau).

    Returns
    -------
    histories_PN : csr_matrix
        float32, shape (P, N).
    items_P : ndarray
        int64.
    """
    first_R = np.r_[True, users_R[1:] != users_R[:-1]][: len(users_R)]
    starts_R = np.maximum.accumulate(np.where(first_R, np.arange(len(users_R)), 0))
    steps_P = np.flatnonzero(~first_R)
    ages = np.arange(oldest(decay) + 1)
    lengths_P = np.minimum(steps_P - starts_R[steps_P], len(ages))
    indptr = np.concatenate(([0], np.cumsum(lengths_P)))
    age = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths_P)
    items = items_R[np.repeat(steps_P, lengths_P) - 1 - age].astype(np.int32)
    weights = recency(ages, decay)[age]
    histories_PN = sp.csr_matrix((weights, items, indptr), shape=(len(steps_P), n_items))
    histories_PN.sum_duplicates()
    return histories_PN, items_R[steps_P].astype(np.int64)


class Equations:
    """Normal equations (A + lambda I) B = C of a linear model of histories.

    They belong to (1 - beta) ||S B - T||^2 + beta ||X - X B||^2 + lambda ||B - M||^2, where S holds the
    weighted history of each step, T its item, and X the items of each user: A = (1 - beta) S'S + beta X'X and
    C = (1 - beta) S'T + beta X'X + lambda M.

    Parameters
    ----------
    users_R, items_R, n_items, decay
        As of `steps`.
    similarity : float
        beta.
    """

    def __init__(
        self,
        users_R: NDArray[np.integer],
        items_R: NDArray[np.integer],
        *,
        n_items: int,
        decay: float,
        similarity: float = 0.0,
    ) -> None:
        self._gram = sp.csc_matrix((n_items, n_items), dtype=np.float32)
        self._targets = sp.csc_matrix((n_items, n_items), dtype=np.float32)
        self.n_items = n_items
        for start, end in _whole_users(users_R):
            histories, items = steps(users_R[start:end], items_R[start:end], n_items, decay)
            chosen = sp.csr_matrix(
                (np.ones(len(items), np.float32), items, np.arange(len(items) + 1)),
                shape=histories.shape,
            )
            back = histories.T.tocsr()
            self._gram += ((1 - similarity) * (back @ histories)).tocsc()
            self._targets += ((1 - similarity) * (back @ chosen)).tocsc()
        if similarity:
            rows_UN = sp.csr_matrix((np.ones(len(users_R), np.float32), (users_R, items_R)))
            rows_UN.resize(rows_UN.shape[0], n_items)
            rows_UN.data[:] = 1.0
            alike = (similarity * (rows_UN.T @ rows_UN)).tocsc()
            self._gram += alike
            self._targets += alike

    def solve(
        self, ridge: float, towards_NN: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """B by Cholesky's factorisation, in two matrices of items by items.

        Parameters
        ----------
        ridge : float
            lambda.
        towards_NN : ndarray, optional
            M, what the ridge draws B to, by default zeros; it is overwritten.

        Returns
        -------
        ndarray
            float32, shape (N, N), in C's order.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the matrix is not positive definite.
        """
        left_NN = np.empty((self.n_items, self.n_items), np.float32, order="F")
        _laid_out(self._gram, left_NN)
        left_NN[np.diag_indices(self.n_items)] += ridge
        left_NN, failed = lapack.spotrf(left_NN, lower=1, clean=0, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError("the matrix of items by items is not positive definite")
        if towards_NN is None:
            right_NN = np.empty_like(left_NN)
            _laid_out(self._targets, right_NN)
        else:
            right_NN = np.asfortranarray(towards_NN)
            right_NN *= ridge
            for part in _parts(self.n_items):
                right_NN[:, part] += self._targets[:, part].toarray()
        right_NN, failed = lapack.spotrs(left_NN, right_NN, lower=1, overwrite_b=1)
        assert not failed
        del left_NN
        return np.ascontiguousarray(right_NN)

    def sparse(self, ridge: float, towards_NN: sp.csr_matrix | None = None) -> "SparseSolution":
        """The equations as they are, to be solved for every history that is scored.

        Parameters
        ----------
        ridge : float
            lambda.
        towards_NN : csr_matrix, optional
            M, by default zeros.
        """
        left_NN = self._gram + ridge * sp.identity(self.n_items, np.float32, format="csc")
        right_NN = self._targets
        if towards_NN is not None:
            right_NN = right_NN + ridge * towards_NN
        return SparseSolution(left_NN.tocsr(), right_NN.T.tocsr())


class SparseSolution:
    """Scores p B of a history p without B, which has N^2 entries: (A + lambda I) y = p, then y C.

    y is found by conjugate gradients (Hestenes and Stiefel, 1952), preconditioned by the diagonal, for all
    histories of a batch side by side.

    Parameters
    ----------
    left_NN : csr_matrix
        A + lambda I, symmetric and positive definite.
    right_NN : csr_matrix
        C, transposed.
    """

    def __init__(self, left_NN: sp.csr_matrix, right_NN: sp.csr_matrix) -> None:
        self.left_NN, self.right_NN = left_NN, right_NN
        self._left, self._right = torch_csr(left_NN), torch_csr(right_NN)
        self._scale_N1 = torch.from_numpy(1 / left_NN.diagonal().astype(np.float32))[:, None]

    def scores(self, profile_BN: sp.csr_matrix) -> NDArray[np.float32]:
        """Scores of all items, shape (B, N).

        Parameters
        ----------
        profile_BN : csr_matrix
            Weights of the items of each history, float32.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the residuals do not fall to `_RESIDUAL` of the histories.
        """
        solved_NB = self._solved(torch.from_numpy(profile_BN.toarray()).T.contiguous())
        scores_BN: NDArray[np.float32] = (self._right @ solved_NB).T.contiguous().numpy()
        return scores_BN

    def _solved(self, wanted_NB: Tensor) -> Tensor:
        found_NB, residual_NB = torch.zeros_like(wanted_NB), wanted_NB.clone()
        enough_B = _RESIDUAL * wanted_NB.norm(dim=0)
        direction_NB = self._scale_N1 * residual_NB
        height_B = (residual_NB * direction_NB).sum(0)
        for _ in range(_MOST_ITERATIONS):
            if bool((residual_NB.norm(dim=0) <= enough_B).all()):
                return found_NB
            product_NB = self._left @ direction_NB
            # A history that is solved, or empty, moves no more: 0 / 0 is no step.
            step_B = height_B / (direction_NB * product_NB).sum(0).clamp_min(_TINY)
            found_NB.addcmul_(direction_NB, step_B)
            residual_NB.addcmul_(product_NB, step_B, value=-1)
            scaled_NB = self._scale_N1 * residual_NB
            before_B, height_B = height_B, (residual_NB * scaled_NB).sum(0)
            direction_NB = scaled_NB.addcmul_(direction_NB, height_B / before_B.clamp_min(_TINY))
        raise np.linalg.LinAlgError(
            f"{_MOST_ITERATIONS} steps of conjugate gradients do not suffice"
        )


def _whole_users(users_R: NDArray[np.integer]) -> list[tuple[int, int]]:
    """Ranges of interactions, each of whole users and of about as many steps."""
    starts = np.flatnonzero(np.r_[True, users_R[1:] != users_R[:-1]][: len(users_R)])
    cuts = np.arange(0, len(users_R), _STEPS_AT_ONCE)
    edges = np.unique(starts[np.searchsorted(starts, cuts, side="right") - 1]).tolist()
    return list(zip(edges, [*edges[1:], len(users_R)], strict=True))


def _parts(size: int) -> list[slice]:
    return [slice(start, min(start + _COLUMNS, size)) for start in range(0, size, _COLUMNS)]


def _laid_out(sparse: sp.csc_matrix, dense_NN: NDArray[np.float32]) -> None:
    for part in _parts(sparse.shape[1]):
        dense_NN[:, part] = sparse[:, part].toarray()
