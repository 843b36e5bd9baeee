"""Tokens hidden from a model of sequences: texts, pixels in a row, language modelling."""

from typing import ClassVar, Literal

from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.stressors.contamination.tokens import SomeTokens
from robustbench_wb.stressors.ids import Ids


class TokenDropout(SomeTokens):
    """Every chosen token becomes [MASK] or [UNK].

    A model that never saw such a token in training has a random vector for it.
    """

    name: ClassVar[str] = "token-dropout"

    token: Literal["mask", "unknown"] = "mask"
    """What a dropped token becomes."""

    def become(self, tokens: Tensor, known: Ids, draws: Tensor) -> Tensor:
        """That token."""
        hidden = known.mask if self.token == "mask" else known.unknown
        if hidden is None:
            raise MeasurementError(f"{self.signature}: the subject's tokenizer has no {self.token} token")
        return tokens.new_tensor(hidden)
