"""LLM-SRec (Kim et al., KDD 2025): a frozen language model whose vectors of users know the order of histories.

B batch, L longest history, N items (padding included), M items of a batch, K sampled negatives, D width of the
backbone, H width of the language model, W width of the vectors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from models.allmrec.backbone import Backbone
from models.allmrec.frozen_llm import FrozenLLM
from models.allmrec.parts import PARTS, TrainedOn, UntilChanged, last_items, projection
from models.allmrec.prompt import NO_TITLE
from models.llmsrec.reading import Reader, joined, padded

ITEM = 'The item title is as follows: "{title}", then generate item representation token:'
HISTORY = "This user has {past} items in the following order:"
ENTRY = ' "{title}",'
REQUEST = " then generate user representation token:"


@dataclass(frozen=True, kw_only=True, eq=False)
class ReaderParts:
    """What the model is made with.

    Attributes
    ----------
    backbone : Backbone
        The frozen recommender whose user states are distilled.
    titles : sequence of str
        Title of each item, the padding's first.
    llm : callable
        Loads the language model at the first call and returns it.
    """

    backbone: Backbone
    titles: Sequence[str]
    llm: Callable[[], FrozenLLM]


class LLMSRec(TrainedOn, SequentialRecommender):
    """Vectors of users and items from the states of two out tokens; a score is their product.

    A history in words ends in the token of the user, an item's title in that of the item (section 3.1). Only the
    embeddings of the two tokens and three small networks learn: from the next item among those of the batch and sampled
    ones (eq. 1), from the distance to the frozen recommender's user state (eq. 2), and from what spreads both (eq. 3).
    Prompts hold titles alone, no soft token of an item as in the authors' code, so that all but the out token's own pass
    is without gradients.

    Parameters
    ----------
    config : recbole.config.Config
        The keys of `LLMSRecConfig`, with a `ReaderParts` under `parts`.
    dataset : recbole.data.dataset.Dataset
        The training part.
    """

    input_type = InputType.PAIRWISE
    reads_histories = True

    def __init__(self, config, dataset) -> None:  # type: ignore[no-untyped-def]
        super().__init__(config, dataset)
        parts: ReaderParts = config[PARTS]
        self._backbone = parts.backbone
        self._weights = float(config["distillation"]), float(config["uniformity"])
        self._history = int(config["history_items"])
        # Loading draws numbers the first time alone; the run's seed draws what learns.
        with torch.random.fork_rng(devices=[]):
            self.llm = parts.llm()
        width, inner = int(config["embedding_size"]), int(config["inner_size"])
        embeddings = self.llm.embed(
            torch.arange(min(self.llm.vocabulary, 4096), device=self.llm.device)
        )
        scale = float(embeddings.float().std())
        self.user_out = nn.Parameter(scale * torch.randn(self.llm.width))
        self.item_out = nn.Parameter(scale * torch.randn(self.llm.width))
        self.user_vector = _vector(self.llm.width, inner, width)
        self.item_vector = _vector(self.llm.width, inner, width)
        self.state_vector = projection(self._backbone.width, width, nn.GELU())
        self.name_networks()
        self._kept_bytes = int(config["kept_megabytes"]) << 20
        self._most = int(config["title_tokens"])
        self._titles = parts.titles
        self._statics = self._pieces(config["words"])
        self._entries = padded([[], *self._tokens(ENTRY, parts.titles[1:])])
        self._items: Reader | None = None
        self._table = UntilChanged[Tensor]()

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """The sum of retrieval, distillation and uniformity, each with its weight.

        Parameters
        ----------
        interaction : Interaction
            Users, histories, targets and K negatives of each, B rows.

        Returns
        -------
        Tensor
            A scalar.
        """
        targets_B, negatives_BK = interaction[self.POS_ITEM_ID], interaction[self.NEG_ITEM_ID]
        users_BW = self._users(interaction)
        items_M = torch.cat([targets_B, negatives_BK.flatten()]).unique()
        items_MW = self.item_vector(self._item_states(items_M))
        # Another user's target that this user had is no negative.
        had_BM = (interaction[self.ITEM_SEQ][:, :, None] == items_M).any(1)
        had_BM &= items_M != targets_B[:, None]
        place_B = torch.searchsorted(items_M, targets_B)
        scores_BM = (users_BW @ items_MW.T).masked_fill(had_BM, -torch.inf)
        states_BW = self.state_vector(self._backbone_states(interaction))
        distance, spread = distilled(users_BW, states_BW)
        weight, other = self._weights
        return F.cross_entropy(scores_BM, place_B) + weight * distance + other * spread

    @torch.no_grad()
    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items.

        Parameters
        ----------
        interaction : Interaction
            Histories in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B, N).
        """
        return self._users(interaction) @ self._table(self._item_table, self).T

    def predict(self, interaction: Interaction) -> Tensor:
        """The score of each row's item.

        Parameters
        ----------
        interaction : Interaction
            Histories and items in RecBole's fields, B rows.

        Returns
        -------
        Tensor
            Shape (B,).
        """
        scores_BN = self.full_sort_predict(interaction)
        return scores_BN.gather(1, interaction[self.ITEM_ID][:, None])[:, 0]

    def _users(self, interaction: Interaction) -> Tensor:
        """The vectors of users, (B, W)."""
        items_BL, lengths_B = interaction[self.ITEM_SEQ].cpu(), interaction[self.ITEM_SEQ_LEN].cpu()
        latest_BH = last_items(items_BL, lengths_B, self._history)
        tokens_NT, lengths_N = self._entries
        (open_1T, close_1T), (opens, closes) = self._statics
        rows = len(latest_BH)
        pieces = [open_1T.expand(rows, 1, -1), tokens_NT[latest_BH], close_1T.expand(rows, 1, -1)]
        widest = max(piece.shape[2] for piece in pieces)
        tokens_BPT = torch.cat([F.pad(p, (0, widest - p.shape[2])) for p in pieces], dim=1)
        lengths_BP = F.pad(lengths_N[latest_BH], (1, 1))
        lengths_BP[:, 0], lengths_BP[:, -1] = opens, closes
        reader = Reader(self.llm, *joined(tokens_BPT, lengths_BP))
        return self.user_vector(reader.states(torch.arange(rows), self.user_out).to(self.device))

    def _item_states(self, items_M: Tensor) -> Tensor:
        if self._items is None:
            opening = self.llm.opening() or [self.llm.eos]
            texts = self._tokens(ITEM, self._titles)
            self._items = Reader(self.llm, *padded([[*opening, *text] for text in texts]))
            self._items.keep(most_bytes=self._kept_bytes)
        return self._items.states(items_M.cpu(), self.item_out).to(self.device)

    @torch.no_grad()
    def _item_table(self) -> Tensor:
        items_N = torch.arange(self.n_items)
        return self.item_vector(self._item_states(items_N))

    def _backbone_states(self, interaction: Interaction) -> Tensor:
        self._backbone.become(bytes(self.backbone_id.tolist()).hex())
        read = (interaction[each] for each in (self.USER_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN))
        return self._backbone.users(*read, train=False)

    def _tokens(self, text: str, titles: Sequence[str]) -> list[list[int]]:
        """The tokens of a text about each title, which is cut to `title_tokens`."""
        quoted = [" ".join(title.split()) or NO_TITLE for title in titles]
        before, _, after = text.partition("{title}")
        own = [tokens[: self._most] for tokens in self.llm.tokens(quoted)]
        first, last = self.llm.tokens([before, after])
        return [[*first, *tokens, *last] for tokens in own]

    def _pieces(self, words: Any) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        """What stands before and after the titles of a history, and how long it is.

        Raises
        ------
        ValueError
            The longest titles that may stand between them have no room.
        """
        first, last = self.llm.tokens([HISTORY.format(**words), REQUEST])
        first = [*(self.llm.opening() or [self.llm.eos]), *first]
        quotes = sum(len(each) for each in self.llm.tokens(list(ENTRY.split("{title}"))))
        most = len(first) + len(last) + 1 + self._history * (self._most + quotes)
        if most > self.llm.context:
            raise ValueError(
                f"a history of {self._history} titles of {self._most} tokens does not fit into the language model's "
                f"context of {self.llm.context} positions"
            )
        return (torch.tensor(first)[None, None], torch.tensor(last)[None, None]), (
            len(first),
            len(last),
        )


