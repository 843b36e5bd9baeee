"""Tokens of a sequence that are other ones: noise on bytes, symbols, pixels."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.contamination.tokens import SomeTokens
from robustbench_wb.stressors.ids import Ids


class TokenSubstitution(SomeTokens):
    """Every chosen token becomes another ordinary one of the vocabulary, each alike likely.

    Of bytes, this is noise on bytes: the text that they stand for is none any more.
    """

    name: ClassVar[str] = "token-substitution"
    extra: ClassVar[int] = 1

    def become(self, tokens: Tensor, known: Ids, draws: Tensor) -> Tensor:
        """So many places on among the ordinary ids, round and round; drawn with its place."""
        every = torch.arange(known.vocabulary)
        ordinary = every[known.ordinary(every)]
        steps = 1 + rng.below(len(ordinary) - 1, draws[..., 0])
        return ordinary[(torch.searchsorted(ordinary, tokens) + steps) % len(ordinary)]
