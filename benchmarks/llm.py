"""A-LLMRec's stage 2 and its ranking of 20 candidates, against a plain way of doing both.

The plain way, written for this benchmark alone: every row's prompt is a string that is tokenised when
it is needed, logits are computed for every position, every candidate is a forward pass of its own over
the whole text, nothing is cached, and rows are padded as they come. Both sides have the same
weights, users and candidates; their scores and losses are compared too.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import Measured, timed
from experiments.arena import arena
from experiments.bridge.scorer import RecBoleScorer
from experiments.compose import compose, typed
from experiments.llm.scorer import CandidateScorer
from experiments.training.stages import build, stage_configs
from experiments.training.strategy import Task
from experiments.training.targets import Targets
from experiments.validate import resolve_model
from models.allmrec import ALLMRec

OVERRIDES = ["model=a_llmrec", "dataset=ml-100k", "model.stages.llm.train_batch_size=2"]
TURNS = 3
RANKED, TRAINED = 16, 32
"""Users that are ranked, and samples that are trained on, in a turn."""


class Plain:
    """A-LLMRec's second stage as a first version would have it."""

    def __init__(self, model: ALLMRec, titles: list[str], words: dict[str, str]) -> None:
        self._model, self._titles, self._words = model, titles, words
        self._llm = model.llm

    def prompt(self, user: int, history: list[int], candidates: list[int]) -> Tensor:
        """The input embeddings of one user's prompt, (L, H)."""
        say = self._words
        parts = [self._user(user), self._said(" is a user representation.")]
        parts[1] = self._said(f" is a user representation.This user has {say['past']} ")
        parts += self._listed(history)
        parts.append(
            self._said(
                f" in the previous. Recommend one next {say['noun']} for this user to "
                f"{say['verb']} next from the following {say['noun']} title set, "
            )
        )
        parts += self._listed(candidates)
        parts.append(self._said(". The recommendation is "))
        return torch.cat(parts)

    def answer(self, item: int) -> list[int]:
        title = " ".join(self._titles[item].split()) or "No Title"
        tokens = self._llm.tokenizer(f'"{title}"', add_special_tokens=False)["input_ids"]
        return [*tokens[:32], self._llm.eos]

    @torch.no_grad()
    def rank(self, user: int, history: list[int], candidates: list[int]) -> Tensor:
        scores = []
        for item in candidates:
            prompt = self.prompt(user, history, candidates)
            answer = self.answer(item)
            whole = torch.cat([prompt, self._llm.embed(torch.tensor(answer))])
            logits = self._llm.model(inputs_embeds=whole[None]).logits[0].float()
            logs = logits.log_softmax(dim=1)[len(prompt) - 1 : -1]
            scores.append(logs[torch.arange(len(answer)), torch.tensor(answer)].sum())
        return torch.stack(scores)

    def loss(self, rows: list[tuple[int, list[int], list[int], int]]) -> Tensor:
        """Of rows of (user, history, candidates, target), padded on the right, all logits."""
        prompts = [self.prompt(*row[:3]) for row in rows]
        answers = [torch.tensor(self.answer(row[3])) for row in rows]
        wholes = [
            torch.cat([prompt, self._llm.embed(answer)])
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        embeds = torch.nn.utils.rnn.pad_sequence(wholes, batch_first=True)
        labels = torch.full(embeds.shape[:2], -100)
        mask = torch.zeros(embeds.shape[:2], dtype=torch.int64)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            labels[row, len(prompt) : len(prompt) + len(answer)] = answer
            mask[row, : len(prompt) + len(answer)] = 1
        logits = self._llm.model(inputs_embeds=embeds, attention_mask=mask).logits.float()
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    def _listed(self, items: list[int]) -> list[Tensor]:
        parts: list[Tensor] = []
        for place, item in enumerate(items):
            title = " ".join(self._titles[item].split()) or "No Title"
            parts += [self._said(",")] if place else []
            parts += [self._said(f'"{title}"'), self._item(item)]
        return parts

    def _said(self, text: str) -> Tensor:
        tokens = self._llm.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._llm.embed(torch.tensor(tokens))

    def _user(self, row: int) -> Tensor:
        return self._model.user_projection(self.states[row][None])

    def _item(self, item: int) -> Tensor:
        joint = self._model.item_autoencoder.encode(self._model._backbone().items()[[item]])
        return self._model.item_projection(joint)

    states: Tensor


def measure() -> Iterator[Measured]:
    """Seconds for the same users and samples, by turns; ours are trained and ranked by the engine."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        config = typed(compose(OVERRIDES))
        shared = arena(config)
        values = stage_configs(resolve_model(config.model))["llm"]
        model, dataset, recbole = build(
            values,
            data=shared.data,
            split=shared.split,
            seed=1,
            device=torch.device("cpu"),
            folder=Path(folder),
        )
        task = Task(model=model, config=recbole, dataset=dataset, split=shared.split, seed=1)
        plain = Plain(model, shared.data.item_titles, values["words"])
        yield _ranking(plain, model, dataset, shared)
        yield _training(plain, model, task)


def _ranking(plain: Plain, model: ALLMRec, dataset: Any, shared: Any) -> Measured:
    measured = Measured(name="A-LLMRec ranking of 20 candidates, tiny language model, ml-100k")
    given, history = shared.candidates["test"]["c20"], shared.split.history("test")
    scorer = CandidateScorer(model, dataset=dataset, history=history)
    model.eval()
    for turn in range(TURNS):
        rows = np.linspace(turn, len(given.users) - 1, RANKED).astype(np.int64)
        users, items = given.users[rows].astype(np.int64), given.items_TC[rows].astype(np.int64)
        batch = RecBoleScorer(model, dataset=dataset, history=history)._batch(users)
        plain.states = model._states(batch)
        with timed() as theirs:
            expected = torch.stack(
                [
                    plain.rank(row, history.of(int(user))[-10:].tolist(), items[row].tolist())
                    for row, user in enumerate(users)
                ]
            )
        with timed() as ours:
            found = scorer.score_candidates(users, items)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
        measured.add(theirs, ours)
    measured.facts["users_per_cpu_second"] = {
        "plain": TURNS * RANKED / sum(measured.theirs_cpu),
        "ours": TURNS * RANKED / sum(measured.ours_cpu),
    }
    return measured


def _training(plain: Plain, model: ALLMRec, task: Task) -> Measured:
    """The plain way takes the samples as they are drawn; ours puts similar lengths together."""
    measured = Measured(name="A-LLMRec stage 2, tiny language model, ml-100k, batches of 2")
    targets = Targets(task, positions="last")
    size = int(task.config["train_batch_size"])
    model.train()
    for turn in range(TURNS):
        users, places = (drawn[:TRAINED] for drawn in targets.drawn())
        batch = targets.batch(users, places)
        negatives = targets.negatives(users, 19)
        wanted = batch[model.POS_ITEM_ID]
        batch.interaction["candidates"] = torch.cat([wanted[:, None], negatives], dim=1)
        drawn = [batch[piece] for piece in torch.arange(TRAINED).split(size)]
        if turn == 0:
            expected = [_backward(_plain_loss(plain, model, piece), model) for piece in drawn]
            found = [_backward(model.calculate_loss(piece), model) for piece in drawn]
            np.testing.assert_allclose(found, expected, atol=1e-3)
        with timed() as theirs:
            for piece in drawn:
                _backward(_plain_loss(plain, model, piece), model)
        with timed() as ours:
            order = torch.argsort(model.prompt_lengths(batch), stable=True)
            for rows in order.split(size):
                _backward(model.calculate_loss(batch[rows]), model)
        measured.add(theirs, ours)
    measured.facts["samples_per_cpu_second"] = {
        "plain": TURNS * TRAINED / sum(measured.theirs_cpu),
        "ours": TURNS * TRAINED / sum(measured.ours_cpu),
    }
    return measured


def _plain_loss(plain: Plain, model: ALLMRec, piece: Any) -> Tensor:
    plain.states = model._states(piece, train=True)
    rows = [
        (
            row,
            piece[model.ITEM_SEQ][row, : piece[model.ITEM_SEQ_LEN][row]].tolist()[-10:],
            piece["candidates"][row].tolist(),
            int(piece[model.POS_ITEM_ID][row]),
        )
        for row in range(len(piece))
    ]
    return plain.loss(rows)


def _backward(loss: Tensor, model: ALLMRec) -> float:
    model.zero_grad()
    loss.backward()
    return loss.item()


if __name__ == "__main__":
    from benchmarks.__main__ import report

    report(measure())
