"""Mult-VAE (Liang et al., WWW 2018), fed by compressed rows.

B batch of users.
"""

from recbole.data.interaction import Interaction
from recbole.model.general_recommender import MultiVAE as RecBoleMultiVAE
from torch import Tensor

from models._rows import RowsMixin
from paddock import ModelConfig, choices, key, log_uniform, uniform


class MultiVAEConfig(ModelConfig):
    """Mult-VAE: a variational autoencoder of a user's items."""

    search = {
        "learning_rate": log_uniform(2e-4, 1e-2),
        "train_batch_size": choices(64, 128, 256, 512),
    }

    mlp_hidden_size: list[int] = key(
        [600], "Widths of the hidden layers.", least=1, search=choices([300], [600], [1000])
    )
    latent_dimension: int = key(
        128, "Width of the latent code.", least=1, search=choices(64, 128, 256)
    )
    dropout_prob: float = key(
        0.5, "Dropout of the input row.", least=0, below=1, search=uniform(0.1, 0.8, step=0.1)
    )
    anneal_cap: float = key(
        0.2, "Largest weight of the KL term.", least=0, search=uniform(0.0, 1.0, step=0.1)
    )
    total_anneal_steps: int = key(
        200_000,
        "Steps until the KL term's weight reaches its cap.",
        least=0,
        search=choices(500, 2000, 20_000, 200_000),
    )


class MultiVAE(RowsMixin, RecBoleMultiVAE):
    """RecBole's MultiVAE: same parameters, loss and scores for equal weights."""

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The negative ELBO (eq. 2 and 5), averaged over the batch.

        Parameters
        ----------
        interaction : Interaction
            User ids in RecBole's field, B rows.

        Returns
        -------
        Tensor
            A scalar.
        """
        return self.negative_elbo(interaction[self.USER_ID]).mean()
