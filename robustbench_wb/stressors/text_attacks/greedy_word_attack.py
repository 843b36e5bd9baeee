"""Greedy black-box attacks on words: rank words by leaving each out, then change the most important ones."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from robustbench_wb.models.tokenizer import Span
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import AttackKind
from robustbench_wb.stressors.text_attacks.word_attack import TextSearch, WordRateAttack, replace_words, visible_words
from robustbench_wb.tasks.lexicon import find_words


class GreedyWordAttack(WordRateAttack):
    """Base of greedy black-box word attacks that use the model's probabilities, with at most ``queries`` per sample.

    The first query is the text itself. At most half of the others rank the words by the loss without the word, as in
    TextFooler (Jin et al. 2020, eq. 2, left-hand part); if a text has more words than that, a random part is ranked.
    From the most important word on, and cyclically, each word is tried in ``candidates`` forms. The form with the
    greatest loss is kept if it raises the loss. Once the allowed number of words is changed, the word that is tried
    replaces the one changed last.
    """

    kind: ClassVar[AttackKind | None] = "black-box"

    queries: int = Field(default=100, ge=3)
    """Largest number of forward passes per sample."""
    candidates: int = Field(default=8, ge=1)
    """Number of forms tried for a word."""

    @abstractmethod
    def candidate_words(self, batch: SampleBatch, word: str, numbers: Sequence[int]) -> list[str]:
        """Candidate replacements of a word: at most one for each of the random ``numbers`` (integers >= 0)."""

    def changeable(self, batch: SampleBatch, row: int, words: Sequence[Span]) -> list[int]:
        """Numbers of the words of a text that may be changed, ascending: all that the model sees."""
        return list(range(len(words)))

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Search for an adversarial example of every sample in the batch."""
        search, seen = self.begin(batch, access), visible_words(batch)
        search.improve(range(len(seen)), [[text] for text in batch.texts])
        ranked = self._rank(search, seen)
        changes: list[dict[int, str]] = [{} for _ in seen]
        for attempt in range(self.queries):
            rows = [row for row in search.alive() if ranked[row] and search.forwards[row] < self.queries]
            drawn = search.draw(rows, self.candidates, label=self.signature, step=attempt)
            options = []
            for row, numbers in zip(rows, drawn, strict=True):
                number, most = ranked[row][attempt % len(ranked[row])], self.allowed(len(seen[row]))
                kept = _room(changes[row], number, most)
                options.append(self._options(search, row, number, drawn=numbers, kept=kept))
            texts = [
                [replace_words(batch.texts[row], some) for some in each]
                for row, each in zip(rows, options, strict=True)
            ]
            taken = search.improve(rows, texts)
            for row, some in zip(rows, options, strict=True):
                if row in taken:
                    changes[row] = some[taken[row]]
        return search.result()

    def _rank(self, search: TextSearch, seen: Sequence[Sequence[Span]]) -> list[list[int]]:
        """Word numbers of each sample, the most important first; empty for samples whose search has ended."""
        most, rows = (self.queries - 1) // 2, search.alive()
        drawn = search.draw(rows, max(map(len, seen), default=0), label=f"{self.signature}/rank", step=0)
        asked = []
        for row, numbers in zip(rows, drawn, strict=True):
            changeable = self.changeable(search.batch, row, seen[row])
            asked.append(sorted(sorted(changeable, key=numbers.__getitem__)[:most]))
        left_out = [
            [_without(search.texts[row], number) for number in some] for row, some in zip(rows, asked, strict=True)
        ]
        ranked: list[list[int]] = [[] for _ in seen]
        for row, some, found in zip(rows, asked, search.ask(rows, left_out), strict=True):
            ranked[row] = [some[at] for at in np.argsort(-found.losses, kind="stable")]
        return ranked

    def _options(
        self, search: TextSearch, row: int, number: int, *, drawn: Sequence[int], kept: Mapping[int, str]
    ) -> list[dict[int, str]]:
        """Candidate changes, within the query limit: the kept changes plus one word in each of its forms."""
        text = search.batch.texts[row]
        word = text[slice(*find_words(text)[number])]
        forms = [form for form in dict.fromkeys(self.candidate_words(search.batch, word, drawn)) if form != word]
        left = self.queries - int(search.forwards[row])
        return [{**kept, number: form} for form in forms[:left]]


def _room(changes: Mapping[int, str], number: int, most: int) -> dict[int, str]:
    """Changes without the given word, and without the latest change if there would be too many with it."""
    kept = [(at, form) for at, form in changes.items() if at != number]
    return dict(kept[: most - 1])


def _without(text: str, number: int) -> str:
    """Text without one of its words and the space before it."""
    start, end = find_words(text)[number]
    return text[:start].removesuffix(" ") + text[end:]
