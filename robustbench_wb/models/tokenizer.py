"""Interface of tokenizers, which belong either to a task or to a model."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]
"""Start and end (exclusive) of a token in its text, in characters; (0, 0) for special tokens."""


class Tokenizer(Protocol):
    """Maps texts to token ids, and tokens to their position in the text."""

    @property
    def special(self) -> frozenset[int]:
        """Ids of special tokens: padding, class token, end of text, mask and unknown."""
        ...

    @property
    def vocabulary(self) -> int:
        """Vocabulary size; every id is below it."""
        ...

    @property
    def mask(self) -> int | None:
        """Id of the mask token; None if there is none."""
        ...

    @property
    def unknown(self) -> int | None:
        """Id of the unknown token; None if there is none."""
        ...

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int32]:
        """Encode texts as ids, int32 (N, length), with special tokens, truncated or padded with 0 on the right."""
        ...

    def spans(self, texts: Sequence[str], length: int) -> list[list[Span]]:
        """Return the spans of each text's tokens, in the order of ``encode``; spans may include outer spaces."""
        ...
