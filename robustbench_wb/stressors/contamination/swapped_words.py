"""Choice of the words of a line that are swapped: the protocol of the papers on robust attention."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from robustbench_wb.stressors.contamination.stop_words import STOP_WORDS
from robustbench_wb.stressors.unit_choice import stochastic_round

SWAPPED = "AAA"
"""Replacement of every chosen word, as in Elliptical Attention (Nielsen et al. 2024) and the papers it compares
with."""
LABEL = "word-swap"
"""Label of the random stream. It is shared, so that a text and its tokens have equal draws."""

SwapRounding = Literal["none", "one"]
"""Rounding of the number of swaps. ``none``: stochastic rounding of rate x words. ``one``: rounded down, but at least
one word per line, as in the papers' tool: short lines are contaminated at more than the rate."""


def choose_swapped_words(
    words: Sequence[str], rate: Fraction, *, floor: SwapRounding, draws: Sequence[int]
) -> list[int]:
    """Positions of the words that are swapped, ascending.

    The rate is a share of all words, including stop words, though these are never swapped: a line with too few other
    words has fewer swaps. ``draws`` are 1 + len(words) random words of 64 bits: one for rounding, then a key per word.
    """
    others = [at for at, word in enumerate(words) if word.lower() not in STOP_WORDS]
    count = stochastic_round(rate, len(words), draws[0])
    if floor == "one" and rate > 0:
        count = max(1, int(rate * len(words)))
    return sorted(sorted(others, key=lambda at: draws[1 + at])[:count])
