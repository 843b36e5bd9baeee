"""Black-box word substitution, and its control: random swaps of the same number of words."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import AttackKind
from robustbench_wb.stressors.text_attacks.greedy_word_attack import GreedyWordAttack
from robustbench_wb.stressors.text_attacks.word_attack import (
    TextSearch,
    WordAttack,
    WordBudgetAttack,
    WordRateAttack,
    replace_words,
    require_text,
    single_token_columns,
    single_token_words,
    visible_words,
)


class WordSubstitution(GreedyWordAttack):
    """Important words become random frequent words of the task's training texts, drawn uniformly.

    There is no list of synonyms: a substitution may reverse the meaning of a text and make its label wrong.
    """

    name: ClassVar[str] = "word-substitution"
    changes: ClassVar[str] = "words"

    def candidate_words(self, batch: SampleBatch, word: str, numbers: Sequence[int]) -> list[str]:
        """Random words of the training texts."""
        words = require_text(batch).lexicon.words
        return [words[number % len(words)] for number in numbers] if words else []

    def admits(self, batch: SampleBatch, before: str, after: str) -> bool:
        """Whether the new word occurs in the training texts."""
        return after in require_text(batch).lexicon


class _Draws(WordAttack):
    """Base of controls that swap random words several times: a sample is broken if any draw breaks it."""

    kind: ClassVar[AttackKind | None] = "control"

    draws: int = Field(default=20, ge=1)
    """Random texts per sample. The worst one counts."""

    def choices(self, batch: SampleBatch, search: TextSearch) -> tuple[list[list[int]], Sequence[str]]:
        """Word numbers of each sample that may be swapped, and the possible new words."""
        return [list(range(len(spans))) for spans in visible_words(batch)], require_text(batch).lexicon.words

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Draw texts for every sample until it is broken or all draws are used."""
        search, seen = TextSearch(batch, access), visible_words(batch)
        places, words = self.choices(batch, search)
        longest = max(map(len, places), default=0)
        most = self.allowed(max(map(len, seen), default=0))
        for draw in range(self.draws):
            rows = [row for row in search.alive() if places[row] and words]
            order = search.draw(rows, longest, label=f"{self.signature}/place", step=draw)
            drawn = search.draw(rows, min(most, longest), label=f"{self.signature}/word", step=draw)
            options = []
            for row, keys, numbers in zip(rows, order, drawn, strict=True):
                chosen = sorted(range(len(places[row])), key=keys.__getitem__)[: self.allowed(len(seen[row]))]
                swaps = {
                    places[row][at]: words[number % len(words)] for at, number in zip(chosen, numbers, strict=False)
                }
                options.append([replace_words(batch.texts[row], swaps)])
            search.improve(rows, options)
        return search.result()

    def admits(self, batch: SampleBatch, before: str, after: str) -> bool:
        """Whether the new word occurs in the training texts."""
        return after in require_text(batch).lexicon


class RandomSwap(_Draws, WordRateAttack):
    """Control of word-substitution and character-edits: random swaps at an equal rate."""

    name: ClassVar[str] = "random-swap"
    changes: ClassVar[str] = "words"


class RandomFlip(_Draws, WordBudgetAttack):
    """Control of hotflip: random swaps with an equal budget, among the words that hotflip may use."""

    name: ClassVar[str] = "random-flip"

    def choices(self, batch: SampleBatch, search: TextSearch) -> tuple[list[list[int]], Sequence[str]]:
        """Numbers of words that are one token, and the words of the lexicon that are one token."""
        places = single_token_columns(search.tokenizer, batch.texts, search.length)
        return [sorted(some) for some in places], single_token_words(batch)[0]
