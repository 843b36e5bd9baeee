"""The black-box attack of the probe, on a bag of words, where the exact worst case is known."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import torch
from torch import nn

from robustbench_wb.engine.credibility.word_walk import word_walk
from robustbench_wb.stressors.stressor import SampleBatch
from robustbench_wb.stressors.text_attacks.embedding import EmbeddingPgdLinf

MakeJob = Callable[..., SampleBatch]


def test_it_breaks_nothing_that_the_exact_attack_does_not(bag: nn.Module, job_of: MakeJob) -> None:
    """The loss of a bag is monotone in a linear function of the vectors: PGD ends at its maximum in the ball."""
    job, fell = job_of(bag, 40), []
    for eps in ("1/100", "1/20", "1/5", "2"):
        exact = EmbeddingPgdLinf(eps=Fraction(eps), steps=20).apply(job).broken
        walked = word_walk(job, float(Fraction(eps)), 200)
        assert exact is not None
        assert not (walked.numpy() & ~exact).any()
        fell.append(int(walked.sum()))
    assert fell == sorted(fell)
    assert fell[0] < fell[-1] == 40


def test_neither_batch_nor_order_matters(encoder: nn.Module, job_of: MakeJob) -> None:
    job = job_of(encoder, 24)
    whole = word_walk(job, 0.5, 30)
    assert 0 < int(whole.sum()) < 24
    assert torch.equal(word_walk(replace(job, batch=5), 0.5, 30), whole)
    back = torch.arange(23, -1, -1)
    assert torch.equal(word_walk(job_of(encoder, 24, back), 0.5, 30), whole[back])