def distilled(users_BW: Tensor, states_BW: Tensor) -> tuple[Tensor, Tensor]:
    """What draws users to the recommender's states, and what spreads both.

    Both are brought to length 1. The distance is the mean square of their differences' entries, the spread the mean of
    exp(-2 d²) over all pairs of users at distance d, of both.

    Parameters
    ----------
    users_BW : Tensor
        Vectors of users, shape (B, W).
    states_BW : Tensor
        The frozen recommender's, projected, shape (B, W).

    Returns
    -------
    distance, spread : Tensor
        Scalars; of a single user the spread is 0.
    """
    users_BW, states_BW = F.normalize(users_BW, dim=1), F.normalize(states_BW, dim=1)
    distance = F.mse_loss(users_BW, states_BW)
    if len(users_BW) < 2:
        return distance, distance.new_zeros(())
    spreads = [torch.pdist(each).square().mul(-2).exp().mean() for each in (users_BW, states_BW)]
    return distance, torch.stack(spreads).sum()


def _vector(width: int, inner: int, to: int) -> nn.Sequential:
    """From a state of the language model to a vector, with Xavier-normal weights."""
    layers = nn.Sequential(
        nn.Linear(width, inner), nn.LayerNorm(inner), nn.LeakyReLU(), nn.Linear(inner, to)
    )
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
    return layers
