"""How much of the texts a model gets to see: counted, so that a table can say it."""

from collections.abc import Mapping

from robustbench_wb.stressors.stressor import SampleBatch

BRACKETS = 2
"""Tokens of an empty text: [CLS] and [SEP]."""


def cut_counts(job: SampleBatch, length: int) -> Mapping[str, float]:
    """How many texts are longer than ``length`` tokens, and how many are empty; nothing for what is no text."""
    if job.sizes is None:
        return {}
    cut, empty = int((job.sizes > length).sum()), int((job.sizes <= BRACKETS).sum())
    return {"texts": len(job.sizes), "cut": cut, "empty": empty}
