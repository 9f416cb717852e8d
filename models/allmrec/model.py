"""A-LLMRec (Kim et al., KDD 2024): a frozen recommender and a frozen language model, aligned.

B batch, L length, D width of the backbone, J joint width, T text width, H width of the language
model, N items (padding included), C candidates, K items that are ranked again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from models.allmrec.backbone import UNTRAINED, Backbone
from models.allmrec.frozen_llm import FrozenLLM, answer_loss, rank_in_pieces
from models.allmrec.parts import (
    CANDIDATES,
    PARTS,
    Autoencoder,
    AverageUser,
    Parts,
    UntilChanged,
    bytes_of,
    last_items,
    one_of,
    projection,
    similarity,
)
from models.allmrec.prompt import USER, Prompts, Rows
from models.allmrec.ranking import Items, ProfiledItems, Vectors, gate, gated
from models.allmrec.reranked import best_unread, ranked_again
from models.allmrec.texts import ItemTexts

STAGES = ("align", "llm")
ROUTES = ("item", "text", "gated", "profile")


class ALLMRec(SequentialRecommender):
    """A frozen language model reads soft tokens of the user and of the items.

    `train_stage` align learns two autoencoders that meet in a joint space: one of the backbone's
    item embeddings, one of sentence embeddings of the items' texts (section 3.1). `train_stage`
    llm learns two projections of user states and of joint item embeddings into the language
    model's input space (section 3.2). Without a language model the joint space itself ranks.

    The frozen networks are no modules of this one: they stay in evaluation mode, get no gradient,
    and are named in a checkpoint (`backbone_id`, `llm_id`), not saved. A sentence encoder that learns
    along in stage align is one, and saved.

    Parameters
    ----------
    config : recbole.config.Config
        The keys of `ALLMRecConfig`, with the frozen networks under `parts` (a `Parts`).
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.PAIRWISE

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        self._parts: Parts = config[PARTS]
        self._stage = one_of("train_stage", config["train_stage"], STAGES)
        self._route = one_of("item_route", config["item_route"], ROUTES)
        self._item_weight, self._text_weight = config["item_weight"], config["text_weight"]
        self._dot = one_of("similarity", config["similarity"], ("mean", "dot")) == "dot"
        self._aligned = bool(config["alignment"])
        self._history = int(config["history_items"])
        self.order_check = bool(config["order_check"])
        self.generation_users = int(config["generation_users"])
        self.probes = tuple(config["probes"] or ())
        self._likely = one_of("likelihood", config["likelihood"], ("sum", "mean", "lift"))
        self._lift = float(config["lift_weight"] or 1.0)  # a quiet key is left out at its default
        self._top = int(config["rerank"])
        self._prompting = {
            "words": config["words"],
            "title_tokens": int(config["title_tokens"]),
            "user_token": bool(config["user_token"]),
            "item_tokens": bool(config["item_tokens"]),
            "list_candidates": config["list_candidates"] is not False,
        }
        self._prompts: Prompts | None = None
        self._profile = {"weight": config["profile_weight"], "decay": config["profile_decay"]}
        self._ranked = UntilChanged[Items | ProfiledItems]()
        self._gate_N = gate(self._parts.interactions_N, config["gate_interactions"])
        joint, width = int(config["joint_size"]), self._parts.backbone.width
        texts_NT = self._parts.texts_NT
        self.texts = ItemTexts(texts_NT, self._parts.text_encoder, scale=config["text_scale"])
        self.item_autoencoder = Autoencoder(width, joint)
        self.text_autoencoder = Autoencoder(texts_NT.shape[1], joint)
        self.item_autoencoder.requires_grad_(self._stage == "align")
        self.text_autoencoder.requires_grad_(self._stage == "align" and self._aligned)
        self.texts.requires_grad_(self._stage == "align" and self._aligned)
        # Bytes, so that a checkpoint names the weights it was trained with.
        self.register_buffer("backbone_id", bytes_of(self._parts.backbone.identity))
        self.register_buffer("llm_id", bytes_of(UNTRAINED))
        if self._parts.llm is not None:
            assert self._parts.llm_width is not None
            self.average_user = AverageUser(width)
            learns = self._stage == "llm" and config["projections"] == "trained"
            self.user_projection = projection(width, self._parts.llm_width, nn.LeakyReLU())
            self.item_projection = projection(joint, self._parts.llm_width, nn.GELU())
            self.user_projection.requires_grad_(learns and self._prompting["user_token"])
            self.item_projection.requires_grad_(learns and self._prompting["item_tokens"])

    @property
    def reads_histories(self) -> bool:
        """Whether scores follow from the histories: user states, titles in prompts, or profiles."""
        states = self._parts.backbone.reads_histories
        return states or self.reads_prompts or bool(self._profile["weight"])

    @property
    def input_note(self) -> str | None:
        """That the user states are learned vectors, as those of BPR and LightGCN are."""
        if self._parts.backbone.reads_histories or not self.reads_histories:
            return None
        return "its backbone reads no valid item"

    @property
    def reads_prompts(self) -> bool:
        """Whether it ranks by prompts, and not by the joint space."""
        return self._stage == "llm"

    @property
    def llm(self) -> FrozenLLM:
        assert self._parts.llm is not None, "the model was made without a language model"
        return self._parts.llm()

    def use_llm(self) -> None:
        """Record the language model in the weights.

        Raises
        ------
        ValueError
            If the weights were trained with another one.
        """
        own = bytes_of(self.llm.config_hash)
        if self.llm_id.any() and not torch.equal(self.llm_id.cpu(), own):
            raise ValueError(
                f"the weights were trained with another language model than {self.llm.name}"
            )
        self.llm_id.copy_(own)

    @property
    def prompts(self) -> Prompts:
        if self._prompts is None:
            self.use_llm()
            self._prompts = Prompts(self.llm, self._parts.titles, **self._prompting)
        return self._prompts

    @contextmanager
    def renamed(self, titles: Sequence[str]) -> Iterator[None]:
        """A block in which prompts and answers name the items by other titles.

        Parameters
        ----------
        titles : sequence of str
            Title of each item, the padding's first.
        """
        own = self.prompts
        self._prompts = Prompts(self.llm, titles, **self._prompting)
        try:
            yield
        finally:
            self._prompts = own

    def use_backbone(self, identity: str) -> None:
        """Load the weights of an identity into the frozen recommender.

        Parameters
        ----------
        identity : str
            64 hexadecimal digits.
        """
        self.backbone_id.copy_(bytes_of(identity))
        self._backbone()

    def prompt_lengths(self, interaction: Interaction) -> Tensor:
        """Positions of each row's prompt with its answer.

        Parameters
        ----------
        interaction : Interaction
            Users, histories, candidates and targets, B rows.

        Returns
        -------
        Tensor
            Shape (B,), on the CPU.
        """
        return self._rows(interaction).length_B

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The loss of the stage: `alignment_loss` or `answer_loss`.

        Parameters
        ----------
        interaction : Interaction
            Users, histories and targets in RecBole's fields, B rows; with negatives in stage align,
            with candidates in stage llm.

        Returns
        -------
        Tensor
            A scalar.
        """
        if self._stage == "llm":
            return self.prompt_loss(interaction, slice(None))[0]
        states_BD = self._states(interaction, train=True)
        return self.alignment_loss(
            states_BD, interaction[self.POS_ITEM_ID], interaction[self.NEG_ITEM_ID]
        )

    def prompt_loss(self, interaction: Interaction, some: slice) -> tuple[Tensor, Tensor]:
        """The loss of some rows of a batch in stage llm; the average user is that of all its rows.

        Parameters
        ----------
        interaction : Interaction
            Users, histories, candidates and targets, B rows.
        some : slice
            The rows whose answers count.

        Returns
        -------
        loss : Tensor
            Mean over the tokens of these rows' answers, a scalar.
        tokens_B : Tensor
            Tokens of the answer of each row of the batch, shape (B,).
        """
        states_BD = self._states(interaction, train=True)
        self.average_user.add(states_BD)
        rows = self._rows(interaction)
        loss = self.answer_loss(states_BD[some], Rows(*(each[some] for each in rows)))
        return loss, rows.length_B - rows.prompt_B

    def alignment_loss(self, states_BD: Tensor, wanted_B: Tensor, against_B: Tensor) -> Tensor:
        """The loss of stage align: recommendation, matching and both reconstructions (eq. 2 to 6).

        Matching and reconstructions are means over the entries of a batch, added up for the
        positive and the negative item.

        Parameters
        ----------
        states_BD : Tensor
            User states, shape (B, D).
        wanted_B : Tensor
            Positive items, shape (B,).
        against_B : Tensor
            Negative items, shape (B,).

        Returns
        -------
        Tensor
            A scalar.
        """
        losses, logits = [], []
        for items_B in (wanted_B, against_B):
            item_BD = self._backbone().items()[items_B]
            joint_BJ = self.item_autoencoder.encode(item_BD)
            decoded_BD = self.item_autoencoder.decode(joint_BJ)
            losses.append(self._item_weight * F.mse_loss(decoded_BD, item_BD))
            logits.append(similarity(states_BD, decoded_BD, dot=self._dot))
            if self._aligned:
                text_BT = self.texts.of(items_B)
                text_BJ = self.text_autoencoder.encode(text_BT)
                decoded_BT = self.text_autoencoder.decode(text_BJ)
                losses.append(F.mse_loss(joint_BJ, text_BJ))
                losses.append(self._text_weight * F.mse_loss(decoded_BT, text_BT.detach()))
        losses += [F.softplus(-logits[0]).mean(), F.softplus(logits[1]).mean()]
        return torch.stack(losses).sum()

    def answer_loss(self, states_BD: Tensor, rows: Rows) -> Tensor:
        """The loss of stage llm: cross-entropy of the answers' tokens, averaged over them (eq. 9).

        Parameters
        ----------
        states_BD : Tensor
            User states, shape (B, D).
        rows : Rows
            Tokens of the prompts with their answers.

        Returns
        -------
        Tensor
            A scalar.
        """
        tokens_BL, prompt_B, length_B = (each.to(self.llm.device) for each in rows)
        embeds_BLH = self._embedded(tokens_BL, states_BD, joint_NJ=None)
        return answer_loss(self.llm, embeds_BLH, tokens_BL, prompt_B, length_B)

    @torch.no_grad()
    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items.

        In stage align by the joint space. In stage llm the backbone's best `rerank` items outside
        the history that is read are ranked again by likelihood; all others stand below them, in
        the backbone's order.

        Parameters
        ----------
        interaction : Interaction
            Users and histories in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B, N).
        """
        states_BD = self._states(interaction)
        if not self.reads_prompts:
            return self._vectors(interaction, states_BD).scores()
        scores_BN = states_BD @ self._backbone().items().T
        best_BK = best_unread(scores_BN, interaction[self.ITEM_SEQ], self._top)
        return ranked_again(scores_BN, best_BK, self._likelihood(interaction, states_BD, best_BK))

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
        states_BD = self._states(interaction)
        if not self.reads_prompts:
            return self._vectors(interaction, states_BD).scores_of(items_BC)
        return self._likelihood(interaction, states_BD, items_BC)

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
        tokens_BL = rows.tokens_BL.to(self.llm.device)
        joint_NJ = self._joint_items()
        embeds_BLH = self._embedded(tokens_BL, self._states(interaction), joint_NJ=joint_NJ)
        return embeds_BLH, rows.prompt_B.to(self.llm.device)

    def _rows(self, interaction: Interaction) -> Rows:
        items_BC, wanted_B = interaction[CANDIDATES].cpu(), interaction[self.POS_ITEM_ID].cpu()
        return self.prompts.build(self._latest(interaction), items_BC, wanted_B)

    def _likelihood(self, interaction: Interaction, states_BD: Tensor, items_BC: Tensor) -> Tensor:
        latest_BH, told = self._latest(interaction), self._prompting["user_token"]
        answers, device = self.prompts.answers(items_BC.cpu()), states_BD.device
        joint_NJ = self._joint_items()

        def scores(states_BD: Tensor, history_BH: Tensor) -> Tensor:
            rows = self.prompts.build(history_BH, items_BC.cpu())

            def embedded(these_R: Tensor, longest: int) -> Tensor:
                tokens_RL = rows.tokens_BL[these_R, :longest].to(self.llm.device)
                states_RD = states_BD[these_R.to(device)]
                return self._embedded(tokens_RL, states_RD, joint_NJ=joint_NJ)

            return rank_in_pieces(self.llm, embedded, rows.prompt_B, answers).to(device)

        scores_BC = scores(states_BD, latest_BH)
        if self._likely == "lift" and told:
            average_BD = self.average_user.state_D.expand_as(states_BD)
            scores_BC -= self._lift * scores(average_BD, latest_BH)
        elif self._likely == "lift":
            scores_BC -= self._lift * scores(states_BD, torch.zeros_like(latest_BH))
        elif self._likely == "mean":
            scores_BC = scores_BC / answers.lengths_BC.to(device)
        return scores_BC

    def _embedded(self, tokens_BL: Tensor, states_BD: Tensor, *, joint_NJ: Tensor | None) -> Tensor:
        """Input embeddings, soft tokens filled in; `joint_NJ` None takes the items' own, to learn."""
        embeds_BLH = self.llm.embed(tokens_BL.clamp(min=0))
        rows, places = (tokens_BL == USER).nonzero(as_tuple=True)
        if len(rows):
            soft = self.user_projection(states_BD).to(embeds_BLH)
            embeds_BLH = embeds_BLH.index_put((rows, places), soft[rows])
        rows, places = (tokens_BL < USER).nonzero(as_tuple=True)
        if len(rows):
            items, which = (USER - tokens_BL[rows, places]).unique(return_inverse=True)
            items = items.to(states_BD.device)
            own = self.item_autoencoder.encode
            joint = own(self._backbone().items()[items]) if joint_NJ is None else joint_NJ[items]
            soft = self.item_projection(joint).to(embeds_BLH)
            embeds_BLH = embeds_BLH.index_put((rows, places), soft[which])
        return embeds_BLH

    def _joint_items(self) -> Tensor:
        """The joint embedding that stands for each item when it is ranked, (N, J)."""
        if self._route == "text":
            return self._joint_texts()
        item_NJ = self.item_autoencoder.encode(self._backbone().items())
        own = self._route == "item"
        return item_NJ if own else gated(item_NJ, self._joint_texts(), self._gate_N)

    def _joint_texts(self) -> Tensor:
        return self.text_autoencoder.encode(self.texts.table())

    def _vectors(self, interaction: Interaction, states_BD: Tensor) -> Vectors:
        """The vectors that rank without a language model; those of the items are kept."""
        return self._ranked(self._items, self).vectors(states_BD, interaction[self.ITEM_SEQ])

    def _items(self) -> Items | ProfiledItems:
        own_ND = self._backbone().items()
        if self._route == "profile":
            return ProfiledItems(own_ND, self._joint_texts(), self._gate_N, **self._profile)
        if self._route == "gated":
            text_ND = self.item_autoencoder.decode(self._joint_texts())
            return Items(gated(own_ND, text_ND, self._gate_N))
        return Items(self.item_autoencoder.decode(self._joint_items()))

    def _states(self, interaction: Interaction, *, train: bool = False) -> Tensor:
        read = (self.USER_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN)
        with torch.no_grad():
            return self._backbone().users(*(interaction[each] for each in read), train=train)

    def _latest(self, interaction: Interaction) -> Tensor:
        items_BL, lengths_B = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        return last_items(items_BL.cpu(), lengths_B.cpu(), self._history)

    def _backbone(self) -> Backbone:
        wanted = bytes(self.backbone_id.tolist()).hex()
        self._parts.backbone.become(wanted)
        return self._parts.backbone
