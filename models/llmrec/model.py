"""A language model tuned to recommend by low-rank adapters, supervised and by preferences.

B batch, L positions, N items (padding included), C candidates, K answers: the target and those
rejected.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from models.allmrec.backbone import Backbone
from models.allmrec.frozen_llm import (
    Answers,
    FrozenLLM,
    answer_loss,
    likelihoods,
    rank_in_pieces,
)
from models.allmrec.parts import CANDIDATES, PARTS, TrainedOn, last_items, one_of
from models.allmrec.prompt import Prompts, Rows
from models.allmrec.reranked import best_unread, ranked_again

REJECTED = "rejected"
"""Field of an interaction: items that the target is preferred to, (B, K - 1)."""


class Lora(NamedTuple):
    """Low-rank adapters (Hu et al., ICLR 2022): a layer's W x becomes W x + alpha / rank B A x.

    Attributes
    ----------
    rank : int
        Rows of A.
    alpha : int
        Scale.
    targets : tuple of str
        Names of the linear layers; "all-linear" alone: every one but the head.
    """

    rank: int
    alpha: int
    targets: tuple[str, ...]


class Adapted(NamedTuple):
    """A language model with adapters.

    Attributes
    ----------
    llm : FrozenLLM
        It shares the weights of the model that it was made from, which stay frozen.
    weights : mapping of str to Parameter
        The adapters' own, which learn.
    """

    llm: FrozenLLM
    weights: Mapping[str, nn.Parameter]


@dataclass(frozen=True, kw_only=True, eq=False)
class TunedParts:
    """What the model is made with.

    Attributes
    ----------
    backbone : Backbone
        The frozen recommender whose best items a full ranking ranks again.
    titles : sequence of str
        Title of each item, the padding's first.
    adapt : callable
        Takes a `Lora` and gives the language model with fresh adapters.
    """

    backbone: Backbone
    titles: Sequence[str]
    adapt: Callable[[Lora], Adapted]


class LLMRec(TrainedOn, SequentialRecommender):
    """A causal language model reads a user's history and candidates in words, and answers with a title.

    Stage sft learns the next title of histories (as TALLRec, Bao et al., RecSys 2023, and LLaRA,
    Liao et al., SIGIR 2024, tune), stage dpo to prefer it to sampled titles (S-DPO, Chen et al., NeurIPS 2024). Items
    are ranked by the likelihood of their titles. The adapters alone are weights of this model; the
    language model is no module of it, and named in a checkpoint (`llm_id`), not saved.

    Parameters
    ----------
    config : recbole.config.Config
        The keys of `LLMRecConfig`, with a `TunedParts` under `parts`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.PAIRWISE
    reads_prompts = True
    reads_histories = True

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        parts: TunedParts = config[PARTS]
        self._backbone = parts.backbone
        self._history = int(config["history_items"])
        self._top = int(config["rerank"])
        self._likely = one_of("likelihood", config["likelihood"], ("sum", "mean", "lift"))
        self._lift = float(config["lift_weight"] or 1.0)  # a quiet key is left out at its default
        self.order_check = bool(config["order_check"])
        self.generation_users = int(config["generation_users"])
        self.probes = tuple(config["probes"] or ())
        adapted = parts.adapt(
            Lora(
                rank=int(config["lora_rank"]),
                alpha=int(config["lora_alpha"]),
                targets=tuple(config["lora_targets"]),
            )
        )
        self.llm = adapted.llm
        self.adapters = nn.ParameterDict(
            {name.replace(".", "/"): weight for name, weight in adapted.weights.items()}
        )
        self._prompting = {
            "words": config["words"],
            "title_tokens": int(config["title_tokens"]),
            "user_token": False,
            "item_tokens": False,
            "list_candidates": config["list_candidates"] is not False,
        }
        self.prompts = Prompts(self.llm, parts.titles, **self._prompting)
        self._reference: dict[str, Tensor] = {}
        self.name_networks()

    @contextmanager
    def renamed(self, titles: Sequence[str]) -> Iterator[None]:
        """A block in which prompts and answers name the items by other titles.

        Parameters
        ----------
        titles : sequence of str
            Title of each item, the padding's first.
        """
        own = self.prompts
        self.prompts = Prompts(self.llm, titles, **self._prompting)
        try:
            yield
        finally:
            self.prompts = own

    def prompt_lengths(self, interaction: Interaction) -> Tensor:
        """Positions of each row's prompt with its answer.

        Parameters
        ----------
        interaction : Interaction
            Histories, candidates and targets, B rows.

        Returns
        -------
        Tensor
            Shape (B,), on the CPU.
        """
        return self._rows(interaction).length_B

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The loss of stage sft.

        Parameters
        ----------
        interaction : Interaction
            Histories, candidates and targets in RecBole's fields, B rows.
        """
        return self.prompt_loss(interaction, slice(None))[0]

    def prompt_loss(self, interaction: Interaction, some: slice) -> tuple[Tensor, Tensor]:
        """The cross-entropy of the targets' titles after their prompts.

        Parameters
        ----------
        interaction : Interaction
            Histories, candidates and targets, B rows.
        some : slice
            The rows whose answers count.

        Returns
        -------
        loss : Tensor
            Mean over the tokens of these rows' answers, a scalar.
        tokens_B : Tensor
            Tokens of the answer of each row of the batch, shape (B,).
        """
        rows = self._rows(interaction)
        tokens_BL, prompt_B, length_B = (each[some].to(self.llm.device) for each in rows)
        embeds_BLH = self.llm.embed(tokens_BL)
        loss = answer_loss(self.llm, embeds_BLH, tokens_BL, prompt_B, length_B)
        return loss, rows.length_B - rows.prompt_B

    def keep_reference(self) -> None:
        """Let the adapters as they are be what stage dpo measures its preferences against."""
        self._reference = {name: weight.detach().clone() for name, weight in self.adapters.items()}

    def preference_loss(self, interaction: Interaction, *, beta: float) -> Tensor:
        """The loss of stage dpo.

        Parameters
        ----------
        interaction : Interaction
            Histories, candidates, targets and rejected items, B rows.
        beta : float
            How far the model may go from the reference; the smaller, the farther.

        Returns
        -------
        Tensor
            A scalar.
        """
        targets_B1 = interaction[self.POS_ITEM_ID][:, None]
        answers_BK = torch.cat([targets_B1, interaction[REJECTED]], dim=1).cpu()
        candidates_BC = interaction[CANDIDATES].cpu()
        rows = self.prompts.build(self._latest(interaction), candidates_BC)
        answers = self.prompts.answers(answers_BK, candidates=candidates_BC.shape[1])
        with torch.no_grad(), self._as_reference():
            reference_BK = self._answered(rows, answers)
        return softmax_dpo(self._answered(rows, answers), reference_BK, beta=beta)

    @torch.no_grad()
    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items: the backbone's best `rerank` outside the history, ranked again by
        likelihood, above all others in the backbone's order.

        Parameters
        ----------
        interaction : Interaction
            Users and histories in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B, N).
        """
        backbone = self._frozen_backbone()
        read = (interaction[each] for each in (self.USER_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN))
        scores_BN = backbone.users(*read, train=False) @ backbone.items().T
        best_BK = best_unread(scores_BN, interaction[self.ITEM_SEQ], self._top)
        return ranked_again(scores_BN, best_BK, self.predict_candidates(interaction, best_BK))

    @torch.no_grad()
    def predict_candidates(self, interaction: Interaction, items_BC: Tensor) -> Tensor:
        """Scores of candidates, which the prompt names in the given order.

        Parameters
        ----------
        interaction : Interaction
            Users and histories in RecBole's fields, B rows.
        items_BC : Tensor
            Candidates of each user, shape (B, C).

        Returns
        -------
        Tensor
            Shape (B, C).
        """
        answers = self.prompts.answers(items_BC.cpu())

        def scores(history_BH: Tensor) -> Tensor:
            rows = self.prompts.build(history_BH, items_BC.cpu())

            def embedded(these_R: Tensor, longest: int) -> Tensor:
                return self.llm.embed(rows.tokens_BL[these_R, :longest].to(self.llm.device))

            return rank_in_pieces(self.llm, embedded, rows.prompt_B, answers).to(items_BC.device)

        latest_BH = self._latest(interaction)
        scores_BC = scores(latest_BH)
        if self._likely == "lift":
            return scores_BC - self._lift * scores(torch.zeros_like(latest_BH))
        if self._likely == "mean":
            return scores_BC / answers.lengths_BC.to(items_BC.device)
        return scores_BC

    def predict(self, interaction: Interaction) -> Tensor:
        """The score of each row's item, equal to that of `full_sort_predict`.

        Parameters
        ----------
        interaction : Interaction
            Users, histories and items in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B,).
        """
        scores_BN = self.full_sort_predict(interaction)
        return scores_BN.gather(1, interaction[self.ITEM_ID][:, None])[:, 0]

    @torch.no_grad()
    def prompted(self, interaction: Interaction, items_BC: Tensor) -> tuple[Tensor, Tensor]:
        """The prompts of candidates as input embeddings.

        Parameters
        ----------
        interaction : Interaction
            Users and histories in RecBole's fields, B rows.
        items_BC : Tensor
            Candidates of each user, shape (B, C).

        Returns
        -------
        embeds_BLH : Tensor
            Shape (B, L, H), padded on the right.
        lengths_B : Tensor
            Positions of each prompt, shape (B,).
        """
        rows = self.prompts.build(self._latest(interaction), items_BC.cpu())
        device = self.llm.device
        return self.llm.embed(rows.tokens_BL.to(device)), rows.prompt_B.to(device)

    def _answered(self, rows: Rows, answers: Answers) -> Tensor:
        device = self.llm.device
        given = Answers(*(each.to(device) for each in answers))
        embeds_BLH = self.llm.embed(rows.tokens_BL.to(device))
        return likelihoods(self.llm, embeds_BLH, rows.prompt_B.to(device), given)

    @contextmanager
    def _as_reference(self) -> Iterator[None]:
        """The adapters hold the reference's weights within the block."""
        own = {name: weight.data for name, weight in self.adapters.items()}
        for name, weight in self.adapters.items():
            weight.data = self._reference[name]
        try:
            yield
        finally:
            for name, weight in self.adapters.items():
                weight.data = own[name]

    def _rows(self, interaction: Interaction) -> Rows:
        items_BC, wanted_B = interaction[CANDIDATES].cpu(), interaction[self.POS_ITEM_ID].cpu()
        return self.prompts.build(self._latest(interaction), items_BC, wanted_B)

    def _latest(self, interaction: Interaction) -> Tensor:
        items_BL, lengths_B = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        return last_items(items_BL.cpu(), lengths_B.cpu(), self._history)

    def _frozen_backbone(self) -> Backbone:
        self._backbone.become(bytes(self.backbone_id.tolist()).hex())
        return self._backbone


def softmax_dpo(policy_BK: Tensor, reference_BK: Tensor, *, beta: float) -> Tensor:
    """The preference of one answer to several, against a reference (S-DPO, Chen et al., NeurIPS 2024).

    -log sigmoid(-log sum_k exp(beta (r_k - r_0))), with r the log-likelihood of an answer above the
    reference's. With one rejected answer it is that of DPO.

    Parameters
    ----------
    policy_BK : Tensor
        Log-likelihoods of the answers, the preferred one first, shape (B, K).
    reference_BK : Tensor
        The reference's, shape (B, K).
    beta : float
        Scale of the preferences.

    Returns
    -------
    Tensor
        A scalar, the mean over rows.
    """
    gains_BK = beta * (policy_BK - reference_BK)
    return F.softplus((gains_BK[:, 1:] - gains_BK[:, :1]).logsumexp(dim=1)).mean()
