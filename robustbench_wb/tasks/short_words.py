"""Texts for the training of a tokenizer, whose time grows with the square of the longest word."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

LONGEST: Final = 4096
"""Most characters without a space, or of spaces alone, that training takes as one word."""
_RUN: Final = re.compile(r"\S+|\s+")


def with_short_words(texts: Iterable[str]) -> Iterator[str]:
    """Texts whose longer words are cut every ``LONGEST`` characters; other texts stay as they are.

    A megabyte without a space would be one word. Its training would take minutes, in which Ctrl-C is not heard.
    """
    for text in texts:
        start = 0
        if len(text) > LONGEST:
            for run in _RUN.finditer(text):
                for end in range(run.start() + LONGEST, run.end(), LONGEST):
                    yield text[start:end]
                    start = end
        yield text[start:]
