"""Tokens hidden from a sequence model: texts, pixel sequences, language modelling."""

from typing import ClassVar, Literal

from torch import Tensor

from robustbench_wb.errors import MeasurementError
from robustbench_wb.stressors.contamination.token_contamination import TokenContamination
from robustbench_wb.stressors.token_ids import TokenIds


class TokenDropout(TokenContamination):
    """Every chosen token becomes [MASK] or [UNK].

    A model that never saw this token in training has an untrained vector for it.
    """

    name: ClassVar[str] = "token-dropout"

    token: Literal["mask", "unknown"] = "mask"
    """Token that replaces a dropped one."""

    def replacements(self, tokens: Tensor, known: TokenIds, draws: Tensor) -> Tensor:
        """The hiding token, one id for all.

        Raises:
            MeasurementError: the tokenizer has no such token.
        """
        hidden = known.mask if self.token == "mask" else known.unknown
        if hidden is None:
            raise MeasurementError(f"{self.signature}: the model's tokenizer has no {self.token} token")
        return tokens.new_tensor(hidden)
