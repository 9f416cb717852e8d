"""RaCT (Lobel et al., ICLR 2020): a variational autoencoder fine-tuned against a ranking critic.

B batch of users, N items (padding included).
"""

from recbole.model.general_recommender import RaCT as RecBoleRaCT
from torch import Tensor

STAGES = ("actor_pretrain", "critic_pretrain", "finetune")


class RaCT(RecBoleRaCT):
    """RecBole's RaCT, with its three stages fed by whoever trains them.

    RecBole unpickles the previous stage's weights from `pre_model_path` while the model is made,
    which torch 2.6 and later refuse. Here a model of any `train_stage` starts with fresh weights
    and the trainer loads the previous stage's into it; the parts that the stage holds still are
    frozen as in RecBole (the critic in the stages of the actor, the actor in the critic's).

    The critic learns the NDCG of the held-out part of the row (section 3.2). RecBole takes the
    L2-normalised row as relevance, which scales the gain by the row's length; the paper's relevance
    is binary, and so it is here.
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

    def calculate_ndcg(
        self, predict_matrix: Tensor, true_matrix: Tensor, input_matrix: Tensor, k: int
    ) -> Tensor:
        """NDCG at `k` of the held-out items, shape (B,), with binary relevance."""
        predicted_BN = predict_matrix.detach().clone()
        relevant_BN = (true_matrix > 0).to(predicted_BN.dtype)
        return super().calculate_ndcg(predicted_BN, relevant_BN, input_matrix, k)
