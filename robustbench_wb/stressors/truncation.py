"""Counts of texts that are truncated before the model sees them."""

from collections.abc import Mapping

from robustbench_wb.stressors.sample_batch import SampleBatch

SPECIAL_TOKENS_PER_TEXT = 2
"""Tokens of an empty text: [CLS] and [SEP]."""


def truncation_counts(batch: SampleBatch, length: int) -> Mapping[str, float]:
    """Number of texts, of texts with more than ``length`` tokens, and of empty texts; empty if the inputs are not
    texts."""
    counts = batch.token_counts
    if counts is None:
        return {}
    cut, empty = int((counts > length).sum()), int((counts <= SPECIAL_TOKENS_PER_TEXT).sum())
    return {"texts": len(counts), "cut": cut, "empty": empty}
