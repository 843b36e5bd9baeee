"""ListOps expressions of other lengths."""

from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.shape import TextShape
from robustbench_wb.spec import Exact
from robustbench_wb.stressors.lengths.length_stressor import LengthStressor
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.listops.blocks import ExpressionParameters
from robustbench_wb.tasks.listops.expression import VOCABULARY
from robustbench_wb.tasks.listops.expression_array import Expressions, token_matrix
from robustbench_wb.tasks.listops.generate import generate_labelled_expressions


class ListOpsLength(LengthStressor):
    """A new expression of the same value for every sample, longer than length / 2 and at most ``length`` tokens.

    By default all other parameters are those of Long Range Arena; the depth is 10.
    """

    name: ClassVar[str] = "listops-length"

    arguments: int = Field(default=10, ge=2)
    """Largest number of arguments of an operator."""
    expand: Exact = Field(default=Fraction(1, 4), gt=0, le=1)
    """Probability that an argument is an operator."""

    def resized_tokens(self, batch: SampleBatch) -> NDArray[np.int32]:
        """Generate new expressions as token ids, int32 (N, length).

        Raises:
            MeasurementError: the task is not ListOps.
        """
        if not isinstance(batch.shape, TextShape) or batch.shape.vocabulary != VOCABULARY:
            raise MeasurementError(f"{self.signature}: the task is not ListOps")
        if batch.split is None:
            raise MeasurementError(f"{self.signature}: the values of the other samples are not known")
        parameters = ExpressionParameters(
            min_length=self.length // 2, max_length=self.length, max_arguments=self.arguments, expand=self.expand
        )
        found = _expressions(batch.split.labels.tobytes(), parameters, batch.seed)
        return token_matrix(found, batch.ids.cpu().numpy(), self.length)


@lru_cache(maxsize=1)
def _expressions(labels: bytes, parameters: ExpressionParameters, seed: int) -> Expressions:
    """Expressions for all samples of a split, so that no sample depends on the others in its batch."""
    stream = f"listops-length {parameters.max_length}"
    return generate_labelled_expressions(np.frombuffer(labels, np.int64), parameters, seed=seed, stream=stream)
