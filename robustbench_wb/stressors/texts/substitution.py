"""Word substitution by a black box, and its control: the same number of words, swapped at random."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from robustbench_wb.stressors.stressor import Kind, PerturbedBatch, SampleBatch
from robustbench_wb.stressors.texts.greedy import Greedy
from robustbench_wb.stressors.texts.search import (
    Budget,
    Rate,
    Search,
    WordAttack,
    replace_words,
    seen_words,
    token_places,
    token_words,
)


class WordSubstitution(Greedy):
    """Important words become words drawn from the task's training texts, each of their frequent words alike likely.

    There is no list of synonyms: a draw may turn the meaning of a text round, and with it the truth of its label.
    """

    name: ClassVar[str] = "word-substitution"
    changes: ClassVar[str] = "words"

    def forms(self, job: SampleBatch, word: str, numbers: Sequence[int]) -> list[str]:
        """Drawn words."""
        words = job.lexicon.words
        return [words[number % len(words)] for number in numbers] if words else []

    def admits(self, job: SampleBatch, before: str, after: str) -> bool:
        """Words of the training texts only."""
        return after in job.lexicon


class _Draws(WordAttack):
    """Words swapped at random, a few times over: a sample is broken when any of the draws breaks it."""

    kind: ClassVar[Kind | None] = "control"

    draws: int = Field(default=20, ge=1)
    """Texts that are drawn for a sample. The worst counts."""

    def choices(self, job: SampleBatch, search: Search) -> tuple[list[list[int]], Sequence[str]]:
        """For each sample the numbers of the words that may be swapped, and what they may become."""
        return [list(range(len(spans))) for spans in seen_words(job)], job.lexicon.words

    def apply(self, job: SampleBatch) -> PerturbedBatch:
        """Draw for every sample until it is broken, or all draws are used up."""
        search, seen = Search(job), seen_words(job)
        places, words = self.choices(job, search)
        longest = max(map(len, places), default=0)
        most = self.allowed(max(map(len, seen), default=0))
        for draw in range(self.draws):
            rows = [row for row in search.alive() if places[row] and words]
            order = search.draw(rows, longest, f"{self.signature}/place", draw)
            drawn = search.draw(rows, min(most, longest), f"{self.signature}/word", draw)
            options = []
            for row, keys, numbers in zip(rows, order, drawn, strict=True):
                chosen = sorted(range(len(places[row])), key=keys.__getitem__)[: self.allowed(len(seen[row]))]
                swaps = {
                    places[row][at]: words[number % len(words)] for at, number in zip(chosen, numbers, strict=False)
                }
                options.append([replace_words(job.texts[row], swaps)])
            search.improve(rows, options)
        return search.result()

    def admits(self, job: SampleBatch, before: str, after: str) -> bool:
        """Words of the training texts only."""
        return after in job.lexicon


class RandomSwap(_Draws, Rate):
    """The control of word-substitution and character-edits at the same rate."""

    name: ClassVar[str] = "random-swap"
    changes: ClassVar[str] = "words"


class RandomFlip(_Draws, Budget):
    """The control of hotflip at the same budget, on the same words."""

    name: ClassVar[str] = "random-flip"

    def choices(self, job: SampleBatch, search: Search) -> tuple[list[list[int]], Sequence[str]]:
        """Words that are one token."""
        places = token_places(search.tokenizer, job.texts, search.length)
        return [sorted(some) for some in places], token_words(job)[0]
