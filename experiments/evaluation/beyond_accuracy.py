"""Beyond accuracy: what the lists of recommended items are like, whoever the targets are.

A list holds the k best items of a user in a ranking of all items: those that the targets compete
with, equal scores by ascending id. Coverage and Gini index describe all lists together, the others
each list by itself.

Dimensions: B users of a block, K longest list, N items and the padding (0, where a list is shorter).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from experiments.components.registry import functions
from experiments.config.metric_names import at
from paddock import ListMeasure, list_measure

if TYPE_CHECKING:
    from experiments.evaluation.catalogue import Catalogue

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@list_measure("coverage", of="counts")
def coverage(counts_N: NDArray[np.integer]) -> float:
    """Share of the items that are in at least one list.

    Catalogue coverage (Herlocker et al., "Evaluating collaborative filtering recommender systems",
    TOIS 2004; Ge et al., "Beyond accuracy", RecSys 2010).

    Parameters
    ----------
    counts_N : (n_items,)
        In how many lists each item is, the padding left out.
    """
    return float(np.count_nonzero(counts_N) / len(counts_N))


@list_measure("gini", of="counts", better="neither")
def gini(counts_N: NDArray[np.integer]) -> float:
    """How unequally the lists' places are shared out among all items: 0 evenly, towards 1 to few.

    The Gini index: the sum over items by ascending count of (2 i - n - 1) count_i, over n times the
    sum of the counts. Items in no list count. Adomavicius & Kwon ("Improving aggregate
    recommendation diversity", TKDE 2012) measure the same the other way round, as a diversity.

    Parameters
    ----------
    counts_N : (n_items,)
        In how many lists each item is, the padding left out.
    """
    n = len(counts_N)
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float(weights @ np.sort(counts_N) / (n * counts_N.sum()))


@list_measure("popularity", of="ranks", better="neither")
def popularity(items_BK: NDArray[np.integer], catalogue: "Catalogue") -> Floats:
    """Mean training interactions of the items down to every rank, (B, K).

    Average recommendation popularity (Yin et al., "Challenging the long tail recommendation", VLDB
    2012).

    Parameters
    ----------
    items_BK : int, (B, K)
        The lists, best first, filled up with 0.
    catalogue : Catalogue
    """
    return _running_mean(catalogue.interactions_N.astype(np.float64)[items_BK], items_BK)


@list_measure("novelty", of="ranks")
def novelty(items_BK: NDArray[np.integer], catalogue: "Catalogue") -> Floats:
    """Mean self-information of the items down to every rank, in bits, (B, K).

    -log2 p(i), where p(i) is the share of the training users that have item i (Zhou et al., PNAS
    2010; Vargas & Castells, "Rank and relevance in novelty and diversity metrics", RecSys
    2011). An item that nobody trained on counts as if one user had, for none has p = 0.

    Parameters
    ----------
    items_BK : int, (B, K)
        The lists, best first, filled up with 0.
    catalogue : Catalogue
    """
    share_N = np.maximum(catalogue.users_N, 1) / catalogue.n_users
    information_N = -np.log2(share_N)
    information_N[0] = 0
    return _running_mean(information_N[items_BK], items_BK)


@list_measure("diversity", of="lists", least_cutoff=2, needs_features=True)
def diversity(items_BK: NDArray[np.integer], catalogue: "Catalogue") -> Floats:
    """1 - mean similarity of all pairs of a list's items, (B,).

    Intra-list diversity (Ziegler et al., "Improving recommendation lists through topic
    diversification", WWW 2005; Vargas & Castells 2011), with the cosine of the items' sets of
    features as similarity: common features over the geometric mean of the sets' sizes. Items
    without features are left out; a list with fewer than two others has the diversity 0.

    Parameters
    ----------
    items_BK : int, (B, K)
        The lists, best first, filled up with 0.
    catalogue : Catalogue
    """
    from scipy.sparse import csr_matrix, diags

    features_NF = catalogue.features_NF
    assert features_NF is not None
    lengths_N = np.sqrt(np.asarray(features_NF.sum(axis=1)).ravel())
    units_NF = diags(1 / np.maximum(lengths_N, 1)) @ features_NF
    starts = np.arange(0, items_BK.size + 1, items_BK.shape[1])
    ones = np.ones(items_BK.size)
    chosen_BN = csr_matrix(
        (ones, items_BK.ravel(), starts), shape=(len(items_BK), features_NF.shape[0])
    )
    # The squared length of a sum of unit vectors is their number and twice the cosines of all pairs.
    sums_BF = chosen_BN @ units_NF
    squares_B = np.asarray(sums_BF.multiply(sums_BF).sum(axis=1)).ravel()
    known_B = (lengths_N > 0)[items_BK].sum(axis=1)
    pairs_B = known_B * (known_B - 1)
    mean_B = (squares_B - known_B) / np.maximum(pairs_B, 1)
    return np.where(pairs_B > 0, np.clip(1 - mean_B, 0, 1), 0.0)


def _running_mean(values_BK: Floats, items_BK: NDArray[np.integer]) -> Floats:
    """The mean down to every rank; the padding adds neither a value nor an item."""
    totals_BK = np.where(items_BK > 0, values_BK, 0.0).cumsum(axis=1)
    return totals_BK / np.maximum((items_BK > 0).cumsum(axis=1), 1)


def measure_names() -> tuple[str, ...]:
    """All list measures, in the order of their declaration."""
    return tuple(functions(ListMeasure))


class ListStatistics:
    """Collects the lists of one ranking block by block; of a block only its numbers are kept.

    Parameters
    ----------
    catalogue : Catalogue
    names : names of list measures
        One that needs features is passed over where no features are known, and below its least
        cut-off.
    cutoffs : lengths at which a list is cut
    """

    def __init__(
        self, catalogue: "Catalogue", *, names: Sequence[str], cutoffs: Sequence[int]
    ) -> None:
        known = functions(ListMeasure)
        self._catalogue = catalogue
        self._cutoffs = cutoffs
        self._counts = {k: np.zeros(catalogue.n_items + 1, dtype=np.int64) for k in cutoffs}
        self._measures = {name: known[name].load() for name in names}
        self._blocks: dict[str, list[Floats]] = {
            at(name, k): []
            for name, measure in self._measures.items()
            if measure.declaration.of != "counts"
            for k in cutoffs
            if k >= measure.declaration.least_cutoff
            and (catalogue.features_NF is not None or not measure.declaration.needs_features)
        }

    @property
    def longest(self) -> int:
        """The largest cut-off."""
        return max(self._cutoffs)

    def add(self, items_BK: NDArray[np.integer]) -> None:
        """Take the lists of the users that follow those of the block before.

        Parameters
        ----------
        items_BK : int, (B, K)
            Best first, filled up with 0; K at least the longest cut-off, or the number of items.
        """
        for k, counts_N in self._counts.items():
            counts_N += np.bincount(items_BK[:, :k].ravel(), minlength=len(counts_N))
        for name, measure in self._measures.items():
            wanted = [k for k in self._cutoffs if at(name, k) in self._blocks]
            if measure.declaration.of == "ranks" and wanted:
                values_BK = measure(items_BK, self._catalogue)
                for k in wanted:
                    # A list may be shorter than a cut-off where there are so few items.
                    column = values_BK[:, min(k, values_BK.shape[1]) - 1]
                    self._blocks[at(name, k)].append(column)
            elif measure.declaration.of == "lists":
                for k in wanted:
                    values_B = measure(items_BK[:, :k], self._catalogue)
                    self._blocks[at(name, k)].append(values_B)

    def collected(self) -> tuple[dict[int, Ints], dict[str, Floats]]:
        """In how many lists each item is, by cut-off, and the values of the users so far."""
        none: Floats = np.empty(0)
        return self._counts, {
            name: np.concatenate([none, *parts]) for name, parts in self._blocks.items()
        }

    def put(self, parts: Sequence[tuple[dict[int, Ints], dict[str, Floats]]], order: Ints) -> None:
        """Replace what was collected by what several of these did.

        Parameters
        ----------
        parts : sequence of (counts, values)
            What each of them collected.
        order : int64
            Places of all their users in the order of the phase.
        """
        self._counts = {k: np.sum([counts[k] for counts, _ in parts], axis=0) for k in self._counts}
        self._blocks = {
            name: [np.concatenate([values[name] for _, values in parts])[order]]
            for name in self._blocks
        }

    def per_user(self) -> dict[str, Floats]:
        """ "novelty_at_10" -> one value per user, in the order of the blocks."""
        return {name: np.concatenate(parts) for name, parts in self._blocks.items()}

    def system(self) -> dict[str, float]:
        """ "coverage_at_10" -> the value of all lists together."""
        return {
            at(name, k): measure(counts_N[1:])
            for name, measure in self._measures.items()
            if measure.declaration.of == "counts"
            for k, counts_N in self._counts.items()
        }
