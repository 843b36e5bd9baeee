"""Texts of which a subject sees less, or more, than in training."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import MeasurementError
from robustbench_wb.stressors.cut import cut_counts
from robustbench_wb.stressors.lengths.longer import OtherLength
from robustbench_wb.stressors.stressor import SampleBatch


class TextLength(OtherLength):
    """The same texts, cut at another length. Where a text is shorter, it stays as it is: the table says how many are
    cut."""

    name: ClassVar[str] = "text-length"

    def again(self, job: SampleBatch) -> NDArray[np.int32]:
        """By the subject's own tokenizer.

        Raises:
            MeasurementError: the task has no texts.
        """
        if job.tokenizer is None or not job.texts:
            raise MeasurementError(f"{self.signature}: task has no texts, of which more could be shown")
        return job.tokenizer.encode(job.texts, self.length)

    def counts(self, job: SampleBatch) -> Mapping[str, float]:
        """Texts that are cut at the new length."""
        return cut_counts(job, self.length)
