"""Black-box word substitution, and its control: random swaps of the same number of words."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import AttackKind
from robustbench_wb.stressors.text_attacks.greedy_word_attack import GreedyWordAttack
from robustbench_wb.stressors.text_attacks.kept_meaning import MeaningAttack
from robustbench_wb.stressors.text_attacks.word_attack import (
    TextSearch,
    WordAttack,
    WordBudgetAttack,
    replace_words,
    single_token_columns,
    single_token_words,
    visible_words,
)


class WordSubstitution(MeaningAttack, GreedyWordAttack):
    """Important words become random words: frequent ones of the task's training texts, or synonyms.

    Unless ``cosine`` or ``synonyms`` bound it, a substitution may reverse the meaning of a text and make its label
    wrong.
    """

    name: ClassVar[str] = "word-substitution"
    changes: ClassVar[str] = "words"

    def candidate_words(self, batch: SampleBatch, word: str, numbers: Sequence[int]) -> list[str]:
        """Random words that may replace a word, drawn uniformly."""
        words = self.replacements(batch, word)
        return [words[number % len(words)] for number in numbers] if words else []


Swaps = Mapping[int, str]
"""New words by the number of the word that they replace, in the order in which they were drawn."""


class _Draws(WordAttack):
    """Base of controls that swap random words several times: a sample is broken if any draw breaks it."""

    kind: ClassVar[AttackKind | None] = "control"

    draws: int = Field(default=20, ge=1)
    """Random texts per sample. The worst one counts."""

    @abstractmethod
    def choices(self, batch: SampleBatch, search: TextSearch) -> list[dict[int, Sequence[str]]]:
        """Possible new words of each sample, by the number of the word that they replace."""

    def written(self, search: TextSearch, rows: Sequence[int], swaps: Sequence[Swaps]) -> list[str]:
        """Texts of some samples after their swaps."""
        return [replace_words(search.batch.texts[row], some) for row, some in zip(rows, swaps, strict=True)]

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Draw texts for every sample until it is broken or all draws are used."""
        search, seen = self.begin(batch, access), visible_words(batch)
        choices = self.choices(batch, search)
        longest = max(map(len, choices), default=0)
        most = self.allowed(max(map(len, seen), default=0))
        for draw in range(self.draws):
            rows = [row for row in search.alive() if choices[row]]
            order = search.draw(rows, longest, label=f"{self.signature}/place", step=draw)
            drawn = search.draw(rows, min(most, longest), label=f"{self.signature}/word", step=draw)
            swaps = []
            for row, keys, numbers in zip(rows, order, drawn, strict=True):
                places = sorted(choices[row])
                chosen = sorted(range(len(places)), key=keys.__getitem__)[: self.allowed(len(seen[row]))]
                words = [(places[at], choices[row][places[at]]) for at in chosen]
                swaps.append({at: some[number % len(some)] for (at, some), number in zip(words, numbers, strict=False)})
            search.improve(rows, [[text] for text in self.written(search, rows, swaps)])
        return search.result()


class RandomSwap(_Draws, MeaningAttack):
    """Control of word-substitution and character-edits: random swaps at an equal rate.

    Under a bound on the similarity, the swaps of a draw are made one after the other, and one that the bound forbids
    is left out: the control has the texts of word-substitution to choose from, and chooses without the model.
    """

    name: ClassVar[str] = "random-swap"
    changes: ClassVar[str] = "words"

    def choices(self, batch: SampleBatch, search: TextSearch) -> list[dict[int, Sequence[str]]]:
        """Words that may replace each word that the model sees."""
        return [
            {
                number: self.replacements(batch, text[slice(*words[number])])
                for number in self.changeable(batch, row, words)
            }
            for row, (text, words) in enumerate(zip(batch.texts, visible_words(batch), strict=True))
        ]

    def written(self, search: TextSearch, rows: Sequence[int], swaps: Sequence[Swaps]) -> list[str]:
        """Texts of some samples after those of their swaps that the bound permits."""
        if self.cosine is None:
            return super().written(search, rows, swaps)
        kept: list[dict[int, str]] = [{} for _ in rows]
        for turn in range(max(map(len, swaps), default=0)):
            some = [at for at, own in enumerate(swaps) if turn < len(own)]
            tried = [{**kept[at], **dict([list(swaps[at].items())[turn]])} for at in some]
            texts = super().written(search, [rows[at] for at in some], tried)
            permitted = search.permitted([rows[at] for at in some], [[text] for text in texts])
            for at, more, fine in zip(some, tried, permitted, strict=True):
                kept[at] = more if fine else kept[at]
        return super().written(search, rows, kept)


class RandomFlip(_Draws, WordBudgetAttack):
    """Control of hotflip: random swaps with an equal budget, among the words that hotflip may use."""

    name: ClassVar[str] = "random-flip"

    def choices(self, batch: SampleBatch, search: TextSearch) -> list[dict[int, Sequence[str]]]:
        """Words of the lexicon that are one token, for each word that is one token."""
        places = single_token_columns(search.tokenizer, batch.texts, search.length)
        words = single_token_words(batch)[0]
        return [dict.fromkeys(some if words else (), words) for some in places]
