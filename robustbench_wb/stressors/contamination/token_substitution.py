"""Sequence tokens replaced by random ones: noise on bytes, symbols, pixels."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.contamination.tokens import SomeTokens
from robustbench_wb.stressors.ids import Ids


class TokenSubstitution(SomeTokens):
    """Every chosen token becomes another ordinary token of the vocabulary, uniformly.

    On byte-level tasks this is noise on bytes: the result is usually no valid text.
    """

    name: ClassVar[str] = "token-substitution"
    extra: ClassVar[int] = 1

    def become(self, tokens: Tensor, known: Ids, draws: Tensor) -> Tensor:
        """For each token another ordinary id, uniformly: a random cyclic shift among the ordinary ids."""
        every = torch.arange(known.vocabulary)
        ordinary = every[known.ordinary(every)]
        steps = 1 + rng.below(len(ordinary) - 1, draws[..., 0])
        return ordinary[(torch.searchsorted(ordinary, tokens) + steps) % len(ordinary)]
