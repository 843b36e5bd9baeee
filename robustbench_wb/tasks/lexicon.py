"""Words: what counts as one, and which ones the training texts of a task use."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from robustbench_wb.models.tokenizer import Span

_WORD = re.compile(r"[^\W\d_]+")
MOST = 5000
"""Most words of a lexicon."""


def find_words(text: str) -> list[Span]:
    """Where the words of a text stand: unbroken runs of letters, of any script."""
    return [found.span() for found in _WORD.finditer(text)]


class Lexicon:
    """The most frequent words of some texts, lower-cased; counted when first asked for."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    @cached_property
    def words(self) -> tuple[str, ...]:
        """At most :data:`MOST`, the most frequent first, equals in the order of the alphabet."""
        counts = Counter(word for text in self._texts for word in _WORD.findall(text.lower()))
        return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:MOST])

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self._known
