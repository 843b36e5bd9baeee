"""Which words of a line are swapped, and for what: the protocol of the papers on robust attention."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from robustbench_wb.stressors.contamination.stop_words import STOP_WORDS
from robustbench_wb.stressors.share import rounded

SWAPPED = "AAA"
"""What every chosen word becomes, as in Elliptical Attention (Nielsen et al. 2024) and those it compares with."""
LABEL = "word-swap"
"""The stream of random words: a text and its tokens have the same draws."""

Floor = Literal["none", "one"]
"""``none``: rate x words, rounded up or down by chance. ``one``: rounded down, but at least one word a line, as the
papers' tool does it: short lines are contaminated at more than the rate."""


def words_to_swap(words: Sequence[str], rate: Fraction, floor: Floor, draws: Sequence[int]) -> list[int]:
    """The places of the words that are swapped, ascending.

    The rate is a share of all words, stop words among them, though none of them is swapped: a line with too few others
    has fewer swaps. ``draws`` are 1 + len(words) random words of 64 bits: one for rounding, then a key for each word.
    """
    others = [at for at, word in enumerate(words) if word.lower() not in STOP_WORDS]
    count = rounded(rate, len(words), draws[0])
    if floor == "one" and rate > 0:
        count = max(1, int(rate * len(words)))
    return sorted(sorted(others, key=lambda at: draws[1 + at])[:count])
