"""Base of text corruptions: units, the share of them that a severity changes, and how one is rewritten."""

from abc import abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from re import Pattern
from typing import ClassVar

import torch
from pydantic import Field

from robustbench_wb import rng
from robustbench_wb.stressors.model_free import ModelFreeTextStressor
from robustbench_wb.stressors.unit_choice import MASK_63_BITS, lowest_keys, stochastic_round

LETTER = r"[^\W\d_]"
"""One letter of any script; combining marks do not count."""
WORD = r"(?<!\S)\S++\s*+"
"""A word (everything between spaces) with the spaces after it."""


def percentages(shares: Iterable[int]) -> tuple[Fraction, ...]:
    """Exact fractions from percentages."""
    return tuple(Fraction(share, 100) for share in shares)


class TextCorruption(ModelFreeTextStressor):
    """Base of text corruptions. A subclass defines the units, rewrites one, and sets a rate for each severity.

    Which units are chosen, and how they are rewritten, does not depend on the severity: a higher severity adds changes
    to a lower one. Offsets, keys and letters come from one call of the counted generator for each text.
    """

    axis: ClassVar[str | None] = "severity"
    rates: ClassVar[tuple[Fraction, ...]]
    """Share of the units that each severity changes. Severity s changes about 8 s percent of the words of English."""
    pattern: ClassVar[Pattern[str]]
    """Pattern of the units, with one group around the whole. Linear in the length of any text."""

    severity: int = Field(ge=1, le=5)

    @property
    def rate(self) -> Fraction:
        """Share of the units that is rewritten."""
        return self.rates[self.severity - 1]

    @abstractmethod
    def change(self, unit: str, number: int) -> str:
        """Rewrite a unit, never to itself; ``number`` is a random integer of 63 bits."""

    def split(self, text: str, number: int) -> list[str]:
        """Split a text into pieces of which every second one may be a unit; ``number`` is random, 63 bits."""
        return self.pattern.split(text)

    def admits(self, piece: str) -> bool:
        """Whether a piece that the pattern finds can be rewritten."""
        return True

    def perturb(self, text: str, sample: int, seed: int) -> tuple[str, int, int]:
        """Rewrite rate x units, stochastically rounded (``unit_choice.stochastic_round``).

        Returns the new text, the number of rewritten units and the number of units.
        """
        draws = rng.words(torch.tensor([sample]), 2 + 2 * len(text), seed=seed, label=self.name)[0]
        first, second = draws[:2].tolist()
        pieces = self.split(text, second & MASK_63_BITS)
        units = [at for at in range(1, len(pieces), 2) if self.admits(pieces[at])]
        count = stochastic_round(self.rate, len(units), first)
        keys, numbers = draws[2 : 2 + 2 * len(units)].view(-1, 2).unbind(1)
        for number in lowest_keys(keys[None], torch.tensor([count]))[0].nonzero()[:, 0].tolist():
            at = units[number]
            pieces[at] = self.change(pieces[at], int(numbers[number]) & MASK_63_BITS)
        return "".join(pieces), count, len(units)
