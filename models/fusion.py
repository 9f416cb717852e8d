"""Several trained recommenders, whose scores are standardised by user, weighed and added.

B batch, N items (padding included), C candidates, M members.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender, SequentialRecommender
from recbole.utils import InputType
from torch import Tensor

from models._histories import last_items
from models._scores import WithoutLoss
from paddock import ModelConfig, choices, key
from paddock.prompting import prompting_notes

PARTS = "parts"
"""Key of RecBole's config under which the members are found."""

UNTRAINED = "0" * 64
"""The identity of a member's initial weights."""


class FusionConfig(ModelConfig):
    """Scores of several trained models, standardised by user and added with weights."""

    offers = ("members",)
    strategies = ("weighed",)

    members: dict = key(doc="Name -> a model, trained first and kept.", schema="models")
    seed_offsets: dict | None = key(
        None, "Member -> what is added to the run's seed: two of one model, as a control."
    )
    gate_interactions: float = key(
        0.0,
        "Training interactions at which an item's weights are halfway between those for rare items "
        "and those for popular ones; 0: one set of weights for all items.",
        least=0,
        search=choices(0.0, 3.0, 10.0, 30.0),
    )
    MAX_ITEM_LIST_LENGTH: int = key(
        200, "Items of a history that are handed on; each member reads its own.", least=1
    )

    @classmethod
    def notes(cls, values: Mapping[str, Any], *, full: bool) -> Mapping[str, str]:
        """Tags that say which language model ranks, where a member asks one.

        Parameters
        ----------
        values : mapping of str to object
            The resolved configuration.
        full : bool
            Whether all items are ranked, which a fusion with a language model does not.
        """
        asking = [own for own in values["members"].values() if own.get("llm") is not None]
        return {
            tag: told for own in asking for tag, told in prompting_notes(own, full=full).items()
        }

    @classmethod
    def check(cls, values: Mapping[str, Any]) -> None:
        """Refuse offsets of seeds that are of no member or no whole numbers.

        Parameters
        ----------
        values : mapping of str to object
            All keys, each checked by itself.

        Raises
        ------
        ValueError
            Naming the offset.
        """
        for name, offset in (values["seed_offsets"] or {}).items():
            if name not in values["members"]:
                raise ValueError(
                    f"seed_offsets={{{name}: {offset}}} is of no member; the members are "
                    f"{', '.join(values['members'])}"
                )
            if type(offset) is not int or offset < 0:
                raise ValueError(f"seed_offsets={{{name}: {offset}}} must be 0, 1, 2 and so on")


@dataclass
class Member:
    """A trained recommender of a fusion.

    It is no nn.Module, so that a model that holds it neither trains nor saves it. A checkpoint names it by
    `identity`.

    Attributes
    ----------
    model : AbstractRecommender
    dataset : recbole.data.dataset.Dataset
        What the model was made with.
    load : callable
        Loads the weights of an identity into the model.
    reads_histories : bool
        Whether its scores follow from the history that it is given.
    kept : callable or None
        Takes an identity and gives where the scores are kept that the member gave to candidates; None
        keeps none.
    """

    model: AbstractRecommender
    dataset: Any
    load: Callable[[str], None]
    reads_histories: bool
    kept: Callable[[str], Any] | None = None
    identity: str = field(default=UNTRAINED)

    @property
    def reads_prompts(self) -> bool:
        """Whether it ranks candidates by a prompt that names them."""
        return bool(getattr(self.model, "reads_prompts", False))

    @property
    def scores(self) -> Any:
        """The scores that the member gave to candidates so far; None where none are kept."""
        return None if self.kept is None or self.identity == UNTRAINED else self.kept(self.identity)

    def become(self, identity: str) -> None:
        """Load the weights of an identity, unless they are loaded already.

        Parameters
        ----------
        identity : str
            64 hexadecimal digits; `UNTRAINED` loads nothing.
        """
        if identity not in (self.identity, UNTRAINED):
            self.load(identity)
            self.identity = identity
        self.model.requires_grad_(False).eval()


