"""Texts truncated at another length than in training."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import MeasurementError
from robustbench_wb.stressors.lengths.length_stressor import LengthStressor
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.stressors.truncation import truncation_counts


class TextLength(LengthStressor):
    """The texts of the task, truncated at another length. Shorter texts stay as they are; the table counts truncated
    texts."""

    name: ClassVar[str] = "text-length"

    def resized_tokens(self, batch: SampleBatch) -> NDArray[np.int32]:
        """Tokenize the texts with the model's own tokenizer, int32 (N, length).

        Raises:
            MeasurementError: the task has no texts.
        """
        if batch.text is None or not batch.text.texts:
            raise MeasurementError(f"{self.signature}: the task has no texts")
        return batch.text.tokenizer.encode(batch.text.texts, self.length)

    def further_evidence(self, batch: SampleBatch) -> Mapping[str, float]:
        """Number of texts that are truncated at the new length."""
        return truncation_counts(batch, self.length)
