"""A plain way of training and ranking by A-LLMRec's second stage, which the benchmarks measure against.

Every row's prompt is a string that is tokenised when it is needed, logits are computed for every
position, every candidate is a forward pass of its own over the whole text, nothing is cached, and
rows are padded as they come.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.allmrec import ALLMRec


class Plain:
    """A-LLMRec's second stage as a first version would have it.

    `states` are those of the users that are asked for by their row in them.
    """

    states: Tensor

    def __init__(self, model: ALLMRec, titles: list[str], words: dict[str, str]) -> None:
        self._model, self._titles, self._words = model, titles, words
        self._llm = model.llm

    def prompt(self, user: int, history: list[int], candidates: list[int]) -> Tensor:
        """The input embeddings of one user's prompt, (L, H)."""
        say = self._words
        pieces = [
            f" is a user representation.This user has {say['past']} ",
            *self._listed(history),
            f" in the previous. Recommend one next {say['noun']} for this user to "
            f"{say['verb']} next from the following {say['noun']} title set, ",
            *self._listed(candidates),
            ". The recommendation is ",
        ]
        parts, text = [self._user(user)], ""
        # Text up to the next soft token is one string.
        for piece in pieces:
            if isinstance(piece, str):
                text += piece
            else:
                parts += [self._said(text), self._item(piece)]
                text = ""
        return torch.cat([*parts, self._said(text)])

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
            whole = torch.cat([prompt, self._llm.embed(self._tensor(answer))])
            logits = self._llm.model(inputs_embeds=whole[None]).logits[0].float()
            logs = logits.log_softmax(dim=1)[len(prompt) - 1 : -1]
            scores.append(logs.gather(1, self._tensor(answer)[:, None]).sum())
        return torch.stack(scores)

    def loss(self, rows: list[tuple[int, list[int], list[int], int]]) -> Tensor:
        """Of rows of (user, history, candidates, target), padded on the right, all logits."""
        prompts = [self.prompt(*row[:3]) for row in rows]
        answers = [self._tensor(self.answer(row[3])) for row in rows]
        wholes = [
            torch.cat([prompt, self._llm.embed(answer)])
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        embeds = torch.nn.utils.rnn.pad_sequence(wholes, batch_first=True)
        labels = torch.full(embeds.shape[:2], -100, device=embeds.device)
        mask = torch.zeros_like(labels)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            labels[row, len(prompt) : len(prompt) + len(answer)] = answer
            mask[row, : len(prompt) + len(answer)] = 1
        logits = self._llm.model(inputs_embeds=embeds, attention_mask=mask).logits.float()
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    def _listed(self, items: list[int]) -> list[str | int]:
        pieces: list[str | int] = []
        for place, item in enumerate(items):
            title = " ".join(self._titles[item].split()) or "No Title"
            pieces += ["," if place else "", f'"{title}"', item]
        return pieces

    def _said(self, text: str) -> Tensor:
        tokens = self._llm.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._llm.embed(self._tensor(tokens))

    def _user(self, row: int) -> Tensor:
        return self._model.user_projection(self.states[row][None]).to(self._llm.dtype)

    def _item(self, item: int) -> Tensor:
        joint = self._model.item_autoencoder.encode(self._model._backbone().items()[[item]])
        return self._model.item_projection(joint).to(self._llm.dtype)

    def _tensor(self, tokens: list[int]) -> Tensor:
        return torch.tensor(tokens, device=self._llm.device)
