"""Probes of what a language model's ranking rests on: the history, its order, titles, or what it knew before.

Each is the same evaluation with one thing taken away; a claim about language models needs them. Shuffled
histories: arXiv 2502.13909; benchmarks that a model has read: arXiv 2602.13626; popularity: the
likelihood that a title has by itself.

N items (padding included), P places, C candidates, W titles before a place.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from recbole.model.abstract_recommender import AbstractRecommender
from torch import Tensor

from experiments.bridge.candidates import CandidateScorer
from experiments.bridge.dataset import TrainingRows
from experiments.evaluation.evaluate import RankingTask, evaluate
from experiments.language.titles import neutral
from experiments.protocol.split import Sequences
from models.allmrec.frozen_llm import Answers, FrozenLLM, rank_in_pieces

SEED = 2024
PLACES, BEFORE, AMONG = 100, 5, 20
"""Places of the catalogue that are asked for, titles before each, and titles to choose from."""
ALONE = "Title: "
"""What stands before a title whose own likelihood is asked for."""


def probes(
    model: AbstractRecommender,
    dataset: TrainingRows,
    task: RankingTask,
    *,
    titles: Sequence[str],
    tokens: Sequence[str],
) -> dict[str, float]:
    """What the model's `probes` ask for, by name.

    history_shuffled, history_removed, titles_neutral
        "<probe>/<ranking>/<metric>": every ranking of candidates again, with each history in a random
        order, without any, and with every title replaced by "Item" and a random number.
    leakage
        "leakage/list_hit_at_1": how often the title that follows five others in the catalogue's own
        order is the likeliest of 20; "leakage/list_control_hit_at_1": after five random titles.
    popularity
        "popularity/spearman": rank correlation of a title's likelihood by itself, a token, and the item's training
        interactions.

    Parameters
    ----------
    model
        One that reads prompts.
    dataset : TrainingRows
        What it was trained on.
    task : RankingTask
        Its rankings of candidates are repeated.
    titles, tokens : sequence of str
        Title of each item and its id in the data's own files, the padding's first.
    """
    history = task.split.history(task.phase)
    ranked = partial(_ranked, model, dataset, task)
    again: dict[str, Callable[[], dict[str, float]]] = {
        "history_shuffled": lambda: ranked(shuffled(history)),
        "history_removed": lambda: ranked(removed(history)),
        "titles_neutral": lambda: _renamed(model, titles, lambda: ranked(history)),
        "leakage": lambda: list_completion(model.llm, titles, tokens),
        "popularity": lambda: popularity(
            model.llm, titles, np.bincount(task.split.train_items, minlength=len(titles))
        ),
    }
    return {
        f"{name}/{metric}": value
        for name in model.probes
        for metric, value in again[name]().items()
    }


def shuffled(history: Sequences) -> Sequences:
    """Every history in a random order of its own.

    Parameters
    ----------
    history : Sequences
        In time order.
    """
    keys = np.random.default_rng(SEED).random(len(history.items))
    return Sequences(
        indptr=history.indptr, items=history.items[np.lexsort((keys, history.row_of_item()))]
    )


def removed(history: Sequences) -> Sequences:
    """Empty histories of as many users.

    Parameters
    ----------
    history : Sequences
        Of which the number of users counts.
    """
    return Sequences(indptr=np.zeros_like(history.indptr), items=history.items[:0])


def list_completion(
    llm: FrozenLLM, titles: Sequence[str], tokens: Sequence[str]
) -> dict[str, float]:
    """Whether the model completes the catalogue in the order of its own file.

    Parameters
    ----------
    llm : FrozenLLM
    titles, tokens : sequence of str
        Title of each item and its id in the data's own files, the padding's first.

    Returns
    -------
    dict
        Hit@1 among 20 titles after the five before it, and after five random ones; chance is 0.05.
    """
    order = np.array(sorted(range(1, len(titles)), key=lambda item: _number(tokens[item])))
    rng = np.random.default_rng(SEED)
    before, among = min(BEFORE, len(order) - 1), min(AMONG, len(order) - BEFORE)
    if among < 2:
        return {}
    places = np.unique(np.linspace(before, len(order) - 1, PLACES).astype(np.int64))
    lists = np.stack([order[place - before : place] for place in places])
    drawn = np.stack([_others(rng, order, order[place], before) for place in places])
    others = np.stack([_others(rng, order, order[place], among - 1) for place in places])
    asked_PC = np.concatenate([order[places][:, None], others], axis=1)
    named = {"list_hit_at_1": lists, "list_control_hit_at_1": drawn}
    return {
        name: _hits(_likelihoods(llm, [_listed(titles, row) for row in rows_PW], titles, asked_PC))
        for name, rows_PW in named.items()
    }


def popularity(
    llm: FrozenLLM, titles: Sequence[str], interactions_N: np.ndarray
) -> dict[str, float]:
    """Whether the model by itself likes popular titles.

    Parameters
    ----------
    llm : FrozenLLM
    titles : sequence of str
        The padding's first.
    interactions_N : int64, (N,)
        Training interactions of each item.
    """
    from scipy.stats import spearmanr

    items = np.arange(1, len(titles))
    found = _likelihoods(llm, [ALONE], titles, items[None], mean=True)[0]
    return {"spearman": float(spearmanr(found.numpy(), interactions_N[1:]).statistic)}


def _ranked(
    model: AbstractRecommender, dataset: TrainingRows, task: RankingTask, history: Sequences
) -> dict[str, float]:
    among = {name: each for name, each in task.rankings.items() if each.candidates is not None}
    if not among:
        return {}
    scorer = CandidateScorer(model, dataset=dataset, history=history)
    plain = replace(task, rankings=among, catalogue=None, slicing=None)
    return evaluate(scorer, plain).means


def _renamed(
    model: AbstractRecommender, titles: Sequence[str], work: Callable[[], dict[str, float]]
) -> dict[str, float]:
    with model.renamed(neutral(titles)):
        return work()


def _number(token: str) -> tuple[int, float, str]:
    """Numbers in their order, before words in theirs."""
    try:
        return 0, float(token), token
    except ValueError:
        return 1, 0.0, token


def _others(rng: np.random.Generator, order: np.ndarray, item: int, n: int) -> np.ndarray:
    return rng.choice(order[order != item], size=n, replace=False)


def _listed(titles: Sequence[str], items: np.ndarray) -> str:
    return "".join(f"{titles[item]}\n" for item in items)


def _hits(scores_PC: Tensor) -> float:
    """The share of rows whose first column is the highest, ties in expectation."""
    best_P1 = scores_PC.amax(1, keepdim=True)
    level_PC = scores_PC == best_P1
    return float((level_PC[:, 0] / level_PC.sum(1)).mean())


def _likelihoods(
    llm: FrozenLLM,
    texts: Sequence[str],
    titles: Sequence[str],
    items_PC: np.ndarray,
    *,
    mean: bool = False,
) -> Tensor:
    """The log-likelihood of titles as whole lines after texts, or its mean a token, (P, C)."""
    prompts = [[*(llm.opening() or [llm.eos]), *told] for told in llm.tokens(list(texts))]
    prompt_P = torch.tensor([len(each) for each in prompts])
    tokens_PL = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(each) for each in prompts], batch_first=True
    )
    lines = [each or [llm.eos] for each in llm.tokens([f"{title}\n" for title in titles])]
    lengths_N = torch.tensor([len(each) for each in lines])
    lines_NT = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(each) for each in lines], batch_first=True
    )
    asked_PC = torch.from_numpy(items_PC)

    def embedded(these_R: Tensor, longest: int) -> Tensor:
        return llm.embed(tokens_PL[these_R, :longest].to(llm.device))

    parts = [
        # A row of all items would be one prompt with thousands of answers.
        rank_in_pieces(llm, embedded, prompt_P, Answers(lines_NT[part], lengths_N[part])).cpu()
        for part in asked_PC.split(64, dim=1)
    ]
    scores_PC = torch.cat(parts, dim=1)
    return scores_PC / lengths_N[asked_PC] if mean else scores_PC
