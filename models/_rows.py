"""Users' training items in compressed rows, for autoencoders of the items of a user.

B batch of users, N items (padding included), E entries of the batch's rows, H first hidden layer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from paddock.layers import dropout


class Rows(NamedTuple):
    """The rows of a batch: entry e is item `items_E[e]` of row `row_E[e]`; rows follow one another.

    `bounds` holds the B + 1 entries at which rows begin and end.
    """

    items_E: Tensor
    row_E: Tensor
    bounds: Tensor

    @property
    def lengths_B(self) -> Tensor:
        return self.bounds.diff()

    def sums(self, values_E: Tensor) -> Tensor:
        """The sum of each row's values.

        Parameters
        ----------
        values_E : Tensor
            One value an entry, shape (E,).

        Returns
        -------
        Tensor
            Shape (B,).
        """
        return values_E.new_zeros(len(self.bounds) - 1).index_add(0, self.row_E, values_E)

    def dense(self, values_E: Tensor, n_items: int) -> Tensor:
        """A matrix of the values at their rows and items, 0 elsewhere.

        Parameters
        ----------
        values_E : Tensor
            One value an entry, shape (E,).
        n_items : int
            N, padding included.

        Returns
        -------
        Tensor
            Shape (B, N).
        """
        values_BN = values_E.new_zeros((len(self.bounds) - 1, n_items))
        values_BN[self.row_E, self.items_E] = values_E
        return values_BN


class RowsMixin(nn.Module):
    """What RecBole's variational autoencoders have in common, on compressed rows.

    Stands before RecBole's class among the bases; losses, scores and parameter names are RecBole's.
    RecBole keeps two matrices of users by the longest history (AutoEncoderMixin), lays every batch
    out as users by items, and multiplies that with the first layer. Here the memory is that of the
    interactions, and the first layer adds up the columns of the items that a user has: its cost no
    longer depends on the number of items. Only the scores of all items are dense.
    """

    USER_ID: str
    ITEM_ID: str
    device: torch.device
    n_items: int
    lat_dim: int
    drop_out: float
    anneal_cap: float
    total_anneal_steps: int
    update: int
    encoder: nn.Sequential
    decoder: nn.Sequential
    reparameterize: Callable[[Tensor, Tensor], Tensor]
    _indptr: Tensor
    _items: Tensor

    def build_histroy_items(self, dataset: Any) -> None:
        """Keep the distinct training items of each user.

        RecBole's __init__ calls it by this misspelt name.

        Parameters
        ----------
        dataset : recbole.data.dataset.Dataset
            The training part.
        """
        # They come from the data: no part of what is saved.
        for name, value in self.history_attributes(dataset).items():
            self.register_buffer(name, value, persistent=False)

    def history_attributes(self, dataset: Any) -> dict[str, Tensor]:
        """The buffers that hold the distinct items of each user, made of a dataset's interactions.

        Parameters
        ----------
        dataset : recbole.data.dataset.Dataset
            The interactions that are known of every user.

        Returns
        -------
        dict of str to Tensor
            `_indptr`, int64, (n_users + 1,); `_items`, int32, (interactions,).
        """
        users, items = dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field]
        pairs = torch.unique(users.long() * dataset.item_num + items.long())
        users, items = pairs // dataset.item_num, pairs % dataset.item_num
        indptr = F.pad(torch.bincount(users, minlength=dataset.user_num).cumsum(0), (1, 0))
        return {"_indptr": indptr.to(self.device), "_items": items.int().to(self.device)}

    def get_rating_matrix(self, user: Tensor) -> Rows:
        """The rows of users.

        RecBole's method of this name returns a matrix of shape (B, N).

        Parameters
        ----------
        user : Tensor
            User ids, shape (B,), int64.
        """
        starts_B = self._indptr[user]
        lengths_B = self._indptr[user + 1] - starts_B
        bounds = F.pad(lengths_B.cumsum(0), (1, 0))
        row_E = torch.repeat_interleave(lengths_B)
        within_E = torch.arange(len(row_E), device=row_E.device) - bounds[row_E]
        return Rows(self._items[starts_B[row_E] + within_E].long(), row_E, bounds)

    def forward(self, rating_matrix: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Score all items.

        Parameters
        ----------
        rating_matrix : Rows
            The rows of the batch.

        Returns
        -------
        scores_BN : Tensor
            Shape (B, N).
        mu, logvar : Tensor
            Mean and log-variance of the latent code, both of shape (B, `lat_dim` / 2).
        """
        return self._decoded(rating_matrix, self._fed(rating_matrix))

    def negative_elbo(self, user: Tensor) -> Tensor:
        """The negative ELBO of each user, with the KL divergence annealed; one training step.

        Mult-VAE (Liang et al., WWW 2018), eq. 2 and 5.

        Parameters
        ----------
        user : Tensor
            User ids, shape (B,), int64.

        Returns
        -------
        Tensor
            Shape (B,).
        """
        rows = self.get_rating_matrix(user)
        self.update += 1
        anneal = self.anneal_cap
        if self.total_anneal_steps > 0:
            anneal = min(self.anneal_cap, self.update / self.total_anneal_steps)
        # Sums over items and users lose too much where the products were of bfloat16.
        scores_BN, mu, logvar = (each.float() for each in self.forward(rows))
        divergence_B = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1)
        log_probabilities_E = F.log_softmax(scores_BN, 1)[rows.row_E, rows.items_E]
        return -rows.sums(log_probabilities_E) + anneal * divergence_B

    def predict(self, interaction: Interaction) -> Tensor:
        """Scores of pairs of user and item.

        RecBole's own method indexes by a list, which current versions of torch read differently.

        Parameters
        ----------
        interaction : Interaction
            User and item ids in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B,).
        """
        scores_BN, _, _ = self.forward(self.get_rating_matrix(interaction[self.USER_ID]))
        return scores_BN.gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)

    def _fed(self, rows: Rows) -> Tensor:
        """The network's input at the entries: rows of norm 1 with dropout (zeros stay zeros)."""
        normalised_E = rows.lengths_B[rows.row_E].float().rsqrt()
        return dropout(normalised_E, self.drop_out, training=self.training)

    def _decoded(self, rows: Rows, values_E: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        code = self.encoder[1:](self._first_layer(rows, values_E))
        width = int(self.lat_dim / 2)
        mu, logvar = code[:, :width], code[:, width:]
        return self.decoder(self.reparameterize(mu, logvar)), mu, logvar

    def _first_layer(self, rows: Rows, values_E: Tensor) -> Tensor:
        """The encoder's first linear layer, shape (B, H)."""
        first = self.encoder[0]
        assert isinstance(first, nn.Linear)
        # One copy of the weight, whose columns are then read and whose gradient is then written as
        # rows. It is a tenth of what the product with a dense batch takes at 12,000 items.
        sums_BH = F.embedding_bag(
            rows.items_E,
            first.weight.t().contiguous(),
            rows.bounds,
            mode="sum",
            per_sample_weights=values_E,
            include_last_offset=True,
        )
        return sums_BH + first.bias
