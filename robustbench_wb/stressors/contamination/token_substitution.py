"""Sequence tokens replaced by random ones: noise on bytes, symbols, pixels."""

from typing import ClassVar

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.contamination.token_contamination import TokenContamination
from robustbench_wb.stressors.token_ids import TokenIds


class TokenSubstitution(TokenContamination):
    """Every chosen token becomes another ordinary token of the vocabulary, uniformly.

    On byte-level tasks this is noise on bytes: the result is usually no valid text.
    """

    name: ClassVar[str] = "token-substitution"
    extra: ClassVar[int] = 1

    def replacements(self, tokens: Tensor, known: TokenIds, draws: Tensor) -> Tensor:
        """For each token another ordinary id, uniformly: a random cyclic shift among the ordinary ids."""
        every = torch.arange(known.vocabulary)
        ordinary = every[known.ordinary(every)]
        steps = 1 + rng.bounded_integers(len(ordinary) - 1, draws[..., 0])
        return ordinary[(torch.searchsorted(ordinary, tokens) + steps) % len(ordinary)]
