"""HotFlip on words (Ebrahimi, Rao, Lowd & Dou 2018, arXiv 1712.06751): swaps chosen by gradient."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb.models.batching import batches
from robustbench_wb.models.word_embeddings import WordEmbeddings
from robustbench_wb.stressors.attacks.attack_losses import cross_entropy
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import AttackKind
from robustbench_wb.stressors.text_attacks.gradient_evidence import GradientEvidence
from robustbench_wb.stressors.text_attacks.word_attack import (
    TextSearch,
    WordBudgetAttack,
    replace_words,
    single_token_columns,
    single_token_words,
)
from robustbench_wb.tasks.lexicon import find_words

SCORES = 1 << 24
"""Scores (samples x positions x words) held in memory at a time."""


class HotFlip(WordBudgetAttack):
    """Greedy white-box attack: one swap after the other, each the best of the candidates of a first-order score.

    The score of replacing word x at position i by word w is ``g_i . (E_w - E_x)``, with g the gradient of the
    cross-entropy with respect to the word vectors (section 3.1 of the paper). Candidates are the best word for each
    position, ordered by score, then the second best for each, and so on. They are put into the text, tokenized and
    classified; the candidate with the greatest loss is kept. A sample ends when it is broken, or when no candidate
    raises its loss. No position is swapped twice. Only words that are one token are swapped, for words of the training
    texts that are one token.
    """

    name: ClassVar[str] = "hotflip"
    kind: ClassVar[AttackKind | None] = "white-box"

    candidates: int = Field(default=16, ge=1)
    """Swaps that are evaluated on the model before one is chosen."""

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Search for an adversarial example of every sample in the batch."""
        search = TextSearch(batch, access)
        scorer = _Scorer(search, self.candidates)
        for _ in range(self.budget):
            rows = search.alive()
            taken = search.improve(rows, scorer.options(rows))
            search.end([row for row in rows if row not in taken])
        return replace(search.result(), evidence=scorer.met.evidence())


class _Scorer:
    """First-order scores of all swaps in the texts of a batch."""

    def __init__(self, search: TextSearch, candidates: int) -> None:
        self.search, self.candidates = search, candidates
        self.table = WordEmbeddings(search.access.model)
        self.words, ids = single_token_words(search.batch)
        self.ids = torch.from_numpy(ids).to(search.batch.inputs.device)
        self.vectors = self.table.vectors(self.ids)
        self.met = GradientEvidence(len(search.texts))

    def options(self, rows: Sequence[int]) -> list[list[str]]:
        """Texts of each sample with one more swap, for each of the swaps with the highest scores."""
        search, texts = self.search, [self.search.texts[row] for row in rows]
        places = [self._open(row, some) for row, some in zip(rows, self._places(texts), strict=True)]
        found: list[list[str]] = [[] for _ in rows]
        if not rows or not self.words:
            return found
        for part, tokens in batches(search.tokens(texts), search.access.batch_size):
            here = torch.as_tensor(part).tolist()
            current = self.table.vectors(tokens)
            gradient = self._gradient(tokens, current, [rows[at] for at in here])
            size = max(1, SCORES // (tokens.shape[1] * len(self.words)))
            for at in range(0, len(here), size):
                cut = slice(at, at + size)
                open_places = [places[i] for i in here[cut]]
                scores = self._scores(gradient[cut], current[cut], tokens[cut], places=open_places)
                for i, best in zip(here[cut], self._highest(scores), strict=True):
                    swaps = ((places[i][column], self.words[word]) for column, word in best)
                    found[i] = [replace_words(texts[i], {number: word}) for number, word in swaps]
        return found

    def _places(self, texts: Sequence[str]) -> list[dict[int, int]]:
        return single_token_columns(self.search.tokenizer, texts, self.search.length)

    def _open(self, row: int, places: dict[int, int]) -> dict[int, int]:
        """Token columns of words that are not swapped yet, each with the number of its word."""
        original, text = self.search.batch.texts[row], self.search.texts[row]
        spans = zip(find_words(original), find_words(text), strict=True)
        same = {number for number, (a, b) in enumerate(spans) if original[slice(*a)] == text[slice(*b)]}
        return {column: number for number, column in places.items() if number in same}

    def _gradient(self, tokens: Tensor, current: Tensor, rows: list[int]) -> Tensor:
        """Gradient of the loss with respect to the word vectors; samples without a finite gradient are marked as
        failed."""
        search = self.search
        labels = search.batch.labels[torch.tensor(rows, device=tokens.device)]
        logits, gradient = self.table.gradient(tokens, current, partial(cross_entropy, labels=labels))
        search.forwards[rows] += 1
        search.backwards[rows] += 1
        search.losses[rows] = cross_entropy(logits.float(), labels).cpu().numpy()
        self.met.record(torch.tensor(rows), gradient)
        usable = torch.isfinite(logits).all(1) & torch.isfinite(gradient).flatten(1).all(1)
        search.fail([row for row, fine in zip(rows, usable.tolist(), strict=True) if not fine])
        return gradient.nan_to_num()

    def _scores(self, gradient: Tensor, current: Tensor, tokens: Tensor, *, places: list[dict[int, int]]) -> Tensor:
        """Scores g . (E_w - E_x), (B, L, words); -inf for swaps that are not allowed."""
        scores = gradient @ self.vectors.T - (gradient * current).sum(-1, keepdim=True)
        shut = torch.ones_like(tokens, dtype=torch.bool)
        for row, some in enumerate(places):
            shut[row, list(some)] = False
        return scores.masked_fill(shut[:, :, None] | (tokens[:, :, None] == self.ids), -torch.inf)

    def _highest(self, scores: Tensor) -> list[list[tuple[int, int]]]:
        """Token columns and words of the candidates of each sample: the best of every position, then the second best,
        ...

        Scores compare words at one position better than they compare positions.
        """
        values, words = scores.topk(min(self.candidates, scores.shape[2]), dim=2)  # (B, L, k)
        found = []
        for row in range(len(values)):
            rank, column = torch.nonzero(torch.isfinite(values[row].T), as_tuple=True)
            order = np.lexsort((-values[row, column, rank].cpu().numpy(), rank.cpu().numpy()))[: self.candidates]
            chosen = torch.from_numpy(order).to(rank.device)
            column, rank = column[chosen], rank[chosen]
            found.append(list(zip(column.tolist(), words[row, column, rank].tolist(), strict=True)))
        return found
