"""Matrix factorisation that ranks by the cosine of the factors.

B users of a batch, N items, D width of the factors.
"""

from recbole.model.general_recommender import BPR
from torch import Tensor

from paddock import ModelConfig, choices, key, log_uniform

from .similarity import cosine


class CosineMFConfig(ModelConfig):
    """BPR whose scores are cosines times a temperature."""

    extends = "BPR"
    search = {"learning_rate": log_uniform(1e-3, 1e-1)}

    temperature: float = key(
        5.0, "What the cosines are multiplied with.", above=0, search=choices(1.0, 5.0, 10.0)
    )

    @classmethod
    def notes(cls, values, *, full):  # type: ignore[no-untyped-def]
        """What the leaderboards say of it."""
        return {"paddock.note.cosine": "ranked by cosines"}


class CosineMF(BPR):
    """BPR (Rendle et al., UAI 2009) with cosines in place of inner products."""

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self.temperature = CosineMFConfig.of(config).temperature

    def full_sort_predict(self, interaction) -> Tensor:  # type: ignore[no-untyped-def]
        """Scores of all items, flat as RecBole's models give them."""
        users_BD = self.get_user_embedding(interaction[self.USER_ID])
        return (self.temperature * cosine(users_BD, self.item_embedding.weight)).view(-1)
