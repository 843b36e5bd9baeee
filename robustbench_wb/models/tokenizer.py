"""How texts become the token ids that a subject takes: a task's tokenizer, or the one that a model brings."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]
"""First character and the one after the last, in a text; (0, 0) for a token that stands for no part of it."""


class Tokenizer(Protocol):
    """From texts to ids, and from ids to where they stand in the text."""

    @property
    def special(self) -> frozenset[int]:
        """Ids that are no part of a text: padding, class token, end, mask, unknown."""
        ...

    @property
    def vocabulary(self) -> int:
        """All ids are below it."""
        ...

    @property
    def mask(self) -> int | None:
        """The id that hides a token; None if there is none."""
        ...

    @property
    def unknown(self) -> int | None:
        """The id for what the vocabulary lacks; None if there is none."""
        ...

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int32]:
        """Texts to ids, int32 (N, length), special tokens included, cut at the end, padded with 0 on the right."""
        ...

    def spans(self, texts: Sequence[str], length: int) -> list[list[Span]]:
        """For each text where its tokens stand, in the order of :meth:`encode`; spaces at the ends may be included."""
        ...