class Fusion(WithoutLoss, SequentialRecommender):
    """The sum of several models' scores, each brought to mean 0 and deviation 1 over a user's items.

    The weights are not negative and sum to 1; the strategy `weighed` chooses them on the valid part. Where a
    member ranks candidates by a prompt, the items of a user are his candidates, for every member. With a gate an item of n training interactions is scored by n / (n + c) of the weights for popular items and by the
    rest of those for rare ones.

    Parameters
    ----------
    config : recbole.config.Config
        The keys of `FusionConfig`, and the members under `parts`, a dict of `Member`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.POINTWISE
    # What is asked of a model that reads prompts is asked of the member itself.
    order_check = False
    generation_users = 0
    probes = ()

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self.dummy_param = torch.nn.Parameter(torch.zeros(1))  # tells the model's device
        self.members: Mapping[str, Member] = config[PARTS]
        gate = float(config["gate_interactions"])
        items = dataset.inter_feat[dataset.iid_field].long()
        counts_N = torch.bincount(items, minlength=self.n_items).float()
        # How much of the weights for popular items counts.
        self.popular_N = counts_N / (counts_N + gate) if gate else torch.ones(self.n_items)
        self.gated = bool(gate)
        count = len(self.members)
        # For popular items and for rare ones.
        self.register_buffer("weights_2M", torch.full((2, count), 1 / count))
        self.register_buffer("member_ids", torch.zeros(count, 32, dtype=torch.uint8))
        self.chosen = False

    @property
    def reads_histories(self) -> bool:
        """Whether some member's scores follow from the history."""
        return any(member.reads_histories for member in self.members.values())

    @property
    def reads_prompts(self) -> bool:
        """Whether it ranks candidates alone, as some member does by prompts."""
        return any(member.reads_prompts for member in self.members.values())

    @property
    def input_note(self) -> str | None:
        """Which members score by a vector of the user that is learned in training."""
        unread = [name for name, member in self.members.items() if not member.reads_histories]
        return f"{', '.join(unread)} in it reads no valid item" if unread else None

    def use_members(self, identities: Mapping[str, str]) -> None:
        """Take the members' trained weights.

        Parameters
        ----------
        identities : mapping of str to str
            Member -> 64 hexadecimal digits.
        """
        rows = [list(bytes.fromhex(identities[name])) for name in self.members]
        self.member_ids.copy_(torch.tensor(rows, dtype=torch.uint8))
        self.load_members()

    def load_members(self) -> None:
        """Load the members' weights that a checkpoint names, unless they are loaded."""
        for row, member in zip(self.member_ids.cpu().tolist(), self.members.values(), strict=True):
            member.become(bytes(row).hex())

    @property
    def chosen_weights(self) -> dict[str, float]:
        """Member -> its weight; with a gate "popular/" and "rare/" begin the names."""
        kinds = ("popular/", "rare/") if self.gated else ("",)
        return {
            f"{kind}{name}": weight
            for kind, row in zip(kinds, self.weights_2M.tolist(), strict=False)
            for name, weight in zip(self.members, row, strict=True)
        }

    def take_choices(self, first: "Fusion") -> None:
        """Take the weights that another fusion of the same members chose.

        Parameters
        ----------
        first : Fusion
        """
        self.choose(first.weights_2M)

    def choose(self, weights_2M: Tensor) -> None:
        """Set the weights.

        Parameters
        ----------
        weights_2M : Tensor
            For popular items, and for rare ones.
        """
        self.weights_2M.copy_(weights_2M)
        self.chosen = True

    def standardised(self, scores: Mapping[str, Tensor], items_BC: Tensor | None = None) -> Tensor:
        """Each member's scores with mean 0 and deviation 1 over the items, and popularity's share in them.

        Parameters
        ----------
        scores : mapping of str to Tensor
            Member -> scores of all items, shape (B, N); column 0 is padding.
        items_BC : Tensor, optional
            The candidates that the scores are of, shape (B, C), instead of all items.

        Returns
        -------
        Tensor
            Shape (M, B, N); (2 M, B, N) with a gate, the popular items' part first. Equal scores are 0.
        """
        padding = 1 if items_BC is None else 0
        rows = []
        for name in self.members:
            items_BN = scores[name][:, padding:].float()
            deviation_B1 = items_BN.std(dim=1, correction=0, keepdim=True)
            spread = deviation_B1 > 1e-6 * items_BN.abs().amax(dim=1, keepdim=True)
            level_BN = (items_BN - items_BN.mean(dim=1, keepdim=True)) / deviation_B1
            rows.append(torch.nn.functional.pad(torch.where(spread, level_BN, 0.0), (padding, 0)))
        scores_MBN = torch.stack(rows)
        if not self.gated:
            return scores_MBN
        popular_N = self.popular_N.to(scores_MBN)
        popular = popular_N if items_BC is None else popular_N[items_BC.to(popular_N.device)]
        return torch.cat([scores_MBN * popular, scores_MBN * (1 - popular)])

    def fused(self, scores: Mapping[str, Tensor], items_BC: Tensor | None = None) -> Tensor:
        """The weighed sum of the members' scores.

        Parameters
        ----------
        scores : mapping of str to Tensor
            Member -> scores, shape (B, N).
        items_BC : Tensor, optional
            As of `standardised`.

        Returns
        -------
        Tensor
            Shape (B, N).
        """
        made = self.standardised(scores, items_BC)
        weights = self.weights_2M.flatten() if self.gated else self.weights_2M[0]
        total_BN = weights[0] * made[0]
        for weight, part_BN in zip(weights[1:], made[1:], strict=True):
            total_BN += weight * part_BN
        return total_BN

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items.

        Parameters
        ----------
        interaction : Interaction
            Users, histories and their lengths in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B, N).
        """
        self.load_members()
        return self.fused(
            {
                name: self._member_scores(member, interaction)
                for name, member in self.members.items()
            }
        )

    def _member_scores(self, member: Member, interaction: Interaction) -> Tensor:
        if isinstance(member.model, SequentialRecommender):
            fields = dict(interaction.interaction)
            fields[self.ITEM_SEQ], fields[self.ITEM_SEQ_LEN] = last_items(
                interaction[self.ITEM_SEQ],
                interaction[self.ITEM_SEQ_LEN],
                member.model.max_seq_length,
            )
            interaction = Interaction(fields)
        return member.model.full_sort_predict(interaction).view(len(interaction), -1)
