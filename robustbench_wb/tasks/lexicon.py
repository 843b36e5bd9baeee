"""Words of texts: where they are, and which are most frequent."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from robustbench_wb.models.tokenizer import Span

_WORD = re.compile(r"[^\W\d_]+")
MAX_WORDS = 5000
"""Largest number of words of a lexicon."""


def find_words(text: str) -> list[Span]:
    """Find the (start, end) of every word of a text: an unbroken run of letters of any script."""
    return [found.span() for found in _WORD.finditer(text)]


class Lexicon:
    """Most frequent lower-cased words of some texts, counted at first use."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    @cached_property
    def words(self) -> tuple[str, ...]:
        """At most ``MOST`` words, most frequent first; ties in alphabetical order."""
        counts = Counter(word for text in self._texts for word in _WORD.findall(text.lower()))
        return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:MAX_WORDS])

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._known
