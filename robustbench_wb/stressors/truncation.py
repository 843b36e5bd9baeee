"""Counts of texts that are truncated before the model sees them."""

from collections.abc import Mapping

from robustbench_wb.stressors.stressor import SampleBatch

SPECIAL_TOKENS_PER_TEXT = 2
"""Tokens of an empty text: [CLS] and [SEP]."""


def truncation_counts(job: SampleBatch, length: int) -> Mapping[str, float]:
    """Number of texts, of texts with more than ``length`` tokens, and of empty texts; empty if the inputs are not
    texts."""
    if job.sizes is None:
        return {}
    cut, empty = int((job.sizes > length).sum()), int((job.sizes <= SPECIAL_TOKENS_PER_TEXT).sum())
    return {"texts": len(job.sizes), "cut": cut, "empty": empty}
