"""RaCT (Lobel et al., ICLR 2020): a variational autoencoder fine-tuned against a ranking critic.

B batch of users, N items (padding included), E entries of the batch's rows, K the critic's cut-off.
"""

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import RaCT as RecBoleRaCT
from torch import Tensor

from models._rows import Rows, RowsMixin
from paddock import ModelConfig, choices, key, log_uniform, uniform

STAGES = ("actor_pretrain", "critic_pretrain", "finetune")


class RaCTConfig(ModelConfig):
    """RaCT: a variational autoencoder fine-tuned against a critic that learns its NDCG."""

    search = {
        "train_batch_size": choices(128, 256, 512),
        # The rates of the three stages are apart by orders of magnitude.
        "stages.actor.learning_rate": log_uniform(2e-4, 1e-2),
        "stages.critic.learning_rate": log_uniform(1e-5, 1e-2),
        "stages.finetune.learning_rate": log_uniform(1e-7, 1e-3),
    }

    train_stage: str = key("actor_pretrain", "What the stage trains.", choices=STAGES)
    mlp_hidden_size: list[int] = key(
        [600], "Widths of the hidden layers.", least=1, search=choices([300], [600], [1000])
    )
    latent_dimension: int = key(
        256, "Width of the latent code.", least=1, search=choices(64, 128, 256)
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
    critic_layers: list[int] = key([100, 100, 10], "Widths of the critic's layers.", least=1)
    metrics_k: int = key(100, "Cut-off of the NDCG that the critic learns.", least=1)


class RaCT(RowsMixin, RecBoleRaCT):
    """RecBole's RaCT on compressed rows, whose three stages are trained one after another.

    RecBole unpickles the previous stage's weights from `pre_model_path` while the model is made,
    which torch 2.6 and later refuse. Here a model of any `train_stage` starts with fresh weights
    and the trainer loads the previous stage's into it; the parts that the stage holds still are
    frozen as in RecBole (the critic in the stages of the actor, the actor in the critic's).

    The critic learns the NDCG of the held-out part of the row (section 3.2). RecBole takes the
    L2-normalised row as relevance, which scales the gain by the row's length; the paper's relevance
    is binary, and so it is here.

    Parameters
    ----------
    config : recbole.config.Config
        The keys of `RaCTConfig`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        stage = config["train_stage"]
        if stage not in STAGES:
            raise ValueError(f"train_stage must be one of {', '.join(STAGES)}, not {stage!r}")
        config["train_stage"] = STAGES[0]
        try:
            super().__init__(config, dataset)
        finally:
            config["train_stage"] = stage
        self.train_stage = stage
        actor_learns = stage != "critic_pretrain"
        for network in (self.encoder, self.decoder):
            network.requires_grad_(actor_learns)
        self.critic_net.requires_grad_(not actor_learns)

    def forward(self, rating_matrix: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Score all items, and keep what the critic reads.

        RecBole keeps the scores and both parts of the rows in every stage; only the critic's own
        stage needs them.

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
        values_E = self._fed(rating_matrix) * (1 - self.drop_out)
        scores_BN, mu, logvar = self._decoded(rating_matrix, values_E)
        fed_E = values_E != 0
        self.number_of_seen_items = rating_matrix.sums(fed_E.long())
        self.number_of_unseen_items = rating_matrix.lengths_B - self.number_of_seen_items
        if self.train_stage == "critic_pretrain":
            self.predict_matrix = scores_BN
            self.input_matrix = rating_matrix.dense(fed_E, self.n_items)
            self.true_matrix = rating_matrix.dense(~fed_E, self.n_items)
        return scores_BN, mu, logvar

    def calculate_actor_loss(self, interaction: Interaction) -> Tensor:
        """The negative ELBO of each user.

        Parameters
        ----------
        interaction : Interaction
            User ids in RecBole's field, B rows.

        Returns
        -------
        Tensor
            Shape (B,).
        """
        return self.negative_elbo(interaction[self.USER_ID])

    def calculate_ndcg(
        self, predict_matrix: Tensor, true_matrix: Tensor, input_matrix: Tensor, k: int
    ) -> Tensor:
        """NDCG of the held-out items with binary relevance, which the critic learns (section 3.2).

        Parameters
        ----------
        predict_matrix : Tensor
            Scores, shape (B, N).
        true_matrix : Tensor
            1 at the held-out items of each row, shape (B, N).
        input_matrix : Tensor
            1 at the items that the network read, shape (B, N); these are not ranked.
        k : int
            The cut-off.

        Returns
        -------
        Tensor
            Shape (B,).
        """
        cutoff = min(k, predict_matrix.shape[1])
        predicted_BN = predict_matrix.detach().masked_fill(input_matrix != 0, -torch.inf)
        relevant_BN = true_matrix > 0
        hits_BK = relevant_BN.gather(1, predicted_BN.topk(cutoff).indices)
        ranks_K = torch.arange(1, cutoff + 1, device=predict_matrix.device)
        gains_K = 1.0 / torch.log2(ranks_K + 1.0)
        ideal = F.pad(gains_K.cumsum(0), (1, 0))
        ideal_B = ideal[relevant_BN.sum(dim=1).clamp(max=cutoff)]
        # RecBole's floor, for rows without a held-out item.
        return hits_BK.float() @ gains_K / ideal_B.clamp(min=0.1)
