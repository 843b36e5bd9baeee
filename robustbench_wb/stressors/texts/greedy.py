"""The black box that swaps and misspells words: rank them by leaving each out, then change the most important ones."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from robustbench_wb.models.tokenizer import Span
from robustbench_wb.stressors.stressor import Kind, PerturbedBatch, SampleBatch
from robustbench_wb.stressors.texts.search import Rate, Search, replace_words, seen_words
from robustbench_wb.tasks.lexicon import find_words


class Greedy(Rate):
    """Sees nothing but the model's probabilities, and no more of them than ``queries`` for a sample.

    The first query is the text itself; at most half of the others rank the words: by the loss without the word, as
    TextFooler does (Jin et al. 2020, eq. 2, left-hand part). Where a text has more words than that, a random part of
    them is ranked. From the most important word on, and round again, each is tried in ``candidates`` forms; the
    form with the greatest loss is kept if it is greater than before. Where as many words are changed as allowed, the
    word that is tried takes the place of the one changed last.
    """

    kind: ClassVar[Kind | None] = "black-box"

    queries: int = Field(default=100, ge=3)
    """Most forward passes for one sample."""
    candidates: int = Field(default=8, ge=1)
    """Forms of a word that are tried."""

    @abstractmethod
    def forms(self, job: SampleBatch, word: str, numbers: Sequence[int]) -> list[str]:
        """What to try in place of a word: at most one for each of the random ``numbers`` (whole, >= 0)."""

    def apply(self, job: SampleBatch) -> PerturbedBatch:
        """Search for an error on every sample of the job."""
        search, seen = Search(job), seen_words(job)
        search.improve(range(len(seen)), [[text] for text in job.texts])
        ranked = self._rank(search, seen)
        changes: list[dict[int, str]] = [{} for _ in seen]
        for attempt in range(self.queries):
            rows = [row for row in search.alive() if ranked[row] and search.forwards[row] < self.queries]
            drawn = search.draw(rows, self.candidates, self.signature, attempt)
            options = []
            for row, numbers in zip(rows, drawn, strict=True):
                number, most = ranked[row][attempt % len(ranked[row])], self.allowed(len(seen[row]))
                options.append(self._options(search, row, number, numbers, _room(changes[row], number, most)))
            texts = [
                [replace_words(job.texts[row], some) for some in each] for row, each in zip(rows, options, strict=True)
            ]
            taken = search.improve(rows, texts)
            for row, some in zip(rows, options, strict=True):
                if row in taken:
                    changes[row] = some[taken[row]]
        return search.result()

    def _rank(self, search: Search, seen: Sequence[Sequence[Span]]) -> list[list[int]]:
        """For each sample the numbers of its words, the most important first; none for samples that are at an end."""
        most, rows = (self.queries - 1) // 2, search.alive()
        drawn = search.draw(rows, max(map(len, seen), default=0), f"{self.signature}/rank", 0)
        asked = []
        for row, numbers in zip(rows, drawn, strict=True):
            count = len(seen[row])
            asked.append(sorted(sorted(range(count), key=numbers.__getitem__)[:most]))
        left_out = [
            [_without(search.texts[row], number) for number in some] for row, some in zip(rows, asked, strict=True)
        ]
        ranked: list[list[int]] = [[] for _ in seen]
        for row, some, found in zip(rows, asked, search.ask(rows, left_out), strict=True):
            ranked[row] = [some[at] for at in np.argsort(-found.losses, kind="stable")]
        return ranked

    def _options(
        self, search: Search, row: int, number: int, drawn: Sequence[int], kept: Mapping[int, str]
    ) -> list[dict[int, str]]:
        """Changes to ask for: those that are kept, and one word in each of its forms, while there are queries left."""
        text = search.job.texts[row]
        word = text[slice(*find_words(text)[number])]
        forms = [form for form in dict.fromkeys(self.forms(search.job, word, drawn)) if form != word]
        left = self.queries - int(search.forwards[row])
        return [{**kept, number: form} for form in forms[:left]]


def _room(changes: Mapping[int, str], number: int, most: int) -> dict[int, str]:
    """The changes without that of one word, and without the latest where there would be too many with it."""
    kept = [(at, form) for at, form in changes.items() if at != number]
    return dict(kept[: most - 1])


def _without(text: str, number: int) -> str:
    """The text without one of its words, and without the space before it."""
    start, end = find_words(text)[number]
    return text[:start].removesuffix(" ") + text[end:]
