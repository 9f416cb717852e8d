"""Ranking by a language model: the candidates of a user by one prompt, in the order of their file.

B users, C candidates.
"""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor

from experiments.bridge.dataset import TrainingRows
from experiments.bridge.kept_scores import KeptScores
from experiments.bridge.scorer import RecBoleScorer
from experiments.protocol.split import Sequences

ORDER_SEED = 2024


def reads_prompts(model: AbstractRecommender) -> bool:
    """Whether the model ranks candidates by a prompt that names them."""
    return bool(getattr(model, "reads_prompts", False))


class CandidateScorer(RecBoleScorer):
    """Scores the candidates of a user by one prompt that names them all.

    Parameters
    ----------
    model
        One that `reads_prompts`, or a fusion with such a member.
    dataset : TrainingRows
        What it was trained on.
    history : Sequences
        Of every user, as `Split.history` gives it.
    order : str or None
        None: as the candidate file has them. "reversed", "shuffled": the check of how much the
        place in the prompt counts.
    keep : KeptScores or None
        Where the scores are noted, so that a fusion of the model need not compute them again.
    """

    full = False

    def __init__(
        self,
        model: AbstractRecommender,
        *,
        dataset: TrainingRows,
        history: Sequences,
        order: str | None = None,
        keep: KeptScores | None = None,
    ) -> None:
        super().__init__(model, dataset=dataset, history=history)
        self._order = order
        self._keep = keep
        # Of a fusion, those of its members that read prompts.
        self._prompting = {
            name: CandidateScorer(member.model, dataset=member.dataset, history=history)
            for name, member in self._fused().items()
            if reads_prompts(member.model)
        }

    @torch.no_grad()
    def score_candidates(self, users_B: NDArray[Any], items_BC: NDArray[Any]) -> Tensor:
        """Scores of the candidates, the higher the better.

        Parameters
        ----------
        users_B : int64, (B,)
        items_BC : int64, (B, C)

        Returns
        -------
        (B, C)
            In the order of `items_BC`, whatever the order in the prompt.
        """
        self._model.eval()
        items = torch.from_numpy(items_BC)
        if self._fused():
            fused: Tensor = self._model.fused(self.members_of_candidates(users_B, items_BC), items)
            return fused
        places_BC = self._places(users_B, items.shape)
        batch = self._joined(self._batch(users_B)).to(self._device)
        named_BC = items.gather(1, places_BC).to(self._device)
        scores_BC = self._model.predict_candidates(batch, named_BC)
        made_BC = torch.empty_like(scores_BC).scatter_(1, places_BC.to(scores_BC.device), scores_BC)
        if self._keep is not None:
            self._keep.add(self._history, users_B, items_BC, made_BC)
        return made_BC

    @torch.no_grad()
    def members_of_candidates(
        self, users_B: NDArray[Any], items_BC: NDArray[Any]
    ) -> dict[str, Tensor]:
        """The scores that each member of a fusion gives to candidates.

        Those of a member that reads prompts are computed once, and kept.

        Parameters
        ----------
        users_B : int64, (B,)
        items_BC : int64, (B, C)

        Returns
        -------
        dict of str to Tensor
            Member -> scores of shape (B, C).
        """
        self._model.load_members()
        items = torch.from_numpy(items_BC).long()
        return {
            name: self._kept(name, member.scores, users_B, items_BC)
            if name in self._prompting
            else self._members[name].score(users_B).gather(1, items.to(self._device))
            for name, member in self._fused().items()
        }

    def _kept(
        self, name: str, kept: KeptScores | None, users_B: NDArray[Any], items_BC: NDArray[Any]
    ) -> Tensor:
        asked = self._prompting[name].score_candidates
        if kept is None:
            return asked(users_B, items_BC)
        made = kept.all(self._history, users_B, items_BC, asked)
        return made.to(self._device)

    def prompted(self, users_B: NDArray[Any], items_BC: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """The prompts as input embeddings, and their lengths.

        Parameters
        ----------
        users_B : int64, (B,)
        items_BC : int64, (B, C)

        Returns
        -------
        embeddings : (B, L, H)
            Of prompts of at most L tokens and hidden size H, padded at the end.
        lengths : (B,)
            Tokens of each prompt.
        """
        self._model.eval()
        batch = self._joined(self._batch(users_B)).to(self._device)
        return self._model.prompted(batch, torch.from_numpy(items_BC))

    def _fused(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = getattr(self._model, "members", {})
        return found

    def _places(self, users_B: NDArray[Any], shape: torch.Size) -> Tensor:
        """The place in the file of what stands at each place of the prompt, (B, C)."""
        B, C = shape
        straight_BC = torch.arange(C).expand(B, C)
        if self._order == "reversed":
            return straight_BC.flip(1)
        if self._order == "shuffled":
            rows = [
                torch.randperm(C, generator=torch.Generator().manual_seed(ORDER_SEED + int(user)))
                for user in users_B
            ]
            return torch.stack(rows)
        return straight_BC
