"""Black-box misspellings in the manner of DeepWordBug (Gao, Lanchantin, Soffa & Qi 2018, arXiv 1801.04354)."""

from collections.abc import Iterator, Sequence
from string import ascii_lowercase
from typing import ClassVar

from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.stressors.text_attacks.greedy_word_attack import GreedyWordAttack


class CharacterEdits(GreedyWordAttack):
    """One edit in each important word: two neighbouring letters swapped, or a letter replaced, deleted or inserted.

    These are the four edits of the paper's table 1. Candidates alternate among them, at random positions, with letters
    a to z. Words are ranked by leaving them out, not by the paper's scores of the head and tail of the text.
    """

    name: ClassVar[str] = "character-edits"
    changes: ClassVar[str] = "letters"

    def candidate_words(self, batch: SampleBatch, word: str, numbers: Sequence[int]) -> list[str]:
        """Misspellings of a word."""
        return [form for turn, number in enumerate(numbers) for form in _edit(word, turn % 4, number)]

    def admits(self, batch: SampleBatch, before: str, after: str) -> bool:
        """Whether the words are one edit apart."""
        return one_edit_apart(before, after)


def _edit(word: str, kind: int, number: int) -> Iterator[str]:
    """Word after one edit of the given kind; yields no word if it is too short for that edit."""
    rest, letter = divmod(number, len(ascii_lowercase))
    new, size = ascii_lowercase[letter], len(word)
    at = rest % max(1, (size - 1, size, size, size + 1)[kind])
    if kind == 0 and size > 1:
        yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        yield word[:at] + new + word[at + 1 :]
    if kind == 2 and size > 1:
        yield word[:at] + word[at + 1 :]
    if kind == 3:
        yield word[:at] + new + word[at:]


def one_edit_apart(a: str, b: str) -> bool:
    """Whether one swap of neighbours, substitution, deletion or insertion turns ``a`` into ``b``."""
    short, long = sorted((a, b), key=len)
    head = next((at for at, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    if len(short) < len(long):
        return short[head:] == long[head + 1 :]
    swapped = short[head + 1 : head + 2] + short[head : head + 1] + short[head + 2 :]
    return short != long and (short[head + 1 :] == long[head + 1 :] or swapped == long[head:])
