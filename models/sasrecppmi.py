"""SASRec whose item vectors start from which items are interacted with by the same users.

U users, N items (padding included), D width.
"""

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from recbole.utils import InputType
from scipy.sparse.linalg import svds

from models._linear import binary_rows
from models.sasrec import SASRec, SASRecConfig
from paddock import key


class SASRecPPMIConfig(SASRecConfig):
    """SASRec with item vectors that start as factors of the items' mutual information."""

    loss_type: str = key("CE", "Loss of RecBole's own training.", choices=("CE",))


class SASRecPPMI(SASRec):
    """SASRec with a start that training from small random vectors does not find on sparse data.

    Item vectors begin as factors of the positive pointwise mutual information of two items in a history, the matrix that
    word2vec's skip-gram factorises implicitly (Levy and Goldberg, NeurIPS 2014, section 3.2; of histories: item2vec, Barkan
    and Koenigstein, 2016). They are scaled to `initializer_range` and trained on. The trained model is a SASRec.

    Parameters
    ----------
    config : recbole.config.Config
        SASRec's keys.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        users = dataset.inter_feat[self.USER_ID].numpy()
        items = dataset.inter_feat[self.ITEM_ID].numpy()
        rows_UN = binary_rows(users, items, (int(users.max()) + 1, self.n_items))
        start_ND = information_factors(rows_UN, self.hidden_size)
        spread = start_ND[1:].std()
        if spread > 0:  # else no two items share a user: the random start stays
            start_ND *= self.initializer_range / spread
            with torch.no_grad():
                self.item_embedding.weight[1:] = torch.from_numpy(start_ND[1:])


def mutual_information(rows_UN: sp.csr_matrix) -> sp.csr_matrix:
    """The positive pointwise mutual information of two items in a history.

    A user of n items counts each pair of two different ones 1 / (n - 1) times, so that every interaction has the
    weight of one. With counts c, of which C is the sum, an entry is max(0, log(c_ij C / (c_i c_j))).

    Parameters
    ----------
    rows_UN : csr_matrix
        Ones where a user has an item, shape (U, N).

    Returns
    -------
    csr_matrix
        float64, shape (N, N), symmetric, without a diagonal.
    """
    ones_UN = rows_UN.astype(np.float64)
    lengths_U = np.diff(ones_UN.indptr)
    counts = (ones_UN.T @ sp.diags(1 / np.maximum(lengths_U - 1, 1)) @ ones_UN).tocoo()
    pairs = counts.row != counts.col
    rows, cols, counted = counts.row[pairs], counts.col[pairs], counts.data[pairs]
    n_items = rows_UN.shape[1]
    of_item_N = np.bincount(rows, counted, n_items)
    information = np.log(counted * counted.sum() / (of_item_N[rows] * of_item_N[cols]))
    kept = information > 0
    return sp.csr_matrix((information[kept], (rows[kept], cols[kept])), shape=(n_items, n_items))


def information_factors(rows_UN: sp.csr_matrix, width: int) -> NDArray[np.float32]:
    """Left singular vectors of the mutual information, times the root of their singular value.

    Parameters
    ----------
    rows_UN : csr_matrix
        Ones where a user has an item, shape (U, N).
    width : int
        D; directions beyond the matrix's are 0.

    Returns
    -------
    ndarray
        float32, shape (N, D), row 0 all zeros; the same in every call.
    """
    matrix_NN = mutual_information(rows_UN)
    n_items = matrix_NN.shape[0]
    found_ND = np.zeros((n_items, width), np.float32)
    if not matrix_NN.nnz:
        return found_ND
    if width >= n_items:  # more than ARPACK finds, of a matrix that is small
        left, values, _ = np.linalg.svd(matrix_NN.toarray())
    else:
        start_N = np.random.default_rng(0).standard_normal(n_items)
        left, values, _ = svds(matrix_NN, width, v0=start_N)
    found_ND[1:, : len(values)] = (left * np.sqrt(values))[1:, :width]
    return found_ND
